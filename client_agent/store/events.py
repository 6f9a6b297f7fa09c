"""Raw events on disk: they are written here, read here, and never sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from client_agent.store.database import Database
from client_agent.store.traces import note_deletion

_CHUNK_ROWS: Final = 1_000
_KIND: Final = "CASE WHEN json_valid(body) THEN json_extract(body, '$.kind') END"


class Events:
    """The table of raw events; a body is the caller's JSON text."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, participant_id: str, rows: Iterable[tuple[str, int, str]]) -> None:
        """Append (event id, time in ms, body) rows; an id that is there already is skipped."""
        with self._database.transaction():
            self._database.run_many(
                "INSERT OR IGNORE INTO events (participant_id, event_id, at_ms, body) VALUES (?, ?, ?, ?)",
                [(participant_id, event_id, at_ms, body) for event_id, at_ms, body in rows],
            )

    def of(self, participant_id: str, since_ms: int = 0) -> list[tuple[int, str]]:
        """(time in ms, body) of a participant's events from a time on, in order of arrival."""
        rows = self._database.fetch(
            "SELECT at_ms, body FROM events WHERE participant_id = ? AND at_ms >= ? ORDER BY sequence",
            (participant_id, since_ms),
        )
        return [(row[0], row[1]) for row in rows]

    def stream(self, participant_id: str) -> Iterator[tuple[int, str]]:
        """All of a participant's events, as ``of`` gives them, a chunk at a time, however many there are."""
        # The plus keeps the index by time out of it: rows come in their own order, and none is sorted.
        statement = (
            "SELECT sequence, at_ms, body FROM events WHERE +participant_id = ? AND sequence > ?"
            " ORDER BY sequence LIMIT ?"
        )
        last = 0
        while rows := self._database.fetch(statement, (participant_id, last, _CHUNK_ROWS)):
            yield from ((row[1], row[2]) for row in rows)
            last = rows[-1][0]

    def stream_by_time(self, participant_id: str, since_ms: int) -> Iterator[tuple[int, str]]:
        """A participant's events from a time on, in the order of their times, a chunk at a time."""
        at_ms, last = since_ms, 0
        while rows := self._database.fetch(
            "SELECT sequence, at_ms, body FROM events WHERE participant_id = ? AND (at_ms, sequence) > (?, ?)"
            " ORDER BY at_ms, sequence LIMIT ?",
            (participant_id, at_ms, last, _CHUNK_ROWS),
        ):
            yield from ((row[1], row[2]) for row in rows)
            last, at_ms = rows[-1][0], rows[-1][1]

    def erase(
        self, participant_id: str, before_ms: int | None = None, *, keep_kinds: Collection[str] | None = None
    ) -> int:
        """Delete a participant's events; returns how many. ``remove_traces`` then overwrites what is left of them.

        Args:
            participant_id: whose.
            before_ms: only those before a time (retention), Unix milliseconds.
            keep_kinds: only those of other kinds than these, and whatever has no readable kind.
        """
        conditions, values = ["participant_id = ?"], list[str | int]([participant_id])
        if before_ms is not None:
            conditions, values = [*conditions, "at_ms < ?"], [*values, before_ms]
        if keep_kinds:
            marks = ", ".join("?" * len(keep_kinds))
            conditions = [*conditions, f"({_KIND} IS NULL OR {_KIND} NOT IN ({marks}))"]
            values = [*values, *keep_kinds]
        return self._erase(" AND ".join(conditions), values)

    def erase_before(self, before_ms: int) -> int:
        """Delete everybody's events of before a time, when their retention is over; returns how many."""
        return self._erase("at_ms < ?", [before_ms])

    def _erase(self, condition: str, values: Sequence[str | int]) -> int:
        with self._database.transaction():
            deleted = self._database.run(f"DELETE FROM events WHERE {condition}", values)  # noqa: S608 - constants
            if deleted:
                note_deletion(self._database)
            return deleted
