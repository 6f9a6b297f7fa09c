"""Waiting as long as a service asks: after a 429, nothing of that kind is sent to it before the time is over.

What waits, waits in the store, as it does when the service cannot be reached. To what the service asks comes up to half
as much again, at random: agents that were told to wait together do not come back together. Choices are counted apart:
what keeps polls or reports waiting keeps no withdrawal.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

import httpx

from models.wire.problems import ProblemError

LONGEST_SECONDS: Final = 3_600.0
JITTER: Final = 0.5
_TOO_MANY: Final = 429
_STEPS: Final = 2**32
_CHOICES: Final = ("/v1/receipts", "/v1/withdrawals", "/v1/devices/me/revocation")


def _draw() -> float:
    """Between 0 and 1; no secret, it spreads agents over time."""
    return secrets.randbelow(_STEPS) / _STEPS


class Pauses:
    """The pauses of one connection.

    Args:
        monotonic: seconds by a clock that never steps back.
        jitter: a number in [0, 1).
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = _draw,
    ) -> None:
        self._monotonic = monotonic
        self._jitter = jitter
        self._until: dict[bool, float] = {}

    def require(self, path: str) -> None:
        """Return if something may be sent there now.

        Raises:
            ProblemError: ``slow-down``: the pause is not over.
        """
        left = self._until.get(path in _CHOICES, 0.0) - self._monotonic()
        if left > 0:
            raise ProblemError("slow-down", f"the service asked to wait; {left:.0f} s are left")

    def hear(self, path: str, response: httpx.Response) -> None:
        """Remember how long a service asks to wait (Retry-After in seconds, RFC 9110, section 10.2.3)."""
        asked = response.headers.get("retry-after", "")
        if response.status_code != _TOO_MANY or not asked.isascii() or not asked.isdigit():
            return
        wait = min(float(asked[:9]), LONGEST_SECONDS) * (1.0 + JITTER * self._jitter())
        self._until[path in _CHOICES] = self._monotonic() + wait
