"""Intervals of noisy counts, shares and ratios: closed forms at the corners, and the safe side on doubt."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.queries.errors import QuestionInvalid
from models.queries.intervals import (
    CONTINUITY,
    Interval,
    NoisyPair,
    count_interval,
    critical,
    ratio_interval,
    share_interval,
)


def test_one_statement_has_the_usual_deviations_and_more_statements_more():
    """1.96 for one at 95 %; the Bonferroni quantile for several together."""
    assert critical() == pytest.approx(1.959964, abs=1e-6)
    assert critical(0.95, 5) == pytest.approx(NormalDist().inv_cdf(0.995))
    for bad in ((0.0, 1), (1.0, 1), (0.95, 0)):
        with pytest.raises(QuestionInvalid):
            critical(*bad)


def test_without_noise_and_coins_only_the_continuity_correction_is_left():
    """Every device answered and no server added noise: the share is known to half a device."""
    found = share_interval(NoisyPair(30, 100, 0.0, 0.0), sampling_rate=1.0, deviations=1.96)
    assert (found.low, found.high) == (pytest.approx(0.295), pytest.approx(0.305))
    count = count_interval(30, 0.0, sampling_rate=1.0, deviations=1.96)
    assert (count.low, count.high) == (pytest.approx(29.5), pytest.approx(30.5))


def test_people_like_them_give_wilsons_interval_with_continuity():
    """Without noise and for people like those who reported, the ends are Wilson's with half a person conceded."""
    n, yes, c = 80, 20, 1.96
    found = share_interval(NoisyPair(yes, n, 0.0, 0.0), sampling_rate=1.0, deviations=c, people_like_them=True)
    for end, moved in ((found.low, yes - CONTINUITY), (found.high, yes + CONTINUITY)):
        assert abs(moved / n - end) == pytest.approx(c * math.sqrt(end * (1 - end) / n))


def test_repeating_a_question_to_the_same_people_does_not_tell_of_more_people():
    """Ten rounds with all coins heads are ten times the same answers: the interval for people like them stays."""
    once = NoisyPair(20, 80, 0.0, 0.0)
    ten = NoisyPair(200, 800, 0.0, 0.0)
    options = {"sampling_rate": 1.0, "deviations": 1.96, "people_like_them": True}
    one, more = share_interval(once, **options), share_interval(ten, rounds=10, **options)
    assert more.half_width == pytest.approx(one.half_width, rel=0.06)


def test_a_count_behind_coins_is_the_score_interval():
    """|S - q T| = 1/2 + c sqrt(v + q (1 - q) T) at both ends."""
    found = count_interval(50, 36.0, sampling_rate=0.5, deviations=2.0)
    for end in (found.low, found.high):
        assert abs(50 - 0.5 * end) == pytest.approx(0.5 + 2 * math.sqrt(36 + 0.25 * end))
    assert found.holds(100)


def test_a_count_below_zero_is_none_at_all_or_a_few():
    """Noise may push a count below zero; people cannot be fewer than none."""
    found = count_interval(-40, 100.0, sampling_rate=1.0, deviations=2.0)
    assert (found.low, found.high) == (0.0, pytest.approx(20.5))


def test_fieller_without_noise_in_the_divisor_is_the_plain_interval():
    """A known divisor leaves the normal interval of the part, divided."""
    found = ratio_interval(NoisyPair(30, 10, 4.0, 0.0), deviations=2.0)
    assert (found.low, found.high) == (pytest.approx(2.6), pytest.approx(3.4))


def test_fieller_is_wider_on_the_far_side():
    """A noisy divisor bends the interval away from zero, as no symmetric one does."""
    found = ratio_interval(NoisyPair(30, 10, 4.0, 4.0), deviations=1.96)
    assert found.high - 3 > 3 - found.low > 0
    for end in (found.low, found.high):
        assert (30 - end * 10) ** 2 == pytest.approx(1.96**2 * (4 + end**2 * 4))


@pytest.mark.parametrize("whole", [-5.0, 0.0, 5.0, 19.0])
def test_a_divisor_lost_in_noise_says_nothing(whole):
    """Two deviations from zero: no end is known. A wrong interval would be worse."""
    pair = NoisyPair(10.0, whole, 100.0, 100.0)
    assert ratio_interval(pair, deviations=2.0) == Interval(-math.inf, math.inf, told=False)
    assert share_interval(pair, sampling_rate=0.5, deviations=2.0) == Interval(0.0, 1.0, told=False)


def test_a_number_of_people_that_noise_made_negative_says_nothing():
    """A divisor may be far below zero; a number of people may not, so nothing is read from one."""
    pair = NoisyPair(10.0, -40.0, 100.0, 100.0)
    assert share_interval(pair, sampling_rate=0.5, deviations=2.0) == Interval(0.0, 1.0, told=False)
    assert ratio_interval(pair, deviations=2.0).told


@settings(max_examples=200)
@given(
    part=st.floats(-500, 3_000),
    whole=st.floats(1, 2_000),
    variance=st.floats(0.0, 400),
    correlation=st.floats(-1, 1),
    rate=st.floats(0.01, 1),
    deviations=st.floats(1, 4),
)
def test_a_share_is_a_share_and_more_confidence_is_never_narrower(part, whole, variance, correlation, rate, deviations):
    """In [0, 1], with the estimate inside; more deviations, more noise and fewer heads only widen."""
    pair = NoisyPair(part, whole, variance, variance, correlation * variance)
    found = share_interval(pair, sampling_rate=rate, deviations=deviations)
    assert 0 <= found.low <= found.high <= 1
    estimate = min(max(part / whole, 0.0), 1.0)
    assert found.low - 1e-9 <= estimate <= found.high + 1e-9
    wider = share_interval(pair, sampling_rate=rate, deviations=deviations + 0.5)
    fewer = share_interval(pair, sampling_rate=rate / 2, deviations=deviations)
    for other in (wider, fewer):
        assert other.low <= found.low + 1e-6
        assert other.high >= found.high - 1e-6


def test_impossible_noises_are_refused():
    """No negative variance, no covariance beyond what two variances allow."""
    for bad in ((-1.0, 1.0, 0.0), (1.0, 1.0, 1.5)):
        with pytest.raises(QuestionInvalid):
            NoisyPair(1.0, 2.0, *bad)
