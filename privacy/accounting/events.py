"""What happened, as frozen data. Accountants interpret it; nothing here computes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from privacy.accounting.errors import EventInvalid

MINIMUM_NOISE_MULTIPLIER = 1e-6
MAXIMUM_NOISE_MULTIPLIER = 1e6
MINIMUM_SAMPLING_RATE = 1e-9
MAXIMUM_COUNT = 2**53
MAXIMUM_BUCKETS = 2**20
MAXIMUM_STEPS = 2**20
"""Ranges inside which double precision holds: the squares of the multipliers and the counts are exact enough."""


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN too
        raise EventInvalid(f"expected {name} in [{low:g}, {high:g}], got {value!r}")


def _require_whole(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise EventInvalid(f"expected an integer {name}, got {type(value).__name__}")
    _require(name, value, low, high)


def _check(noise_multiplier: float, sampling_rate: float, count: int) -> None:
    _require("noise_multiplier", noise_multiplier, MINIMUM_NOISE_MULTIPLIER, MAXIMUM_NOISE_MULTIPLIER)
    _require("sampling_rate", sampling_rate, MINIMUM_SAMPLING_RATE, 1.0)
    _require_whole("count", count, 1, MAXIMUM_COUNT)


@dataclass(frozen=True, slots=True)
class SumEvent:
    """``count`` releases of a private sum under hidden Poisson sampling of devices.

    Unit: one device. Neighbours: zero-out (the device's data is replaced by none; it still reports, as null).
    The noise is that of *one* server, since each server's noise alone has to meet the figure.

    Attributes:
        noise_multiplier: one server's noise standard deviation over the sensitivity, in [1e-6, 1e6].
        sampling_rate: the probability of the device's own hidden coin, in (0, 1]; 1 means nothing is hidden.
        count: how many such releases, each with a coin and noise of its own.

    Raises:
        EventInvalid: a figure is outside its range. A sum without noise is not an event with an epsilon.
    """

    noise_multiplier: float
    sampling_rate: float
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.noise_multiplier, self.sampling_rate, self.count)


@dataclass(frozen=True, slots=True)
class LocalEvent:
    """``count`` steps of on-device DP-SGD, the local layer.

    Unit: one training row of the device. Neighbours: the row contributes nothing to any step and keeps its place among
    the rows (zero-out); a row that is missing and lets an older one in is a group of two. Holds if both servers
    collude; so the hidden sampling of *devices* is never credited, and ``sampling_rate`` is the local batch's alone.

    Attributes:
        noise_multiplier: noise standard deviation over the clipping norm of one row, in [1e-6, 1e6].
        sampling_rate: Poisson rate of a row in a local batch, in (0, 1].
        count: local steps, over all rounds and restarts that are to be counted.

    Raises:
        EventInvalid: a figure is outside its range. Local noise 0 has no event: its epsilon is null.
    """

    noise_multiplier: float
    sampling_rate: float = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.noise_multiplier, self.sampling_rate, self.count)


@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """``count`` answers by k-ary randomised response: the device randomises its answer before it is encoded.

    Unit: one device. Neighbours: zero-out; a device without an answer responds with a uniformly random bucket. Holds
    if both servers collude, whoever else answers.

    Attributes:
        noise: the probability of a uniformly random bucket (which may be the true one), in [1e-9, 1].
        buckets: k, 2 to 2^20.
        count: how many such answers.

    Raises:
        EventInvalid: a figure is outside its range.
    """

    noise: float
    buckets: int
    count: int = 1

    def __post_init__(self) -> None:
        _require("noise", self.noise, MINIMUM_SAMPLING_RATE, 1.0)
        _require_whole("buckets", self.buckets, 2, MAXIMUM_BUCKETS)
        _require_whole("count", self.count, 1, MAXIMUM_COUNT)


@dataclass(frozen=True, slots=True)
class TreeEvent:
    """``count`` whole DP-FTRL plans with binary-tree noise; each device takes part in at most one step of a plan.

    Unit: one device. Neighbours: zero-out. A plan is charged whole when it starts, with no refund and no amplification,
    because its noise is correlated across steps (Kairouz et al. 2021, "Practical and Private (Deep) Learning without
    Sampling or Shuffling").

    Attributes:
        noise_multiplier: one server's noise standard deviation of a tree node over the sensitivity, in [1e-6, 1e6].
        steps: the steps of a plan, 1 to 2^20.
        count: how many such plans.

    Raises:
        EventInvalid: a figure is outside its range.
    """

    noise_multiplier: float
    steps: int
    count: int = 1

    def __post_init__(self) -> None:
        _check(self.noise_multiplier, 1.0, self.count)
        _require_whole("steps", self.steps, 1, MAXIMUM_STEPS)


@dataclass(frozen=True, slots=True)
class CarriedEvent:
    """Spend whose releases are not in this ledger: before an erasure, a lost store or a changed contract.

    Attributes:
        lifetime: the lifetime odometer before this row in the filter's currency (nats), so that erasing rows does not
            reset it.
    """

    lifetime: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(0 <= figure < math.inf for figure in self.lifetime):
            raise EventInvalid(f"expected lifetime figures in [0, inf), got {self.lifetime!r}")


Event = SumEvent | LocalEvent | ResponseEvent | TreeEvent
