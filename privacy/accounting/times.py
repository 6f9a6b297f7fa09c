"""The two clocks of a rolling window, as arguments.

Neither clock is trusted alone. The *signed* time comes from the helper (round openings, answers): the device's owner
cannot turn it, a lying helper can. The *monotonic* time is counted by the machine: a lying helper cannot turn it,
whoever sets the machine's clock may. Budget is freed only when both agree that the window is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from privacy.accounting.errors import ChargeInvalid

_MAXIMUM_SECONDS = 2**53


@dataclass(frozen=True, slots=True)
class Times:
    """One moment, read from both clocks.

    Attributes:
        signed_seconds: the latest helper-signed Unix time, whole seconds in [0, 2^53).
        monotonic_seconds: seconds counted by this installation, in [0, 2^53). Operating-system clocks start anew at a
            reboot; ``Elapsed`` carries the count over. A clock that starts anew by itself frees nothing until it has
            caught up.

    Raises:
        ChargeInvalid: a figure is outside its range.
    """

    signed_seconds: int
    monotonic_seconds: float

    def __post_init__(self) -> None:
        if type(self.signed_seconds) is not int or not 0 <= self.signed_seconds < _MAXIMUM_SECONDS:
            raise ChargeInvalid(f"expected whole signed_seconds in [0, 2^53), got {self.signed_seconds!r}")
        if not 0 <= self.monotonic_seconds < _MAXIMUM_SECONDS:  # false for NaN too
            raise ChargeInvalid(f"expected monotonic_seconds in [0, 2^53), got {self.monotonic_seconds!r}")

    def latest(self, other: Times) -> Times:
        """The later reading of each clock."""
        signed_behind = self.signed_seconds < other.signed_seconds
        monotonic_behind = self.monotonic_seconds < other.monotonic_seconds
        if not signed_behind and not monotonic_behind:
            return self
        if self.signed_seconds <= other.signed_seconds and self.monotonic_seconds <= other.monotonic_seconds:
            return other
        return Times(
            other.signed_seconds if signed_behind else self.signed_seconds,
            other.monotonic_seconds if monotonic_behind else self.monotonic_seconds,
        )

    def past(self, stamp: Times, window_seconds: int) -> bool:
        """Whether *both* clocks have moved on by the window since the stamp."""
        return (
            self.signed_seconds - stamp.signed_seconds >= window_seconds
            and self.monotonic_seconds - stamp.monotonic_seconds >= window_seconds
        )


@dataclass(frozen=True, slots=True)
class Elapsed:
    """A monotonic count that survives restarts: kept by the shell beside the ledger, advanced with each reading.

    Only forward steps within one boot count, so the count is never more than the time that passed. Time while the
    machine was off is not counted: a charge may then count longer than the window, never shorter.

    Attributes:
        total_seconds: the count, what goes into ``Times.monotonic_seconds``.
        boot: identifies the running boot (or process), in which the operating system's clock is one count.
        reading_seconds: the operating system's clock at the last advance: its highest within this boot.
    """

    total_seconds: float
    boot: str
    reading_seconds: float

    def advance(self, boot: str, reading_seconds: float) -> Elapsed:
        """The count after a new reading of the operating system's monotonic clock. Run by the shell that keeps it."""
        if not math.isfinite(reading_seconds):
            raise ChargeInvalid(f"expected a finite clock reading, got {reading_seconds!r}")
        if boot != self.boot:
            return replace(self, boot=boot, reading_seconds=reading_seconds)
        step = max(0.0, reading_seconds - self.reading_seconds)
        # The highest reading stays: a clock that swings back and forth must not be counted twice.
        return replace(self, total_seconds=self.total_seconds + step, reading_seconds=self.reading_seconds + step)
