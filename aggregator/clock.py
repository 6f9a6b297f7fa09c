"""Time and randomness as arguments: a service reads no other clock or generator than the ones it was given."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

Entropy = Callable[[int], bytes]
"""So many secret random bytes."""
OS_ENTROPY: Entropy = os.urandom


@dataclass(frozen=True)
class Clock:
    """Wall time and monotonic time, in seconds.

    Attributes:
        wall: Unix seconds.
        monotonic: a clock that never runs backwards within one ``boot``.
        boot: names the run in which ``monotonic`` is one count.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boot: str = field(default_factory=lambda: uuid.uuid4().hex)

    def now_seconds(self) -> int:
        """Unix time in whole seconds."""
        return int(self.wall())

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return int(self.wall() * 1_000)
