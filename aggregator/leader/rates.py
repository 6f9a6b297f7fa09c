"""How much one device or one enrolment token may send: counted once a signature holds or a token was found.

So nobody uses up another's: naming a device's id takes nothing out of its bucket. A withdrawal takes nothing either.
"""

from __future__ import annotations

from typing import Final

from aggregator.clock import Clock
from aggregator.limits import Buckets, Rate, SlowDown
from aggregator.settings import LeaderSettings

_DEVICES: Final = 100_000
"""Devices whose buckets a process remembers: some 30 megabytes at most."""
_TOKENS: Final = 1_000
_SECONDS_AT_ONCE: Final = 5


class SenderRates:
    """The buckets of one process.

    Args:
        settings: the leader's.
        clock: the time.
    """

    def __init__(self, settings: LeaderSettings, clock: Clock) -> None:
        self._clock = clock
        items, enrolments = settings.device_items_per_minute, settings.token_enrolments_per_second
        self._devices = Buckets(Rate(items / 60.0, max(1.0, items)), _DEVICES)
        self._tokens = Buckets(Rate(enrolments, max(1.0, _SECONDS_AT_ONCE * enrolments)), _TOKENS)

    def item(self, device_id: bytes) -> SlowDown | None:
        """Count a report or a receipt that a device signed; what to answer instead if it is one too many for now."""
        wait = self._devices.take(device_id, self._clock.monotonic())
        return SlowDown("one device", wait) if wait else None

    def enrolment(self, token_id: str) -> SlowDown | None:
        """Count an enrolment with a token; what to answer instead if it is one too many for now."""
        wait = self._tokens.take(token_id, self._clock.monotonic())
        return SlowDown("one enrolment token", wait) if wait else None
