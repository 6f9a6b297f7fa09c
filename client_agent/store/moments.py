"""The latest time that this device is known to have reached, by which grants age: a clock turned back prolongs none.

Time is kept in segments. Within one it never runs backwards: it is the later of the machine's clock and of what was
seen before plus the running time since. A clock that once showed a year to come would end every grant, so a choice that
is made while the clock shows less than was seen opens a new segment: the person is here now, and what they grant now
ages from now. What was granted in an earlier segment goes on to age by the latest time of any segment since.
"""

from __future__ import annotations

from typing import Final

from client_agent.store.database import Database

STEP_SECONDS: Final = 600
"""How far time goes on before it is written down: a restart forgets no more than this."""
TOLERANCE_SECONDS: Final = 300
"""How far a clock may be set back without being wrong: two honest clocks may differ by as much."""


class Moments:
    """The table of segments, and the running time of this process.

    Args:
        database: the store's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: tuple[int, int, float] | None = None
        """Segment, Unix seconds and running seconds at the last look of this process; None before the first."""
        self._behind = False

    def note(self, now_seconds: int, running_seconds: float) -> bool:
        """Look at both clocks; returns whether the machine's has fallen behind what was seen, or further behind.

        Then the states of consent that processes hold know an earlier time, and have to be read again.

        Args:
            now_seconds: Unix seconds by the machine's clock.
            running_seconds: the monotonic clock.
        """
        segment, seen_at = self._newest()
        present = max(now_seconds, seen_at, self._reached(segment, running_seconds))
        behind, before = now_seconds + TOLERANCE_SECONDS < present, self._behind
        self._latest, self._behind = (segment, present, running_seconds), behind
        if present < seen_at + STEP_SECONDS and (before or not behind):
            return False
        self._keep(segment, present)
        return behind

    def choose(self, now_seconds: int) -> int:
        """The segment of a choice that is made now. Part of the caller's transaction."""
        segment, seen_at = self._newest()
        latest = self._latest[1] if self._latest and self._latest[0] == segment else 0
        if now_seconds + TOLERANCE_SECONDS < max(seen_at, latest):
            segment, seen_at = segment + 1, 0
        if now_seconds > seen_at:
            self._keep(segment, now_seconds)
        return segment

    def seen_at(self, segment: int) -> int:
        """Unix seconds: the latest time that was seen in a segment or one after it; 0 if none was."""
        found = self._database.fetch("SELECT max(seen_at) FROM clock_marks WHERE segment >= ?", (segment,))[0][0]
        return int(found or 0)

    def segment_of(self, participant_id: str, receipts: frozenset[bytes]) -> int:
        """The earliest segment in which a participant signed any of some receipts."""
        marks = ", ".join("?" for _ in receipts)
        found = self._database.fetch(
            f"SELECT min(clock_segment) FROM receipts WHERE participant_id = ? AND digest IN ({marks})",  # noqa: S608 - marks alone
            (participant_id, *receipts),
        )
        return int(found[0][0] or 0)

    def _reached(self, segment: int, running_seconds: float) -> int:
        """What this process saw last in a segment, and the running time since."""
        if self._latest is None or self._latest[0] != segment:
            return 0
        return self._latest[1] + int(running_seconds - self._latest[2])

    def _newest(self) -> tuple[int, int]:
        found = self._database.fetch("SELECT segment, seen_at FROM clock_marks ORDER BY segment DESC LIMIT 1")
        return (int(found[0][0]), int(found[0][1])) if found else (0, 0)

    def _keep(self, segment: int, seen_at: int) -> None:
        self._database.run(
            "INSERT INTO clock_marks VALUES (?, ?) ON CONFLICT (segment) DO UPDATE SET"
            " seen_at = max(seen_at, excluded.seen_at)",
            (segment, seen_at),
        )
