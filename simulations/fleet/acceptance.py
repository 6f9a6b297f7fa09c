"""How many of the accepted reports were nulls: known inside the simulated devices, and nowhere else."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from client_agent.connection import LeaderConnection
from client_agent.federation.contribution import Reservation
from client_agent.federation.sending import ACCEPTED


class WatchedLeader(LeaderConnection):
    """A connection to the leader that notes which reports it accepts.

    Args:
        inner: the connection whose place this one takes.
    """

    def __init__(self, inner: LeaderConnection) -> None:
        vars(self).update(vars(inner))  # the same client: this is the same connection, watched
        self._real: dict[bytes, str] = {}
        self._accepted = Counter[str]()

    def note_real(self, reservations: Iterable[Reservation]) -> None:
        """Remember the bytes of fixed real reports, before they are sent."""
        for reservation in reservations:
            if reservation.real:
                self._real[_digest(reservation.stored().frame)] = reservation.found.study.purpose

    def post_reports(self, encoded: Sequence[bytes], standing: Callable[[], bool] = lambda: True) -> tuple[str, ...]:
        """Post reports; of those that are accepted, count the real ones, each once."""
        results = super().post_reports(encoded, standing)
        for frame, result in zip(encoded, results, strict=True):
            if result == ACCEPTED and (purpose := self._real.pop(_digest(frame), None)) is not None:
                self._accepted[purpose] += 1
        return results

    def real_reports(self, purpose: str) -> int:
        """Real reports that were accepted for a purpose."""
        return self._accepted[purpose]


def _digest(frame: bytes) -> bytes:
    return hashlib.sha256(frame).digest()
