"""What the agent holds, as data: each table, named value, keyring entry and file, and what becomes of it.

Three rights are drawn from this one list. *Access*: every column of a personal table is exported, or withheld for the
reason given here. *Erasure*: every personal table is emptied of the person. *Honesty*: what is not personal says why.
A test walks a store that was really used, and fails on whatever is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Whose = Literal["participant_id", "person", "name"]
"""The column that says whom a row is about: one person on one site by its id, or a person by their local name."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One table of personal data.

    Attributes:
        table: its name.
        columns: what an export holds of it.
        whose: the column that says whom a row is about.
        withheld: columns that no export holds, each with the reason.
    """

    table: str
    columns: tuple[str, ...]
    whose: Whose = "participant_id"
    withheld: Mapping[str, str] = field(default_factory=dict)


_LINK: Final = "a number that orders rows within this store; it says nothing about the person"
_AGAIN: Final = "when this device next sends what the leader refused; it says nothing about the person"
_TOKEN: Final = "a secret that takes this report back at the helper; who has it can do so in the person's place"  # noqa: S105 - a reason
_PIN: Final = "from it a PIN of a few digits could be tried out"
_COOKIE: Final = "what a browser proves itself with; who has it is taken for that browser"
_SEAL: Final = "a random key; it opens what the page's script has sealed in that browser, and says nothing of its own"
_OUTCOME: Final = "exported in words, as the outcome"
_BYTES: Final = "masked bytes, random to everybody without the helper's share; their size is exported instead"

PERSONAL: Final[tuple[Holding, ...]] = (
    Holding(
        "receipts",
        ("participant_id", "digest", "jws", "countersignature", "state"),
        withheld={"sequence": _LINK, "clock_segment": _LINK, "refusals": _AGAIN, "due_at": _AGAIN},
    ),
    Holding("consent_rows", ("participant_id", "position", "body")),
    Holding(
        "consent_heads",
        ("participant_id", "head", "length", "epoch", "fault"),
        withheld={"bucket": _LINK},
    ),
    Holding("consent_evidence", ("participant_id", "position", "body"), withheld={"sequence": _LINK}),
    Holding("gpc_applications", ("participant_id", "day", "gate", "purpose", "withheld")),
    Holding("consent_changes", (), withheld={"participant_id": _LINK, "change": _LINK}),
    Holding(
        "reports",
        ("participant_id", "study_hash", "round", "report_id", "state", "slot_ms"),
        withheld={"token": _TOKEN, "frame": _BYTES, "seal": _BYTES},
    ),
    Holding(
        "contributions",
        ("participant_id", "study_hash", "round", "report_id", "sent_at_ms", "removal", "confirmation", "size_bytes"),
        withheld={"taken_back": _OUTCOME, "helper": _OUTCOME},
    ),
    Holding("events", ("participant_id", "at_ms", "body"), withheld={"sequence": _LINK, "event_id": "part of body"}),
    Holding(
        "participants",
        ("participant_id", "person", "site", "leader", "device_id", "enrolled_at_ms"),
        withheld={
            "seed": "the secret signing key; the export says that it exists, and gives its public part",
            "next_seed": "the secret signing key that is to come",
            "rotation": "what both keys signed of the change; it stands among the choices once it is made",
            "rotations": "how many changes of key stand among the choices",
        },
    ),
    Holding(
        "people",
        ("name", "kind", "failures", "failed_at_ms"),
        whose="name",
        withheld={"pin_salt": _PIN, "pin_digest": _PIN},
    ),
    Holding(
        "browsers",
        ("person", "lasting", "created_at_ms", "used_at_ms", "opened_at_ms"),
        whose="person",
        withheld={"page": _COOKIE, "site": _COOKIE, "secret": _SEAL},
    ),
)
"""What is about a person: exported to them, and emptied by an erasure, in this order."""

_COIN: Final = (
    "exports leave the budget out: a charge that is missing beside a report, or a budget that was used up, would say"
    " which reports were null. It is shown on the agent's own page and by the status command"
)
KEPT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ledger_rows": f"the spend counter, under a pseudonym; erasure keeps it, or budget could be minted; {_COIN}",
        "ledger_heads": "the ends of the spend counters, under the same pseudonyms",
        "tallies": "this device's own counts by purpose, of everybody behind it together: in nobody's export, which"
        " counts the person's own reports; they begin at 0 again whenever somebody is erased",
        "rounds": "which questions this device has seen, whoever answered them",
        "taken_back": "reports to be taken back at the helper: no name, no person; deleted once it has heard of them",
        "outbox": "signed withdrawals of people who were erased, without name or key, so nobody's; deleted once they"
        " are confirmed",
        "consent_buckets": "digests over the ends of consent ledgers, which say nothing without them",
        "clock_marks": "the latest time that this device has seen",
        "facts": "named values of the agent, none of them about a person",
        "sqlite_sequence": "SQLite's own",
    }
)
"""Tables that hold nobody's data, or nothing that says whose, and why."""

FACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pins": "keys of leader, helper and officers; the same for everybody, exported as context",
        "addresses": "where the services are; the same for everybody, exported as context",
        "tuf-root": "the pinned root of the bundle; the same for everybody",
        "consents-change": "a counter of changes",
        "consents-before": "a digest over the ends of all consent ledgers, before the last change",
        "participants-change": "a counter of changes",
        "people-change": "a counter of changes",
        "contract": "terms of the budget; installed",
        "quotas": "shares of the budget by purpose; installed",
        "local-contracts": "terms of studies' local layers; the studies', not a person's",
        "elapsed": "the device's running time",
        "signed-seconds": "the latest time that the helper signed",
        "ledger-lost": "when a loss of the ledgers was noticed",
        "ledger-owners": "the secret behind the pseudonyms of spend counters",
        "ignored-stops": "a counter of stops that no officer signed",
        "log-checkpoint": "the last checkpoint of the leader's log that held",
        "log-fault": "what is wrong with that log",
        "log-behind": "since when the leader has shown less of that log than before",
        "log-evidence": "signed documents of that log which contradict each other",
        "studies-in-words": "what studies ask, in sentences; the studies', not a person's",
        "unsupported": "names of studies that this version cannot answer, and what it lacks",
        "unscrubbed": "that something was deleted whose traces in the file have yet to be overwritten",
    }
)
"""Named values in the store, none of them about a person, and why."""

KEYRING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "store-key": "opens the store; replaced after an erasure",
        "store-key-next": "the key that replaces it, while it does; each attempt has its own, kept no longer",
        "ledger-mirror": "a digest over the ends of all spend counters",
        "consent-mirror": "a digest over the ends of all consent ledgers, and the largest epoch by leader",
    }
)
"""Entries of the keyring, none of them about a person."""

FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "agent.db": "the encrypted store",
        "agent.db-wal": "its write-ahead log, encrypted; emptied by an erasure",
        "agent.db-shm": "the index of that log: page numbers, no content",
        "agent.db-journal": "pages of the store, encrypted, while it leaves the log",
        "agent.new": "the store under its next key, while it is being written; what a crash leaves of it is overwritten"
        " at the next start",
        "agent.new-journal": "as far as an older agent left it: overwritten at the next start",
        "keys.json": "the keyring's entries where the system has no keyring",
        "keys.new": "the same file while it is being replaced",
        "tuf": "the bundle and its metadata; the same for everybody",
    }
)
"""Files in the agent's folder. What is about a person is in the first two alone."""
