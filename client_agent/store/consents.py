"""Consent on disk: the chained rows of each participant's consent ledger, and the receipts on their way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from client_agent.store.database import Database
from client_agent.store.facts import Facts
from consent import Row

_CHANGE = "consents-change"

ReceiptState = Literal["home", "waiting", "confirmed", "refused"]
"""A refusal stays at home; grants and withdrawals wait for the leader until it confirmed or refused them."""


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """One receipt.

    Attributes:
        participant_id: whose.
        digest: its name (32 bytes).
        jws: as signed.
        countersignature: the leader's confirmation, if it came.
        state: where it is on its way.
    """

    participant_id: str
    digest: bytes
    jws: str
    countersignature: str | None
    state: ReceiptState


class Consents:
    """Consent rows and receipts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._facts = Facts(database)

    def append(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Append ledger rows and mark their participants as changed. Part of the caller's transaction."""
        rows = list(rows)
        if not rows:
            return
        self._database.run_many(
            "INSERT INTO consent_rows VALUES (?, ?, ?)", [(who, row.index, row.body()) for who, row in rows]
        )
        change = self.note_change()
        self._database.run_many(
            "INSERT INTO consent_changes VALUES (?, ?)"
            " ON CONFLICT (participant_id) DO UPDATE SET change = excluded.change",
            [(who, change) for who, _ in rows],
        )

    def note_change(self) -> int:
        """Count a change, so that another process notices it; an erasure is one too. Part of a transaction.

        The counter outlives the rows that it numbers: a number that an erasure freed and that came again would hide
        the change that got it from whoever knew the number before.
        """
        return self._facts.count(_CHANGE)

    def last_change(self) -> int:
        """Number of the last change of anybody's consent; 0 before the first."""
        return self._facts.counted(_CHANGE)

    def changed_since(self, change: int) -> list[str]:
        """Participants whose consent changed after the given change."""
        rows = self._database.fetch("SELECT participant_id FROM consent_changes WHERE change > ?", (change,))
        return [row[0] for row in rows]

    def rows_of(self, participant_id: str) -> list[bytes]:
        """A participant's ledger rows, in order."""
        statement = "SELECT body FROM consent_rows WHERE participant_id = ? ORDER BY position"
        return [row[0] for row in self._database.fetch(statement, (participant_id,))]

    def add_receipts(self, receipts: Iterable[StoredReceipt]) -> None:
        """Store receipts. Part of the caller's transaction."""
        self._database.run_many(
            "INSERT INTO receipts (participant_id, digest, jws, countersignature, state) VALUES (?, ?, ?, ?, ?)",
            [(r.participant_id, r.digest, r.jws, r.countersignature, r.state) for r in receipts],
        )

    def settle(self, receipts: Iterable[tuple[str, bytes, str | None, ReceiptState]]) -> None:
        """Note (participant, digest, countersignature, state) of receipts that the leader answered."""
        self._database.run_many(
            "UPDATE receipts SET countersignature = ?, state = ? WHERE participant_id = ? AND digest = ?",
            [(countersignature, state, who, name) for who, name, countersignature, state in receipts],
        )

    def waiting(self, limit: int) -> list[StoredReceipt]:
        """Receipts that the leader has not answered, oldest first."""
        return self._receipts("WHERE state = 'waiting' ORDER BY sequence LIMIT ?", (limit,))

    def receipts_of(self, participant_id: str) -> list[StoredReceipt]:
        """A participant's receipts, oldest first."""
        return self._receipts("WHERE participant_id = ? ORDER BY sequence", (participant_id,))

    def _receipts(self, clause: str, values: tuple[object, ...]) -> list[StoredReceipt]:
        columns = "participant_id, digest, jws, countersignature, state"
        rows = self._database.fetch(f"SELECT {columns} FROM receipts {clause}", values)  # noqa: S608 - constants
        return [StoredReceipt(*row) for row in rows]
