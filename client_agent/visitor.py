"""One person on one site as the gateway and the visitor's page see them, kept in the encrypted store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Sequence

from client_agent.clocks import Clock
from client_agent.consenting import ConsentKeeper
from client_agent.enrolment import Pins
from client_agent.erasing import erase_person
from client_agent.evidence import consent_record
from client_agent.federation.budgets import inspect
from client_agent.federation.log_view import standing
from client_agent.gateway.ports import Budget, Sent
from client_agent.history import Recorded, recount
from client_agent.profiles import stored_events
from client_agent.retention import kept_kinds
from client_agent.rights import Export, gather
from client_agent.standing import keys_of_participant
from client_agent.store import AgentStore
from client_agent.store.contributions import Contribution
from consent import ConsentState, Gate, Notice, Signals, write_record
from models.events import PROFILE_MS, Event
from models.personalisation import PreparedBundle
from models.wire.limits import PROMISED_DAYS

_SHORT = 8
"""Digits of a study's digest that name it on the page."""


class StoredVisitor:
    """The gateway's ``Visitor`` over the store. Safe to call from threads.

    Consent is read again whenever anybody's has changed, in this process or another; events are kept parsed, and those
    whose retention is over are let go of here when they are asked for, and deleted from the store at the start and
    daily by the resident (``Events.erase_before``).

    Args:
        store: the agent's store.
        pins: the leader's, whose consent this is.
        participant_id: who.
        clock: the machine's clocks.
        bundle: the verified bundle in force, None before the first.
        chosen: told of each choice after it is durable, so that the leader and the helper hear of it at once.
    """

    def __init__(
        self,
        store: AgentStore,
        pins: Pins,
        participant_id: str,
        clock: Clock,
        bundle: Callable[[], PreparedBundle | None],
        chosen: Callable[[], None],
    ) -> None:
        self._store = store
        self._pins = pins
        self._keeper = ConsentKeeper(store, pins, clock)
        self._record = store.participants.get(participant_id)
        self._clock = clock
        self._bundle = bundle
        self._chosen = chosen
        self._lock = threading.RLock()
        self._consent_change = -1
        self._consent: ConsentState  # read when it is first asked for
        self._events = self._load()

    @property
    def site(self) -> str:
        """The site's name."""
        return self._record.site

    def now_ms(self) -> int:
        """The present, ms since 1970."""
        return self._clock.now_ms()

    def consent(self) -> ConsentState:
        """What stands; read again from the store when anybody's consent has changed."""
        with self._lock:
            change = self._store.consents.last_change()
            if change != self._consent_change:
                self._store.consents.guard()  # whoever made the change may have died before the keyring heard of it
                self._consent = self._keeper.state_of(self._record.participant_id)
                self._consent_change = change
                kept = kept_kinds(self._consent, self.now_ms() // 1_000)  # the others were deleted with the choice
                self._events = {name: event for name, event in self._events.items() if event.kind in kept}
            return self._consent

    def choose(self, granted: Collection[str], declined: Collection[str], notice: Notice) -> None:
        """Record a choice; durable, and in force, when it returns."""
        with self._store.transaction():
            if granted:
                self._keeper.grant(self._record.participant_id, granted, notice)
            if declined:
                self._keeper.decline(self._record.participant_id, declined, notice)
        self._chosen()

    def observe_gpc(self) -> None:
        """Record that Global Privacy Control is on; reports that it takes back are handed on at once."""
        self._keeper.observe_gpc(self._record.participant_id)
        self._chosen()

    def note_withheld(self, gate: Gate, purposes: Collection[str]) -> None:
        """Count, for the person to see, that Global Privacy Control alone shut a gate for these purposes."""
        who = self._record.participant_id
        self._store.gpc.add(((who, gate, purpose) for purpose in purposes), self.now_ms() // 1_000)

    def append_events(self, events: Sequence[Event], under: ConsentState | None = None) -> bool:
        """Store events in one commit; an id that is stored already is skipped.

        The same transaction looks once more whether the person is still here, no child, and consents as when the
        events were let in: a withdrawal or an erasure that came in between, of another process too, leaves none behind.
        """
        with self._lock:
            with self._store.transaction():
                if not self._is_here() or (under is not None and _rests_on(self.consent()) != _rests_on(under)):
                    return False
                fresh = {event.event_id: event for event in events if event.event_id not in self._events}
                rows = [(event.event_id, event.at_ms, json.dumps(event.document())) for event in fresh.values()]
                self._store.insert_events(self._record.participant_id, rows)
            self._events.update(fresh)
        return True

    def events(self) -> Sequence[Event]:
        """The last 30 days' events, in order of arrival."""
        since_ms = self.now_ms() - PROFILE_MS
        with self._lock:
            if any(event.at_ms <= since_ms for event in self._events.values()):
                self._events = {name: event for name, event in self._events.items() if event.at_ms > since_ms}
            return list(self._events.values())

    def erase_events(self) -> None:
        """Delete all events."""
        with self._lock:
            with self._store.transaction():
                self._store.events.erase(self._record.participant_id)
                self._store.browsers.renew(self._record.person)  # what waits in a browser was collected before, too
            self._events.clear()

    def bundle(self) -> PreparedBundle | None:
        """The verified bundle in force; None before the first."""
        return self._bundle()

    def sent(self) -> Sequence[Sent]:
        """What left for this person, by purpose; nulls are among the reports and look the same."""
        found = self._store.contributions.sent_of(self._record.participant_id)
        return [Sent(purpose, reports, size_bytes) for purpose, (reports, size_bytes) in found.items()]

    def log_holds(self) -> bool:
        """Whether the leader's log holds, as far as the last poll showed."""
        return standing(self._store)["fault"] is None

    def budget(self) -> Budget | None:
        """What was spent of the person's contract; None before anything was asked."""
        found = inspect(self._store, self._record.person, self._clock)
        if found is None:
            return None
        return Budget(
            spent_epsilon=found.spent_epsilon,
            cap_epsilon=found.contract.epsilon,
            delta=found.contract.delta,
            window_days=PROMISED_DAYS,
            lifetime_epsilon=found.lifetime_epsilon,
            intact=found.intact,
            local_epsilon=found.local_epsilon,
            local_delta=found.local_delta,
            local_studies=tuple((study[:_SHORT], figure) for study, figure in sorted(found.local.items())),
        )

    def receipts(self) -> Sequence[str]:
        """The signed consent receipts, oldest first."""
        return [receipt.jws for receipt in self._store.consents.receipts_of(self._record.participant_id)]

    def history(self) -> Sequence[Recorded]:
        """What was chosen when, and who signed that they heard of it; the latest first."""
        who, consents = self._record.participant_id, self._store.consents
        with self._store.transaction():
            rows, receipts, leader = consents.rows_of(who), consents.receipts_of(who), self._pins.leader_key
            keys = keys_of_participant(self._store, leader, self._store.participants.get(who))
        return recount(rows, receipts, keys, leader)

    def contributions(self) -> Sequence[Contribution]:
        """What became of each report; the latest first."""
        return self._store.contributions.releases_of(self._record.participant_id)

    def consent_record(self) -> bytes:
        """The whole consent ledger in one file that anyone can verify elsewhere."""
        present = self._store.participants.get(self._record.participant_id)  # its key may be another one by now
        return write_record(consent_record(self._store, self._pins.leader_key, present, self.now_ms() // 1_000))

    def everything(self, signals: Signals) -> Export:
        """All that is held about the person on every site, read as it is written out."""
        return gather(self._store, self._pins, self._record.person, self._clock, bundle=self._bundle(), signals=signals)

    def erase_everything(self) -> None:
        """Take back every yes and delete all about the person; the services hear as soon as they answer."""
        erase_person(self._store, self._pins, self._record.person, self._clock)
        with self._lock:
            self._events.clear()
        self._chosen()

    def _is_here(self) -> bool:
        known = self._store.people.get(self._record.person)
        return known is not None and known.kind == "adult" and self._store.participants.has(self._record.participant_id)

    def _load(self) -> dict[str, Event]:
        """Read the stored events, after deleting those whose retention is over."""
        since_ms = self.now_ms() - PROFILE_MS
        self._store.events.erase(self._record.participant_id, before_ms=since_ms)
        kept = stored_events(self._store, self._record.participant_id, self.now_ms())
        return {event.event_id: event for event in kept}


def _rests_on(state: ConsentState) -> tuple[bytes, str | None]:
    """What a decision rests on: the ledger's last row, and whether the ledger is believed."""
    return state.head, state.fault
