"""Withdrawals of people who were erased before the leader confirmed them: all that is kept is what has to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from client_agent.store.database import Database
from client_agent.store.refusals import not_due


@dataclass(frozen=True, slots=True)
class Farewell:
    """One withdrawal on its way; neither the key that signed it nor a local name is left here.

    Attributes:
        sequence: its place in the outbox.
        device_id: as the leader knows the device (16 bytes): whom the withdrawal is for.
        jws: the withdrawal, as signed.
        refusals: how often the leader refused it.
    """

    sequence: int
    device_id: bytes
    jws: str
    refusals: int


class Outbox:
    """The table of withdrawals that outlive their participants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, leader: bytes, device_id: bytes, jws: str) -> None:
        """Keep a signed withdrawal for a leader until it is confirmed. Part of the caller's transaction."""
        self._database.run(
            "INSERT OR IGNORE INTO outbox (leader, device_id, jws) VALUES (?, ?, ?)", (leader, device_id, jws)
        )

    def waiting(self, leader: bytes, now_seconds: int, after: int = 0, limit: int = 256) -> list[Farewell]:
        """What a leader has not confirmed and is to hear now, oldest first, from a place in the outbox on.

        Args:
            leader: its key.
            now_seconds: Unix seconds.
            after: the place.
            limit: how many at most.
        """
        rows = self._database.fetch(
            "SELECT sequence, device_id, jws, refusals FROM outbox"
            " WHERE leader = ? AND sequence > ? AND due_at NOT BETWEEN ? AND ? ORDER BY sequence LIMIT ?",
            (leader, after, *not_due(now_seconds), limit),
        )
        return [Farewell(*row) for row in rows]

    def defer(self, farewells: Iterable[tuple[int, int]]) -> None:
        """Note (sequence, due time in Unix seconds) of what the leader refused, to be sent again from then on."""
        self._database.run_many(
            "UPDATE outbox SET refusals = refusals + 1, due_at = ? WHERE sequence = ?",
            [(due_at, sequence) for sequence, due_at in farewells],
        )

    def confirmed(self, sequences: Iterable[int]) -> None:
        """Delete what the leader confirmed."""
        self._database.run_many("DELETE FROM outbox WHERE sequence = ?", [(sequence,) for sequence in sequences])

    def __len__(self) -> int:
        return int(self._database.fetch("SELECT count(*) FROM outbox")[0][0])
