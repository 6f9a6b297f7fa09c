"""What Global Privacy Control withheld, counted by day, gate and purpose, for the person to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from client_agent.store.database import Database

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class GpcApplication:
    """How often the signal shut one gate for one purpose on one day, where a grant would have opened it.

    Attributes:
        day: days since 1970, in UTC.
        gate: which gate.
        purpose: which purpose.
        withheld: how often.
    """

    day: int
    gate: str
    purpose: str
    withheld: int


class GpcApplications:
    """The table of applications of the signal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, withheld: Iterable[tuple[str, str, str]], now_seconds: int) -> None:
        """Count (participant, gate, purpose) of each decision that the signal alone turned into a no."""
        day = now_seconds // _DAY_SECONDS
        self._database.run_many(
            "INSERT INTO gpc_applications VALUES (?, ?, ?, ?, 1)"
            " ON CONFLICT (participant_id, day, gate, purpose) DO UPDATE SET withheld = withheld + 1",
            [(who, day, gate, purpose) for who, gate, purpose in withheld],
        )

    def of(self, participant_id: str) -> list[GpcApplication]:
        """What the signal withheld from the site for one participant, the latest day first."""
        rows = self._database.fetch(
            "SELECT day, gate, purpose, withheld FROM gpc_applications WHERE participant_id = ?"
            " ORDER BY day DESC, gate, purpose",
            (participant_id,),
        )
        return [GpcApplication(*row) for row in rows]
