"""Raw events on disk: they are written here, read here, and never sent."""

from __future__ import annotations

from collections.abc import Iterable

from client_agent.store.database import Database


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

    def erase(self, participant_id: str, before_ms: int | None = None) -> int:
        """Delete a participant's events, all or those before a time (retention); returns how many."""
        with self._database.transaction():
            if before_ms is None:
                return self._database.run("DELETE FROM events WHERE participant_id = ?", (participant_id,))
            return self._database.run(
                "DELETE FROM events WHERE participant_id = ? AND at_ms < ?", (participant_id, before_ms)
            )
