"""The agent's encrypted store: one SQLCipher file; its key and the mirror of its ledgers lie in the keyring."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from client_agent.errors import StoreUnreadable
from client_agent.keys import Keyring, open_keyring
from client_agent.store.consents import Consents, StoredReceipt
from client_agent.store.contributions import OUTCOMES, Contribution, Contributions
from client_agent.store.database import STORE_KEY_BYTES, Database
from client_agent.store.events import Events
from client_agent.store.facts import Facts, Tallies
from client_agent.store.gpc import GpcApplications
from client_agent.store.ledgers import CONTRACT, LedgerRow, Ledgers
from client_agent.store.outbox import Farewell, Outbox
from client_agent.store.participants import ParticipantRecord, Participants
from client_agent.store.people import BrowserRecord, Browsers, People, PersonRecord
from client_agent.store.personal import Personal
from client_agent.store.reports import Reports, RoundKey, StoredReport
from client_agent.store.traces import (
    NEXT_KEY,
    STORE_KEY,
    Traces,
    left_of,
    remove_traces,
    settle_key,
)
from consent import ConsentError, Parties, keys_of, verify_receipt_of
from privacy.crypto import SigningKey, VerifyKey

__all__ = [
    "CONTRACT",
    "OUTCOMES",
    "AgentStore",
    "BrowserRecord",
    "Contribution",
    "Farewell",
    "LedgerRow",
    "ParticipantRecord",
    "PersonRecord",
    "RoundKey",
    "StoredReceipt",
    "StoredReport",
    "open_store",
]

STORE_FILE = "agent.db"


class AgentStore:
    """Everything the agent keeps. Its parts write inside ``transaction()``, which is durable when it ends.

    Args:
        path: the file.
        key: 32 secret bytes.
        keyring: where the ledgers' mirror is kept.

    Raises:
        StoreUnreadable: wrong key, damaged, or not a store.
        StoreVersionUnknown: written by a newer agent.

    Attributes:
        participants: who this agent speaks for.
        people: the household, children and people who are not enrolled among them.
        browsers: in which somebody said who they are.
        consents: consent rows and receipts.
        ledgers: budget rows, heads and their mirror.
        outbox: withdrawals of people who were erased.
        reports: rounds and reports.
        contributions: what became of each report, for the person to see: ``contributions.releases_of``.
        events: raw events.
        facts: named values.
        personal: everything about a person, table by table.
        tallies: statistics that stay here.
        gpc: what Global Privacy Control withheld.
    """

    def __init__(self, path: Path, key: bytes, keyring: Keyring) -> None:
        self._database = Database(path, key)
        self.participants = Participants(self._database)
        self.people = People(self._database)
        self.browsers = Browsers(self._database)
        self.consents = Consents(self._database, keyring)
        self.ledgers = Ledgers(self._database, keyring)
        self.outbox = Outbox(self._database)
        self.reports = Reports(self._database)
        self.contributions = Contributions(self._database)
        self.events = Events(self._database)
        self.facts = Facts(self._database)
        self.personal = Personal(self._database)
        self.tallies = Tallies(self._database)
        self.gpc = GpcApplications(self._database)
        self._keyring = keyring
        self._database.before_commit = self._before_commit
        self._database.after_commit = self._after_commit
        self._database.after_rollback = self._after_rollback
        self.consents.guard()

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, durable at the end; nested ones join."""
        return self._database.transaction()

    def _before_commit(self) -> None:
        self.ledgers.before_commit()
        self.consents.heads.before_commit()

    def _after_commit(self) -> None:
        """Bring the keyring up: one write for both mirrors, under the lock, so that no later commit is overwritten."""
        if not self.ledgers.moved and not self.consents.heads.moved:
            return
        with self._database.transaction():
            entries = self.ledgers.settled()
            if self.consents.heads.moved:
                entries |= self.consents.heads.settled()
            self._keyring.write_all(entries)

    def _after_rollback(self) -> None:
        self.ledgers.after_rollback()
        self.consents.heads.after_rollback()

    def insert_events(self, participant_id: str, rows: Iterable[tuple[str, int, str]]) -> None:
        """Append raw events: (event id, time in ms, JSON text); an id that is there already is skipped."""
        self.events.insert(participant_id, rows)

    def events_of(self, participant_id: str, since_ms: int = 0) -> list[tuple[int, str]]:
        """A participant's raw events in order of arrival: (time in ms, JSON text)."""
        return self.events.of(participant_id, since_ms)

    def erase(self, participant_id: str) -> None:
        """Delete everything about a participant; the person's ledger rows stay, so that no budget is regained.

        A withdrawal that waits for the leader, or that it refused, moves to the outbox, and nothing more is reserved in
        rounds known so far. ``erasing.erase_person`` withdraws first.
        """
        with self.transaction():
            self.participants.note_change()
            self.consents.forget(participant_id)
            self.reports.bar_rounds()
            self._keep_withdrawal(participant_id)
            self.tallies.clear()  # how many of them were a person's is not known, so that none are left
            self.personal.delete(participant_id)

    @property
    def traces(self) -> Traces | None:
        """What has yet to be done so that nothing deleted is left in the files; None if nothing is."""
        return left_of(self._database)

    def remove_traces(self) -> Traces | None:
        """Overwrite what is left of deleted data, as far as that is possible now; returns what is left for later.

        Run after an erasure, and by the resident until nothing is left: the key can be replaced only while no other
        process has the store open.
        """
        return remove_traces(self._database, self._keyring)

    def _keep_withdrawal(self, participant_id: str) -> None:
        """The last withdrawal says all: whatever it does not list as granted has ended."""
        receipts = self.consents.receipts_of(participant_id)
        waiting = [item for item in receipts if item.state == "waiting" or item.due_at is not None]
        if not waiting:
            return
        record = self.participants.get(participant_id)
        key, leader = SigningKey(record.seed).verify_key, VerifyKey(record.leader)
        parties = Parties(key, leader, record.site, record.participant_id)
        keys = keys_of(parties, self.consents.rows_of(participant_id)) if record.rotations else (key,)
        signed = [item.jws for item in waiting if _is_withdrawal(item, keys)]
        if signed and record.device_id is not None:
            self.outbox.add(record.leader, record.device_id, signed[-1])

    def adopt(self, key: bytes) -> None:
        """Make the key that opened this store its only one: a crash came while it was being replaced."""
        with self.transaction():
            settle_key(self._keyring, key)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _is_withdrawal(item: StoredReceipt, keys: Sequence[VerifyKey]) -> bool:
    """Whether a stored receipt takes something back; one that was edited here says nothing, and no leader takes it."""
    try:
        return verify_receipt_of(item.jws, keys).kind == "withdrawal"
    except ConsentError:
        return False


def open_store(folder: Path, keyring: Keyring | None = None) -> AgentStore:
    """Open the store in an agent's folder; made, with a fresh key in the keyring, if there is none.

    Raises:
        StoreUnreadable: the key is missing or wrong, or the file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keyring = keyring or open_keyring(folder)
    path, tried = folder / STORE_FILE, list[bytes]()
    if keyring.read(STORE_KEY) is None:
        if path.exists():
            raise StoreUnreadable(f"{path}: expected its key in the keyring, there is none")
        keyring.write(STORE_KEY, secrets.token_bytes(STORE_KEY_BYTES))
    while True:  # another process may replace the key between our reading and our opening: then there is a third one
        keys = [keyring.read(name) for name in (STORE_KEY, NEXT_KEY)]
        fresh = [key for key in keys if key and key not in tried]
        for key in fresh:
            try:
                store = AgentStore(path, key, keyring)
            except StoreUnreadable:
                tried.append(key)
                continue
            if keyring.read(NEXT_KEY) or key != keyring.read(STORE_KEY):
                store.adopt(key)
            return store
        if not fresh:
            AgentStore(path, tried[0], keyring)  # which says what is wrong with it
