"""The moving clipping norm: the joint sensitivity by search, the update's bounds, and tracking over the real sum."""

import hashlib
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from privacy.mechanisms import (
    ClippingPlan,
    ClippingState,
    QuantileInvalid,
    RandomStream,
    VectorInvalid,
    advance,
    attach,
    detach,
    discrete_gaussian,
    share_deviation,
    squared_norm,
)
from privacy.secure_sum import SumContext, SumParameters, encode, exchange

CONTEXT = SumContext(b"s" * 32, 0, b"m" * 32, b"l" * 32, b"h" * 32, b"p" * 32)
PLAN = ClippingPlan(quantile=0.5, weight=0.3, learning_rate=1.0, minimum_norm=1e-3, maximum_norm=1e4)
VECTORS = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e12, 1e12))
PLANS = st.builds(
    ClippingPlan, quantile=st.floats(0.01, 0.99), weight=st.floats(0.01, 0.99), learning_rate=st.floats(0.01, 4.0)
)


def stream(*label: object) -> RandomStream:
    """A seeded stream of its own for each use."""
    return RandomStream(hashlib.sha256(repr(label).encode()).digest())


def sum_parameters(dimension: int, cohort: int) -> SumParameters:
    """A sum of unit-norm vectors, as every study with a moving norm declares it."""
    return SumParameters(dimension, 1.0, 2**20, 1.0, maximum_cohort=cohort, minimum_cohort=2)


@given(VECTORS, PLANS, st.floats(1e-6, 1e6))
def test_no_vector_and_no_norm_beats_the_joint_sensitivity(vector: np.ndarray, plan: ClippingPlan, norm: float) -> None:
    """Vector and indicator together have norm at most 1 in rationals (a float's last digits apart), whatever C is."""
    sent = attach(vector, norm, plan)
    assert sum(Fraction(entry) ** 2 for entry in sent.tolist()) <= 1 + Fraction(1, 10**12)


@given(VECTORS, PLANS, st.floats(1e-6, 1e6))
def test_the_integers_that_are_summed_are_within_the_sensitivity_exactly(
    vector: np.ndarray, plan: ClippingPlan, norm: float
) -> None:
    """After the sum's own encoding the exact sum of squares is at most Delta^2."""
    params = sum_parameters(vector.size + 1, 10)
    assert squared_norm(encode(attach(vector, norm, plan), params)) <= params.sensitivity**2


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_the_bound_is_reached_where_the_indicator_is_largest(length: float) -> None:
    """At gamma 1/2 a vector at or beyond C has norm 1: nothing is wasted; a weight outside the clip would exceed it."""
    direction = np.array([0.6, 0.8])
    sent = attach(direction * length, 0.5, PLAN)
    assert np.linalg.norm(sent) == pytest.approx(1.0, abs=1e-8)
    outside = np.append(direction, sent[-1])
    assert np.linalg.norm(outside) > 1.04


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_indicator_says_whether_the_vector_was_clipped(quantile: float) -> None:
    """Inside it is w (1 - gamma) / m, outside - w gamma / m; the vector is scaled by 1 / C and its share."""
    plan = replace(PLAN, quantile=quantile)
    most = max(quantile, 1 - quantile)
    short, long = attach(np.array([0.5]), 1.0, plan), attach(np.array([3.0]), 1.0, plan)
    assert short == pytest.approx([0.5 * math.sqrt(0.91), 0.3 * (1 - quantile) / most])
    assert long == pytest.approx([math.sqrt(0.91), -0.3 * quantile / most])


@given(VECTORS, PLANS, st.floats(1e-3, 1e3))
def test_one_device_is_read_back(vector: np.ndarray, plan: ClippingPlan, norm: float) -> None:
    """Detaching what one device attached gives its clipped vector in its own unit and its indicator as the share."""
    found = detach(attach(vector, norm, plan), norm, plan, 1.0)
    length = float(np.linalg.norm(vector))
    scale = min(1.0, norm / length) if length else 1.0
    np.testing.assert_allclose(found.total, vector * scale, rtol=1e-7, atol=1e-12)
    assert found.share == pytest.approx(float(length <= norm * (1 - 2.0**-28)), abs=1e-9)


def track(plan: ClippingPlan, start: float, norms: np.ndarray, nulls: int, rounds: int, count: float) -> list[float]:
    """Norms over rounds of the real exchange: everyone masks and seals, nulls stay zero, both servers add noise."""
    directions = np.random.default_rng(3).normal(size=(norms.size, 4))
    vectors = directions / np.linalg.norm(directions, axis=1, keepdims=True) * norms[:, None]
    params = sum_parameters(5, norms.size + nulls)
    state, seen = ClippingState(start), []
    for index in range(rounds):
        sent = [*(attach(vector, state.norm, plan) for vector in vectors), *(None for _ in range(nulls))]
        release = exchange(
            sent,
            params,
            replace(CONTEXT, round=index),
            devices=stream(index, "devices"),
            helper=stream(index, "helper"),
            leader=stream(index, "leader"),
            now=1_000_000,
        )
        state = advance(state, detach(release.values, state.norm, plan, count).share, plan)
        seen.append(state.norm)
    assert state.rounds == rounds
    return seen


def lognormal(count: int) -> np.ndarray:
    """Norms of devices at the quantiles of a log-normal with median 2 and deviation .5 of its logarithm."""
    return 2.0 * np.exp(0.5 * stats.norm.ppf((np.arange(count) + 0.5) / count))


def band(plan: ClippingPlan, target: float, count: float, dilution: float = 1.0) -> float:
    """Six of the deviations that the module's docstring states for ln C, and one device's worth of the quantile."""
    slope = stats.norm.pdf(stats.norm.ppf(plan.quantile)) / 0.5 * dilution
    noise = share_deviation(plan, math.sqrt(2.0), count)
    rate = plan.learning_rate
    return 6 * math.sqrt(rate * noise**2 / (slope * (2 - rate * slope))) + 1 / (slope * target)


@pytest.mark.parametrize("start", [0.02, 200.0])
def test_the_norm_finds_the_median_from_a_hundred_times_too_low_or_high(start: float) -> None:
    """After 18 rounds it stays within the stated band, with 30 nulls among 150 devices and both servers' noise."""
    seen = track(PLAN, start, lognormal(120), nulls=30, rounds=26, count=120)
    within = band(PLAN, 120, 120)
    assert within < 0.2
    assert all(abs(math.log(norm / 2.0)) < within for norm in seen[18:])
    assert abs(math.log(start / 2.0)) > 4.6


def test_the_quantile_is_right_though_the_count_is_twice_too_high() -> None:
    """With half of the devices null and the count not knowing it, the norm settles at the .8 quantile of the others."""
    plan = replace(PLAN, quantile=0.8)
    seen = track(plan, 2.0, lognormal(100), nulls=100, rounds=24, count=200)
    target = 2.0 * math.exp(0.5 * stats.norm.ppf(0.8))
    within = band(plan, 100, 200, dilution=0.5)
    assert within < 0.45
    assert all(abs(math.log(norm / target)) < within for norm in seen[14:])
    # The indicator b - 1/2 would settle where 1/2 + (share - 1/2) / 2 is .8: nowhere, so at the upper bound.
    assert seen[-1] < 10.0


def test_the_share_is_as_uncertain_as_stated() -> None:
    """Over 2,000 draws of both servers' noise the share's deviation is the stated one within five percent."""
    params, count = sum_parameters(2, 100), 100
    noise = sum(discrete_gaussian(params.noise_sigma, 2_000, stream("share", server)) for server in (0, 1))
    shares = [detach(np.array([0.0, entry / params.scale]), 1.0, PLAN, count).share for entry in noise.tolist()]
    assert np.std(shares) == pytest.approx(share_deviation(PLAN, math.sqrt(2.0), count), rel=0.05)
    assert np.mean(shares) == pytest.approx(
        0.5, abs=5 * share_deviation(PLAN, math.sqrt(2.0), count) / math.sqrt(2_000)
    )


@given(PLANS, st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60))
def test_no_noise_runs_the_norm_out_of_its_bounds(plan: ClippingPlan, shares: list[float]) -> None:
    """Whatever is released, a step is at most exp(eta m) and the norm stays within the plan's bounds."""
    state = ClippingState(1.0)
    for share in shares:
        after = advance(state, share, plan)
        assert plan.minimum_norm <= after.norm <= plan.maximum_norm
        assert abs(math.log(after.norm / state.norm)) <= plan.learning_rate * plan.largest_excess + 1e-9
        state = after


def test_at_the_quantile_nothing_moves_and_beyond_it_the_norm_falls() -> None:
    """A share of gamma keeps the norm; more devices within it lower it, fewer raise it, by the stated factor."""
    state = ClippingState(2.0)
    assert advance(state, 0.5, PLAN) == ClippingState(2.0, 1)
    assert advance(state, 0.75, PLAN).norm == pytest.approx(2.0 * math.exp(-0.25))
    assert advance(state, 0.25, PLAN).norm == pytest.approx(2.0 * math.exp(0.25))


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan"), float("inf"), 1e-9, 1e9])
def test_a_norm_of_zero_or_nan_or_out_of_bounds_is_refused(norm: float) -> None:
    """Neither device nor leader works with a norm that is not within the plan's bounds."""
    with pytest.raises(QuantileInvalid, match="norm"):
        attach(np.array([1.0]), norm, PLAN)
    with pytest.raises(QuantileInvalid, match="norm"):
        detach(np.array([1.0, 0.0]), norm, PLAN, 10)
    with pytest.raises(QuantileInvalid, match="norm"):
        advance(ClippingState(norm), 0.5, PLAN)


@pytest.mark.parametrize(
    "figures",
    [
        {"quantile": 0.0},
        {"quantile": 1.0},
        {"quantile": float("nan")},
        {"weight": 0.0},
        {"weight": 1.0},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"minimum_norm": 0.0},
        {"minimum_norm": 2.0, "maximum_norm": 1.0},
        {"maximum_norm": float("inf")},
        {"maximum_norm": float("nan")},
    ],
    ids=str,
)
def test_a_plan_out_of_range_is_refused(figures: dict[str, float]) -> None:
    """Every figure of a plan has its range; NaN is in none."""
    with pytest.raises(QuantileInvalid, match="expected"):
        ClippingPlan(**figures)


def test_what_cannot_be_clipped_or_read_is_refused() -> None:
    """NaN in a vector, in a sum or as a share, and a count of zero, raise typed errors."""
    with pytest.raises(VectorInvalid):
        attach(np.array([np.nan]), 1.0, PLAN)
    for total, count in (
        (np.array([np.nan, 0.0]), 1.0),
        (np.array([1.0]), 1.0),
        (np.zeros(2), 0.0),
        (np.zeros(2), np.nan),
    ):
        with pytest.raises(QuantileInvalid, match="expected"):
            detach(total, 1.0, PLAN, count)
    with pytest.raises(QuantileInvalid, match="share"):
        advance(ClippingState(1.0), float("nan"), PLAN)
    with pytest.raises(QuantileInvalid, match="deviation"):
        share_deviation(PLAN, -1.0, 10)
    with pytest.raises(QuantileInvalid, match="rounds"):
        ClippingState(1.0, -1)


@pytest.mark.parametrize(("share", "bound"), [(1e300, PLAN.minimum_norm), (-1e300, PLAN.maximum_norm)])
def test_noise_that_points_one_way_for_ever_ends_at_a_bound(share: float, bound: float) -> None:
    """A hundred rounds of absurd shares leave the norm at the plan's bound, where the next round can still use it."""
    state = ClippingState(1.0)
    for _ in range(100):
        state = advance(state, share, PLAN)
    assert state == ClippingState(bound, 100)
    assert np.isfinite(attach(np.array([1.0]), state.norm, PLAN)).all()
