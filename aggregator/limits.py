"""Rate limits: theory of operation.

A token bucket holds at most ``burst`` and gains ``per_second`` of them each second; what is let through takes as many
as it costs. So within any span of t seconds at most ``burst + per_second * t`` passes, and who stays below the rate
never waits. Somebody who is refused is told how long: until then as much will have gathered as they asked for.

Sans-I/O: time is an argument. Buckets are made on first sight and forgotten, the one longest unused first, beyond a
number: memory has a bound whatever the number of callers. A forgotten bucket begins full again, so whoever comes from
more addresses than are remembered is bounded by what everybody shares, which is one bucket and never forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from models.wire.problems import ProblemError

LONGEST_WAIT_SECONDS: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bucket lets through.

    Attributes:
        per_second: how much it gains each second; above 0.
        burst: the most that it holds; at least 1.
    """

    per_second: float
    burst: float

    def __post_init__(self) -> None:
        """Refuse a rate that lets nothing through.

        Raises:
            ValueError: local misuse.
        """
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError(f"expected a rate above 0 and a burst of at least 1, got {self}")


class SlowDown(ProblemError):
    """Too much at once; the same again passes after ``retry_after_seconds``."""

    def __init__(self, whose: str, retry_after_seconds: float) -> None:
        super().__init__("slow-down", f"more than {whose} may send at once; send it again after the time named")
        self.retry_after_seconds = min(retry_after_seconds, LONGEST_WAIT_SECONDS)


class Buckets:
    """Token buckets of one rate, by key.

    Args:
        rate: of each.
        most: how many are remembered.
    """

    def __init__(self, rate: Rate, most: int = 1) -> None:
        self._rate = rate
        self._most = most
        self._filled: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._filled)

    def take(self, key: Hashable, now: float, cost: float = 1.0) -> float:
        """Take ``cost`` out of a key's bucket; returns 0, or the seconds after which it can be taken.

        More than the bucket holds passes when it is full, and is owed from then on: nothing is refused for ever.

        Args:
            key: whose bucket.
            now: seconds by a monotonic clock.
            cost: at least 0.
        """
        level = self._level(key, now)
        needed = min(cost, self._rate.burst)
        if level < needed:
            self._keep(key, level, now)
            return (needed - level) / self._rate.per_second
        self._keep(key, level - cost, now)
        return 0.0

    def give(self, key: Hashable, now: float, cost: float = 1.0) -> None:
        """Put back what was taken for something that another limit then refused."""
        self._keep(key, min(self._rate.burst, self._level(key, now) + cost), now)

    def _level(self, key: Hashable, now: float) -> float:
        level, at = self._filled.get(key, (self._rate.burst, now))
        return min(self._rate.burst, level + max(0.0, now - at) * self._rate.per_second)

    def _keep(self, key: Hashable, level: float, now: float) -> None:
        at = max(now, self._filled.get(key, (0.0, now))[1])  # a clock that steps back fills no bucket twice
        self._filled[key] = (level, at)
        self._filled.move_to_end(key)
        while len(self._filled) > self._most:
            self._filled.popitem(last=False)
