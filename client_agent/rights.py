"""The right of access: everything that the agent holds about a person, in sections of plain rows.

``gather`` says where everything is and reads nothing yet; the writers of ``client_agent.exporting`` read it row by row,
so that a million events need no more memory than one. Every personal table of ``store.holdings`` has its section.

What is left out, each time with its reason in the section ``withheld``: secrets (the signing key, tokens, a PIN's
digest), and the budget. Heads and tails of the coin are charged alike, but a charge that is missing beside a report,
or a budget that ran out, says that a report was null; the coin, the local epsilon and the budget left therefore stay
out of everything that can be passed on. The person sees them on the agent's own page and by ``status``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from client_agent.agent import Addresses
from client_agent.clocks import Clock
from client_agent.enrolment import Pins
from client_agent.errors import NotEnrolled
from client_agent.export_columns import COLUMNS, SECTIONS, instant
from client_agent.standing import consent_of
from client_agent.store import OUTCOMES, AgentStore, ParticipantRecord
from client_agent.store.consents import row_body
from client_agent.store.holdings import KEPT, PERSONAL
from client_agent.summaries import summarise
from consent import NO_SIGNALS, PERSONALISATION, PURPOSES, RULES, ConsentError, ConsentState, Row, Signals, decide
from models.personalisation import Decision, PreparedBundle
from privacy.crypto import SigningKey, VerifyKey

Value = str | int | float | bool | dict[str, Any] | list[Any] | None
"""What a cell holds: anything that JSON can say."""
Rows = Iterator[tuple[Value, ...]]

FORMAT = "hearthside-export"
FORMAT_VERSION = 2
"""Version of sections and columns; names are only ever added. Version 1 was the visitor page's first export."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a section: its stable name, and what it says."""

    name: str
    about: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table of an export.

    Attributes:
        name: stable; also the name of its CSV file.
        about: what it holds, for a person to read.
        columns: in order.
        rows: reads them, each time from the start.
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    rows: Callable[[], Rows]


@dataclass(frozen=True, slots=True)
class Export:
    """Everything about a person.

    Attributes:
        person: the local name.
        at_ms: when it was asked for, Unix milliseconds.
        sections: in the order in which they are read.
    """

    person: str
    at_ms: int
    sections: tuple[Section, ...]


def gather(
    store: AgentStore,
    pins: Pins,
    person: str,
    clock: Clock,
    *,
    addresses: Addresses | None = None,
    bundle: PreparedBundle | None = None,
    signals: Signals = NO_SIGNALS,
) -> Export:
    """Everything that this agent holds about a person on all sites. Reads as it is written out.

    Whoever has a name here may ask: a child, and an adult who has no profile, have their name, their kind and the
    times of their browsers.

    Args:
        store: the agent's store.
        pins: the keys that were given out of band.
        person: the local name.
        clock: the machine's clocks.
        addresses: where the services are, if they are to be named.
        bundle: the verified bundle in force: with it the persona, the segments and scores are as decided now.
        signals: what accompanies this moment.

    Raises:
        NotEnrolled: nobody of this name is behind the agent.
    """
    if store.people.get(person) is None:
        raise NotEnrolled(f"expected the name of a person behind this agent, got {person!r}")
    records = store.participants.of_person(person)
    held = _Held(store, pins, person, clock, addresses, bundle, signals, records)
    sections = (_section(name, getattr(held, name)) for name in SECTIONS)
    return Export(person, clock.now_ms(), tuple(sections))


def _section(name: str, rows: Callable[[], Rows]) -> Section:
    columns = tuple(Column(column, about) for column, about in COLUMNS[name].items())
    return Section(name, SECTIONS[name], columns, rows)


@dataclass(frozen=True)
class _Held:
    """One method a section; what it yields has the columns of ``COLUMNS``, in order."""

    store: AgentStore
    pins: Pins
    person: str
    clock: Clock
    addresses: Addresses | None
    bundle: PreparedBundle | None
    signals: Signals
    records: list[ParticipantRecord]

    def context(self) -> Rows:
        for role, key in (("leader", self.pins.leader_key), ("helper", self.pins.helper_key)):
            yield role, getattr(self.addresses, role, None), key.fingerprint, key.raw.hex()
        for key in self.pins.officers:
            yield "officer", None, key.fingerprint, key.raw.hex()

    def sites(self) -> Rows:
        found = {row["participant_id"]: row for row in self._rows("participants")}
        for record in self.records:
            if record.participant_id not in found:
                raise NotEnrolled("expected a person behind this agent, they were erased meanwhile")
            row, key = found[record.participant_id], SigningKey(record.seed).verify_key
            leader = VerifyKey(row["leader"]).fingerprint
            known = row["device_id"].hex() if row["device_id"] else None
            at_ms = row["enrolled_at_ms"]
            named = (row["participant_id"], row["person"], row["site"], leader, row["leader"].hex(), known)
            yield (*named, at_ms, instant(at_ms), True, key.raw.hex(), key.fingerprint)

    def people(self) -> Rows:
        rows = list(self._rows("people"))
        if not rows and not self.records:
            raise NotEnrolled("expected a person behind this agent, they were erased meanwhile")
        for row in rows:
            yield row["name"], row["kind"], row["failures"], row["failed_at_ms"], instant(row["failed_at_ms"] or None)

    def browsers(self) -> Rows:
        for row in self._rows("browsers"):
            times = [row[name] for name in ("created_at_ms", "used_at_ms", "opened_at_ms")]
            spelt = [cell for at_ms in times for cell in (at_ms, instant(at_ms))]
            yield row["person"], bool(row["lasting"]), *spelt

    def purposes(self) -> Rows:
        now = self.clock.now_ms() // 1_000
        for record in self.records:
            state = self._consent(record)
            for purpose in PURPOSES:
                answer = decide("use", purpose.id, state, self.signals, now)
                receipt = answer.receipt.hex() if answer.receipt else None
                title = purpose.text("en").title
                yield record.participant_id, purpose.id, title, answer.allowed, RULES[answer.rule], receipt

    def choices(self) -> Rows:
        for stored in self._rows("consent_rows"):
            body, named = row_body(stored["body"]), (stored["participant_id"], stored["position"])
            try:
                row = Row.parse(body)
            except ConsentError:  # it counts for nothing, and is shown as it lies there
                yield *named, None, None, None, _readable(body), None
                continue
            at_ms = row.at * 1_000
            yield *named, at_ms, instant(at_ms), row.kind, row.content or None, row.digest.hex()

    def receipts(self) -> Rows:
        for row in self._rows("receipts"):
            yield row["participant_id"], row["digest"].hex(), row["state"], row["jws"], row["countersignature"]

    def ledgers(self) -> Rows:
        for row in self._rows("consent_heads"):
            yield row["participant_id"], row["head"].hex(), row["length"], row["epoch"], row["fault"]

    def evidence(self) -> Rows:
        for row in self._rows("consent_evidence"):
            yield row["participant_id"], row["position"], _readable(row_body(row["body"]))

    def gpc(self) -> Rows:
        for row in self._rows("gpc_applications"):
            day = instant(row["day"] * 86_400_000)
            yield row["participant_id"], day and day[:10], row["gate"], row["purpose"], row["withheld"]

    def events(self) -> Rows:
        for record in self.records:
            for at_ms, body in self.store.events.stream(record.participant_id):
                event = json.loads(body)
                kind, path = (event.get(name) for name in ("kind", "path"))
                yield record.participant_id, at_ms, instant(at_ms), kind, path, event

    def profile(self) -> Rows:
        for record in self.records:
            for name, value in summarise(self.store, record.participant_id, self.clock.now_ms()).facts().items():
                yield record.participant_id, name, value

    def decisions(self) -> Rows:
        for record in self.records:
            decision = self._decision(record)
            if decision is not None:
                for name in ("persona", "persona_traits", "segments", "intent_score", "slots"):
                    value = getattr(decision, name)
                    plain = list(value) if isinstance(value, tuple) else dict(value) if name == "slots" else value
                    yield record.participant_id, name, plain

    def contributions(self) -> Rows:
        for record in self.records:
            for item in self.store.contributions.releases_of(record.participant_id):
                study = (item.study_id, item.title, item.purpose, item.study_hash.hex(), item.round)
                left = (item.report_id.hex(), item.sent_at_ms, instant(item.sent_at_ms))
                told = (item.outcome, OUTCOMES[item.outcome], item.removal, item.confirmation, item.size_bytes)
                yield record.participant_id, *study, *left, *told

    def reports(self) -> Rows:
        for record in self.records:
            known = self.store.personal.purposes_and_sizes(record.participant_id)
            for row in self.store.personal.rows("reports", [record.participant_id]):
                purpose, size_bytes = known[row["study_hash"], row["round"]]
                named = (record.participant_id, purpose, row["study_hash"].hex(), row["round"], row["report_id"].hex())
                yield *named, row["state"], row["slot_ms"], instant(row["slot_ms"]), size_bytes

    def sent(self) -> Rows:
        found: Counter[str] = Counter()
        weighed: Counter[str] = Counter()
        for record in self.records:
            for purpose, (reports, size_bytes) in self.store.contributions.sent_of(record.participant_id).items():
                found[purpose] += reports
                weighed[purpose] += size_bytes
        for purpose, reports in sorted(found.items()):
            yield purpose, reports, weighed[purpose]

    def waiting(self) -> Rows:
        ids = [record.participant_id for record in self.records]
        signed = [receipt for one in ids for receipt in self.store.consents.receipts_of(one)]
        yield "receipts that the leader has not answered", sum(receipt.state == "waiting" for receipt in signed)
        yield "reports to be taken back at the helper", sum(map(self.store.contributions.untold_of, ids))

    def withheld(self) -> Rows:
        for holding in PERSONAL:
            yield from ((holding.table, column, reason) for column, reason in holding.withheld.items())
        yield from ((table, None, reason) for table, reason in KEPT.items())

    def _rows(self, table: str) -> Iterable[dict[str, Any]]:
        by_id = table not in {"people", "browsers"}
        whose = [record.participant_id for record in self.records] if by_id else [self.person]
        return self.store.personal.rows(table, whose)

    def _consent(self, record: ParticipantRecord) -> ConsentState:
        return consent_of(self.store, VerifyKey(record.leader), record, SigningKey(record.seed))

    def _decision(self, record: ParticipantRecord) -> Decision | None:
        now_ms = self.clock.now_ms()
        allowed = decide("use", PERSONALISATION, self._consent(record), self.signals, now_ms // 1_000).allowed
        if self.bundle is None or record.site != self.bundle.bundle.site or not allowed:
            return None
        return summarise(self.store, record.participant_id, now_ms).decide(self.bundle, now_ms)


def _readable(body: bytes) -> str:
    """What is stored, as text, whatever it is."""
    return body.decode("utf-8", "backslashreplace")
