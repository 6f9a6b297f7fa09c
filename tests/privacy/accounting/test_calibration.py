"""Calibration: the answer meets its target, and the next better one does not."""

from __future__ import annotations

import pytest

from privacy.accounting import Contract, EventInvalid, NotAttainable, ResponseEvent, SumEvent, epsilon, rdp
from privacy.accounting.calibration import (
    LEAST_NOISE,
    calibrate,
    largest_count,
    largest_rate,
    smallest_noise,
    smallest_noise_for,
)
from privacy.accounting.contract import convert

PLANS = [
    (1.0, 1e-6, 0.01, 100, "rdp"),
    (0.3, 1e-6, 0.1, 10, "rdp"),
    (4.0, 1e-6, 1.0, 3, "rdp"),
    (1.0, 1e-5, 0.05, 20, "pld"),
]


@pytest.mark.parametrize(("target", "delta", "rate", "count", "method"), PLANS)
def test_the_noise_is_enough_and_barely(target, delta, rate, count, method):
    """Epsilon at the answer is at most the target; a hair less noise costs more than the target."""
    noise = smallest_noise(target, delta, sampling_rate=rate, count=count, method=method)
    assert epsilon([SumEvent(noise, rate, count)], delta, method) <= target
    assert epsilon([SumEvent(noise - 3e-5, rate, count)], delta, method) > target


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_the_count_is_the_last_that_fits(rate):
    """One release more would cost more than the target."""
    count = largest_count(1.0, 1e-6, noise_multiplier=3.0, sampling_rate=rate, method="rdp")
    assert count > 1
    assert epsilon([SumEvent(3.0, rate, count)], 1e-6, "rdp") <= 1.0
    assert epsilon([SumEvent(3.0, rate, count + 1)], 1e-6, "rdp") > 1.0


def test_the_rate_is_the_largest_that_fits():
    """A little more sampling would cost more; where any rate will do, the answer is 1."""
    rate = largest_rate(1.0, 1e-6, noise_multiplier=2.0, count=50, method="rdp")
    assert 0 < rate < 1
    assert epsilon([SumEvent(2.0, rate, 50)], 1e-6, "rdp") <= 1.0
    assert epsilon([SumEvent(2.0, rate + 5e-6, 50)], 1e-6, "rdp") > 1.0
    assert largest_rate(50.0, 1e-6, noise_multiplier=2.0, method="rdp") == 1.0


def test_a_filters_figure_calibrates_too():
    """Any figure can be searched: here one order's, which a contract then admits in full."""
    noise = smallest_noise_for(lambda z: convert(rdp(SumEvent(z, 0.1, 5), 9), 9, 1e-6), 2.0)
    Contract(2.0, 1e-6, 9)
    assert convert(rdp(SumEvent(noise, 0.1, 5), 9), 9, 1e-6) <= 2.0
    assert convert(rdp(SumEvent(noise - 3e-5, 0.1, 5), 9), 9, 1e-6) > 2.0


def test_a_response_calibrates_too():
    """The least noise of a local answer for epsilon 1: ``k / (k - 1 + e)`` for pure zero-out."""
    buckets = 4
    noise = calibrate(
        lambda p: epsilon([ResponseEvent(p, buckets)], 1e-12, "pld"), 1.0, private=1.0, revealing=0.01, tolerance=1e-6
    )
    largest = max((buckets - 2.718281828) / (buckets - 1), 1 / 2.718281828)
    assert noise == pytest.approx(largest, abs=2e-4)


def test_an_end_that_meets_the_target_is_the_answer():
    """Where even the least noise will do, no search is needed."""
    assert smallest_noise(1e6, 1e-6, method="rdp") == LEAST_NOISE


def test_what_cannot_be_met_is_refused_by_type():
    """No count of a release that costs too much, no noise for a figure that does not fall, no target of zero."""
    with pytest.raises(NotAttainable):
        largest_count(0.01, 1e-6, noise_multiplier=0.5, method="rdp")
    with pytest.raises(NotAttainable):
        smallest_noise_for(lambda _noise: 2.0, 1.0)
    with pytest.raises(EventInvalid):
        smallest_noise(0.0, 1e-6)


def test_a_whole_answer_is_the_last_one():
    """The whole number found is the last that fits, here where the library's search alone stops one short of it."""
    for each, target, last in ((2.7922515013356746, 367.1810724256412, 131), (0.37, 10.0, 27), (0.37, 9.99, 27)):
        found = calibrate(
            lambda n, each=each: each * round(n), target, private=1, revealing=499, tolerance=1.0, whole=True
        )
        assert found == last
        assert each * last <= target < each * (last + 1)
