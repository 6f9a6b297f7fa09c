"""The noise, rate or number of releases that a target epsilon affords, found by dp-accounting's calibration.

What is searched is any figure that this package states: a declared plan's (``epsilon``), a filter's
(``Contract.epsilon_of``), a group's (``group_epsilon``). So there is one definition of each, and a calibrated
parameter meets the very figure that will be shown. The answer is on the safe side: its epsilon is at most the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from privacy.accounting.accountants import Method, epsilon
from privacy.accounting.errors import EventInvalid, NotAttainable
from privacy.accounting.events import MAXIMUM_NOISE_MULTIPLIER, MINIMUM_SAMPLING_RATE, SumEvent

Figure = Callable[[float], float]
"""Epsilon of the plan that a parameter names; monotonic in it."""

LEAST_NOISE: Final = 0.05
"""Below it a release protects nothing, and a privacy loss distribution needs gigabytes to say so."""
NOISE_TOLERANCE: Final = 1e-5
RATE_TOLERANCE: Final = 1e-6
MOST_RELEASES: Final = 10_000_000


def calibrate(
    figure: Figure, target: float, *, private: float, revealing: float, tolerance: float, whole: bool = False
) -> float:
    """The parameter nearest ``revealing`` whose figure is at most the target (unit and neighbours: the figure's).

    Found by dp-accounting's ``calibrate_dp_mechanism`` (Brent's method, then a step to the safe side).

    Args:
        figure: epsilon by parameter, monotonic between the two ends.
        target: epsilon, above 0.
        private: the end with the smallest epsilon, such as a large noise multiplier.
        revealing: the end with the largest; returned if even it meets the target.
        tolerance: how far from the best parameter the answer may be, in its own unit.
        whole: the parameter is a whole number; the tolerance is then 1.

    Raises:
        NotAttainable: not even the private end meets the target.
    """
    if not target > 0:
        raise EventInvalid(f"expected a target epsilon above 0, got {target!r}")
    if figure(revealing) <= target:
        return revealing
    if figure(private) > target:
        raise NotAttainable(f"expected epsilon {target:g} at {private:g}, got {figure(private):.6g} at the best")
    from dp_accounting import mechanism_calibration

    ends = mechanism_calibration.ExplicitBracketInterval(*sorted((private, revealing)))
    make = cast("Any", _Reading(figure).fresh)  # it asks an accountant for no more than _Reading has
    found = mechanism_calibration.calibrate_dp_mechanism(
        make, lambda parameter: parameter, target, 0.0, ends, discrete=whole, tol=None if whole else tolerance
    )
    return _last_whole(figure, target, float(found), private) if whole else float(found)


def smallest_noise(
    target: float, delta: float, *, sampling_rate: float = 1.0, count: int = 1, method: Method = "pld"
) -> float:
    """The smallest noise multiplier of each server for ``count`` sums (device level, zero-out; a declared plan).

    Args:
        target: epsilon, above 0.
        delta: in (0, 1).
        sampling_rate: q, in (0, 1].
        count: releases.
        method: the accountant.

    Returns:
        z, at least 0.05, within 1e-5 of the smallest, epsilon at most the target.
    """

    def figure(noise: float) -> float:
        return epsilon([SumEvent(noise, sampling_rate, count)], delta, method)

    return smallest_noise_for(figure, target)


def smallest_noise_for(figure: Figure, target: float) -> float:
    """The smallest noise multiplier whose figure meets the target, in [0.05, 10^6], within 1e-5.

    The search doubles and halves from 1, so that a privacy loss distribution far from the target is never computed.

    Args:
        figure: epsilon by noise multiplier, falling.
        target: epsilon, above 0.

    Raises:
        NotAttainable: no noise is enough.
    """
    noise = 1.0
    while figure(noise) > target:
        if noise >= MAXIMUM_NOISE_MULTIPLIER:
            raise NotAttainable(f"expected a noise multiplier up to {noise:g} for epsilon {target:g}, found none")
        noise = min(2 * noise, MAXIMUM_NOISE_MULTIPLIER)
    if noise > 1:
        return calibrate(figure, target, private=noise, revealing=noise / 2, tolerance=NOISE_TOLERANCE)
    while noise > LEAST_NOISE and figure(noise / 2) <= target:
        noise /= 2
    revealing = max(LEAST_NOISE, noise / 2)
    return calibrate(figure, target, private=noise, revealing=revealing, tolerance=NOISE_TOLERANCE)


def largest_rate(
    target: float, delta: float, *, noise_multiplier: float, count: int = 1, method: Method = "pld"
) -> float:
    """The largest rate of the hidden coin for ``count`` sums (device level, zero-out; a declared plan), at most 1.

    Arguments as in ``smallest_noise``.

    Raises:
        NotAttainable: ``count`` releases cost too much at any rate.
    """
    return calibrate(
        lambda rate: epsilon([SumEvent(noise_multiplier, rate, count)], delta, method),
        target,
        private=MINIMUM_SAMPLING_RATE,
        revealing=1.0,
        tolerance=RATE_TOLERANCE,
    )


def largest_count(
    target: float, delta: float, *, noise_multiplier: float, sampling_rate: float = 1.0, method: Method = "pld"
) -> int:
    """The most sums that one target affords (device level, zero-out; a declared plan), at most ten million.

    Arguments as in ``smallest_noise``.

    Raises:
        NotAttainable: not even one.
    """

    def figure(count: float) -> float:
        return epsilon([SumEvent(noise_multiplier, sampling_rate, round(count))], delta, method)

    most = 1
    while most < MOST_RELEASES and figure(most) <= target:  # doubling keeps every distribution near the budget's size
        most = min(2 * most, MOST_RELEASES)
    return round(calibrate(figure, target, private=1, revealing=most, tolerance=1.0, whole=True))


def _last_whole(figure: Figure, target: float, found: float, private: float) -> float:
    """The best whole number: the search ends on the safe side, now and then one short of it."""
    step = -1 if private > found else 1
    while figure(found + step) <= target:
        found += step
    return found


class _Reading:
    """What dp-accounting's calibration asks of an accountant, answered by a figure of ours."""

    def __init__(self, figure: Figure) -> None:
        from dp_accounting import NoOpDpEvent

        self.ledger = NoOpDpEvent()
        self._figure = figure
        self._parameter: float | None = None

    def fresh(self) -> _Reading:
        """An accountant that has seen nothing."""
        return _Reading(self._figure)

    def compose(self, parameter: float) -> _Reading:
        """Take the parameter that stands for a plan."""
        self._parameter = parameter
        return self

    def get_epsilon(self, _delta: float) -> float:
        """The plan's figure, at the delta that it was made for."""
        assert self._parameter is not None, "composed first"
        return self._figure(self._parameter)
