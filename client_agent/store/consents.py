"""Consent on disk: the chained rows of each participant's consent ledger, and the receipts on their way."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from client_agent.keys import Keyring
from client_agent.store.database import Database
from client_agent.store.facts import Facts
from client_agent.store.heads import CHANGE, Head, Heads
from client_agent.store.moments import Moments
from client_agent.store.refusals import not_due
from client_agent.store.reports import Reports
from consent import Row

_log = logging.getLogger(__name__)

RESTORED = "the store is not the one that the keyring remembers: an older copy, or a damaged one"
"""Why nothing counts in a store whose digest is not the mirror's."""
ReceiptState = Literal["home", "waiting", "confirmed", "refused"]
"""A refusal stays at home; grants and withdrawals wait for the leader until it confirmed or refused them. A withdrawal
that it refused is sent again, until it has confirmed that one or a later choice."""


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """One receipt.

    Attributes:
        participant_id: whose.
        digest: its name (32 bytes).
        jws: as signed.
        countersignature: the leader's confirmation, if it came.
        state: where it is on its way.
        refusals: how often the leader refused it, of a withdrawal.
        due_at: from when on a withdrawal that it refused is sent again, Unix seconds; None of everything else.
    """

    participant_id: str
    digest: bytes
    jws: str
    countersignature: str | None
    state: ReceiptState
    refusals: int = 0
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A row on its way into a participant's ledger.

    Attributes:
        participant_id: whose.
        row: what happened.
        epoch: the ledger's epoch after it.
    """

    participant_id: str
    row: Row
    epoch: int


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """A participant's ledger as one snapshot of the store has it.

    Attributes:
        rows: their bodies, in order.
        head: where it stands; None for a ledger without a choice.
        covered: the mirror's digest covers this head, or its absence.
    """

    rows: list[bytes]
    head: Head | None
    covered: bool


class Consents:
    """Consent rows and receipts.

    Args:
        database: the store's.
        keyring: where the mirror of the ledgers is kept.

    Attributes:
        heads: the ends of the ledgers, and their mirror.
        moments: the latest time that was seen, by which grants age.
        made_here: receipts that this process recorded since it opened the store. They are choices of now, whatever the
            store is a copy of.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._facts = Facts(database)
        self._reports = Reports(database)
        self.heads = Heads(database, keyring)
        self.moments = Moments(database)
        self.made_here: set[bytes] = set()

    def guard(self) -> bool:
        """Look whether the store is the one that the mirror remembers; if not, nothing in it counts from now on.

        Every ledger becomes faulty until its person chooses again, durably, so that every other process reads it; and
        nothing that waits to be sent is sent. Where the store is one transaction ahead, because whoever committed it
        died before the keyring heard of it, the keyring hears of it now: until then a copy of the store from before
        that transaction would be taken for the present one. Run when the store is opened, before a choice, at each
        poll, and when the page finds a change.

        Returns:
            Whether a loss was noticed now.
        """
        if self.heads.standing() == "present":
            return False
        with self._database.transaction():
            standing = self.heads.standing()  # what another process was committing is there now
            if standing == "ahead":
                self.heads.catch_up()
            if standing != "lost":
                return False
            _log.error("consent does not count until people choose again: %s", RESTORED)
            self._lose()
        return True

    def distrust(self, participant_id: str, reason: str, epoch: int) -> None:
        """Let nothing of one participant count until they choose again; what waits to be sent is taken back."""
        with self._database.transaction():
            self.guard()
            self.heads.begin()
            self._distrust(participant_id, reason, epoch)
            self._mark([participant_id])

    def append(self, rows: Iterable[ConsentRow]) -> None:
        """Append ledger rows and mark their participants as changed. Part of the caller's transaction.

        Raises:
            ConsentOvertaken: a row does not follow on the last one of its ledger.
        """
        rows = list(rows)
        if not rows:
            return
        self.guard()
        self.heads.begin()
        for entry in rows:
            if entry.row.kind == "restart":
                self._set_aside(entry.participant_id, entry.row.index)
            self.heads.advance(entry.participant_id, entry.row, entry.epoch)
        self._database.run_many(
            "INSERT INTO consent_rows VALUES (?, ?, ?)",
            [(entry.participant_id, entry.row.index, entry.row.body()) for entry in rows],
        )
        self._mark(entry.participant_id for entry in rows)

    def forget(self, participant_id: str) -> None:
        """Count the erasure of a participant, and let the mirror follow it. Part of the caller's transaction."""
        self.note_change()
        self.heads.forget(participant_id)

    def note_change(self) -> int:
        """Count a change, so that another process notices it; an erasure is one too. Part of a transaction.

        The counter outlives the rows that it numbers: a number that an erasure freed and that came again would hide
        the change that got it from whoever knew the number before.
        """
        self.guard()
        self.heads.begin()
        return self._facts.count(CHANGE)

    def look(self, now_seconds: int, running_seconds: float) -> None:
        """What each poll looks at, in the resident and in the worker: the mirror, and the clocks.

        Where the clock was turned back, every process is let to read consent again.

        Args:
            now_seconds: Unix seconds by the machine's clock.
            running_seconds: the monotonic clock.
        """
        self.guard()
        if self.moments.note(now_seconds, running_seconds):
            with self._database.transaction():
                self._mark([row[0] for row in self._database.fetch("SELECT participant_id FROM consent_heads")])

    def last_change(self) -> int:
        """Number of the last change of anybody's consent; 0 before the first."""
        return self._facts.counted(CHANGE)

    def changed_since(self, change: int) -> list[str]:
        """Participants whose consent changed after the given change."""
        rows = self._database.fetch("SELECT participant_id FROM consent_changes WHERE change > ?", (change,))
        return [row[0] for row in rows]

    def rows_of(self, participant_id: str) -> list[bytes]:
        """A participant's ledger rows, in order."""
        statement = "SELECT body FROM consent_rows WHERE participant_id = ? ORDER BY position"
        return [row_body(row[0]) for row in self._database.fetch(statement, (participant_id,))]

    def ledger_of(self, participant_id: str) -> StoredLedger:
        """A participant's ledger, its head, and whether the mirror covers it, in one snapshot."""
        with self._database.snapshot():
            head, covered = self.heads.of(participant_id), self.heads.covers(participant_id)
            return StoredLedger(self.rows_of(participant_id), head, covered)

    def evidence_of(self, participant_id: str) -> list[bytes]:
        """Rows that did not verify and were set aside when the ledger was restarted, in the order of restarts."""
        statement = "SELECT body FROM consent_evidence WHERE participant_id = ? ORDER BY sequence"
        return [row_body(row[0]) for row in self._database.fetch(statement, (participant_id,))]

    def add_receipts(self, receipts: Iterable[StoredReceipt], segment: int = 0) -> None:
        """Store receipts that were signed in a segment of time. Part of the caller's transaction.

        The same choice twice within a second is the same receipt, byte for byte; it is stored once.
        """
        receipts = list(receipts)
        self._database.run_many(
            "INSERT INTO receipts (participant_id, digest, jws, countersignature, state, clock_segment)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(r.participant_id, r.digest, r.jws, r.countersignature, r.state, segment) for r in receipts],
        )
        self.made_here.update(receipt.digest for receipt in receipts)

    def settle(self, receipts: Iterable[tuple[str, bytes, str | None, ReceiptState]]) -> None:
        """Note (participant, digest, countersignature, state) of receipts that the leader answered for good.

        What it confirmed says all: a withdrawal from before that it had refused is not sent again.
        """
        receipts = list(receipts)
        self._database.run_many(
            "UPDATE receipts SET countersignature = ?, state = ?, due_at = NULL"
            " WHERE participant_id = ? AND digest = ?",
            [(countersignature, state, who, name) for who, name, countersignature, state in receipts],
        )
        self._overtake([(who, who, name) for who, name, _, state in receipts if state == "confirmed"])

    def defer(self, receipt: StoredReceipt, due_at: int) -> None:
        """Note that the leader refused a withdrawal, which is sent again. Part of a transaction.

        Args:
            receipt: the withdrawal. Those from before it need not be sent any more: it says all that they said.
            due_at: when, Unix seconds (``refusals.due_after``).
        """
        self._database.run(
            "UPDATE receipts SET state = 'refused', refusals = refusals + 1, due_at = ?"
            " WHERE participant_id = ? AND digest = ?",
            (due_at, receipt.participant_id, receipt.digest),
        )
        self._overtake([(receipt.participant_id, receipt.participant_id, receipt.digest)])

    def hasten(self, participant_id: str) -> None:
        """Send a withdrawal that the leader refused again now: the person has said no once more."""
        self._database.run(
            "UPDATE receipts SET due_at = 0 WHERE participant_id = ? AND due_at IS NOT NULL", (participant_id,)
        )

    def refused_withdrawal(self, participant_id: str) -> bool:
        """Whether the leader refused a withdrawal and has confirmed nothing since: it may hold what was granted."""
        statement = "SELECT 1 FROM receipts WHERE participant_id = ? AND due_at IS NOT NULL LIMIT 1"
        return bool(self._database.fetch(statement, (participant_id,)))

    def waiting(self, limit: int) -> list[StoredReceipt]:
        """Receipts that the leader has not answered, oldest first."""
        return self._receipts("WHERE state = 'waiting' ORDER BY sequence LIMIT ?", (limit,))

    def deliverable(self, limit: int, now_seconds: int) -> list[StoredReceipt]:
        """What is to be sent now: those of them whose person the leader knows, and withdrawals that it refused.

        Who is enrolled by half, as far as here, waits until the leader knows them.

        Args:
            limit: how many at most, oldest first.
            now_seconds: Unix seconds.
        """
        known = "SELECT participant_id FROM participants WHERE device_id IS NOT NULL"
        due = "state = 'waiting' OR (due_at IS NOT NULL AND due_at NOT BETWEEN ? AND ?)"
        clause = f"WHERE ({due}) AND participant_id IN ({known}) ORDER BY sequence LIMIT ?"
        return self._receipts(clause, (*not_due(now_seconds), limit))

    def receipts_of(self, participant_id: str) -> list[StoredReceipt]:
        """A participant's receipts, oldest first."""
        return self._receipts("WHERE participant_id = ? ORDER BY sequence", (participant_id,))

    def _overtake(self, receipts: Iterable[tuple[str, str, bytes]]) -> None:
        """Send nothing again that came before these receipts: (participant, participant, digest)."""
        self._database.run_many(
            "UPDATE receipts SET due_at = NULL WHERE participant_id = ? AND due_at IS NOT NULL AND sequence <"
            " (SELECT sequence FROM receipts WHERE participant_id = ? AND digest = ?)",
            list(receipts),
        )

    def _lose(self) -> None:
        self.heads.begin(after_loss=True)
        everybody = self._database.fetch("SELECT participant_id, leader FROM participants")
        for participant_id, leader in everybody:
            self._distrust(participant_id, RESTORED, self.heads.floor(leader))
        self._mark([participant_id for participant_id, _ in everybody])

    def _distrust(self, participant_id: str, reason: str, epoch: int) -> None:
        self.heads.distrust(participant_id, reason, epoch)
        purposes = [row[0] for row in self._database.fetch("SELECT DISTINCT purpose FROM rounds")]
        self._reports.take_back(participant_id, purposes)

    def _set_aside(self, participant_id: str, kept: int) -> None:
        """Move the rows after those that verify out of the ledger; they are evidence, and nothing is lost."""
        rows = self._database.fetch(
            "SELECT position FROM consent_rows WHERE participant_id = ? ORDER BY position", (participant_id,)
        )
        if len(rows) > kept:
            self._move(participant_id, rows[kept][0])
        # What verifies has the positions 0, 1, ...; an editor may have numbered it otherwise.
        for index, (position,) in enumerate(rows[:kept]):
            self._database.run(
                "UPDATE consent_rows SET position = ? WHERE participant_id = ? AND position = ?",
                (index, participant_id, position),
            )

    def _move(self, participant_id: str, first: int) -> None:
        here = "FROM consent_rows WHERE participant_id = ? AND position >= ?"
        columns = "participant_id, position, body"
        self._database.run(
            f"INSERT INTO consent_evidence ({columns}) SELECT {columns} {here} ORDER BY position",
            (participant_id, first),
        )
        self._database.run(f"DELETE {here}", (participant_id, first))

    def _mark(self, participant_ids: Iterable[str]) -> None:
        """Number a change of some participants. Part of a transaction."""
        change = self.note_change()
        self._database.run_many(
            "INSERT INTO consent_changes VALUES (?, ?)"
            " ON CONFLICT (participant_id) DO UPDATE SET change = excluded.change",
            [(who, change) for who in participant_ids],
        )

    def _receipts(self, clause: str, values: tuple[object, ...]) -> list[StoredReceipt]:
        columns = "participant_id, digest, jws, countersignature, state, refusals, due_at"
        rows = self._database.fetch(f"SELECT {columns} FROM receipts {clause}", values)  # noqa: S608 - constants
        return [StoredReceipt(*row) for row in rows]


def row_body(stored: object) -> bytes:
    """A stored row's body, whatever an editor may have put in its place: what is no body does not verify."""
    return stored if isinstance(stored, bytes) else repr(stored).encode()
