"""A search for a vector that beats the sensitivity, and for one that loses more than rounding may cost.

Random vectors, vectors at the edge, an exact search over every integer vector in small dimensions, and climbing in
large ones; each search finds something as soon as the slack for rounding is taken away.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from privacy.mechanisms import squared_norm
from privacy.secure_sum import SumParameters, ValuesInvalid, decode, encode

MANY = settings(max_examples=200, deadline=None)


def parameters(dimension: int, sensitivity: int, norm: float = 1.0) -> SumParameters:
    multiplier = max(1.0, 1_000 / sensitivity)
    return SumParameters(dimension, norm, sensitivity, multiplier, maximum_cohort=1_000, minimum_cohort=2)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, SumParameters]:
    dimension = draw(st.integers(1, 40))
    sensitivity = draw(st.integers(math.isqrt(dimension - 1) + 1, 2**20))
    norm = draw(st.floats(1e-6, 1e6))
    vector = draw(hnp.arrays(np.float64, dimension, elements=st.floats(-1e12, 1e12)))
    return vector, parameters(dimension, sensitivity, norm)


@MANY
@given(cases())
def test_no_vector_beats_the_sensitivity(case: tuple[np.ndarray, SumParameters]) -> None:
    """After clipping and rounding the exact sum of squares is at most Delta^2."""
    vector, params = case
    assert squared_norm(encode(vector, params)) <= params.sensitivity**2


@MANY
@given(st.integers(1, 40), st.integers(0, 2**20), st.floats(0, 0.5))
def test_the_worst_direction_does_not_beat_it_either(dimension: int, whole: int, fraction: float) -> None:
    """Vectors whose every entry rounds up by up to one half, at the edge of the ball: where the slack is spent."""
    root = math.isqrt(dimension - 1) + 1
    sensitivity = root + whole
    params = parameters(dimension, sensitivity)
    edge = (sensitivity - math.sqrt(dimension) / 2) / math.sqrt(dimension)
    vector = np.full(dimension, (math.floor(edge) + 0.5 + fraction) / params.scale)
    assert squared_norm(encode(vector, params)) <= sensitivity**2


def test_the_slack_for_rounding_is_needed() -> None:
    """With s = Delta / C instead, a vector beats Delta: the search above can fail."""
    dimension, sensitivity = 4, 3
    params = parameters(dimension, sensitivity)
    object.__setattr__(params, "scale", float(sensitivity))
    with pytest.raises(ValuesInvalid, match="sensitivity"):
        encode(np.array([0.51, 0.51, 0.51, 0.0]), params)


@MANY
@given(cases())
def test_decoding_is_within_half_a_step(case: tuple[np.ndarray, SumParameters]) -> None:
    """A vector inside the ball comes back within 1 / 2s in every entry."""
    vector, params = case
    largest = float(np.abs(vector).max())
    direction = vector / largest if largest else vector
    inside = direction * (params.clip_norm * 0.9 / max(1.0, float(np.linalg.norm(direction))))
    assert np.abs(decode(encode(inside, params), params) - inside).max() <= 0.5 / params.scale * (1 + 1e-9)


def worst_integers(dimension: int, radius: float) -> tuple[int, list[int]]:
    """The largest sum of squares that rounding can make of a point in a ball, and the integers that have it.

    The exact answer, not a sample: an integer x > 0 is what x - 1/2 may round to, and nothing shorter does. So the
    adversary spends (x - 1/2)^2 of the squared radius to gain x^2; a table over the spending, in quarters, tries every
    combination.
    """
    budget = math.floor(4 * radius * radius)
    best: list[tuple[int, list[int]]] = [(0, [])] * (budget + 1)
    for _ in range(dimension):
        best = [
            max(
                (best[spent - (2 * x - 1) ** 2][0] + x * x, [*best[spent - (2 * x - 1) ** 2][1], x])
                if x
                else (best[spent][0], [*best[spent][1], 0])
                for x in range((math.isqrt(spent) + 1) // 2 + 1)
            )
            for spent in range(budget + 1)
        ]
    return best[-1]


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("sensitivity", [3, 4, 5, 7, 10])
def test_the_worst_integer_vector_is_within_the_sensitivity(dimension: int, sensitivity: int) -> None:
    """Of all integer vectors that a clipped one can round to, the longest; ``encode`` itself is led to it."""
    radius = sensitivity - math.sqrt(dimension) / 2
    squares, worst = worst_integers(dimension, radius)
    assert squares <= sensitivity**2
    params = parameters(dimension, sensitivity)
    reached = squared_norm(encode(np.array([x - 0.5 + 1e-9 if x else 0.0 for x in worst]) / params.scale, params))
    assert reached <= sensitivity**2
    on_the_sphere = sum((x - 0.5) ** 2 for x in worst if x) > radius**2 * (1 - 1e-6)
    assert on_the_sphere or reached == squares, "a point inside the ball is not clipped: it rounds to the worst"


def test_the_worst_vector_is_what_the_slack_is_for() -> None:
    """With s = Delta / C the same search finds integer vectors beyond Delta in every dimension above one."""
    beyond = {
        (d, sensitivity): worst_integers(d, sensitivity)[0] - sensitivity**2
        for d in (2, 4, 9)
        for sensitivity in (4, 7)
    }
    assert all(excess > 0 for excess in beyond.values()), beyond


@pytest.mark.parametrize("dimension", [2, 8, 40, 300])
def test_climbing_finds_no_way_past_the_sensitivity(dimension: int) -> None:
    """Directions climb towards longer encodings, from the most promising starts, and stay within Delta."""
    random = np.random.default_rng(dimension)
    params = parameters(dimension, 4 * (math.isqrt(dimension) + 1))
    best = np.ones(dimension)
    score = squared_norm(encode(best, params))
    for step in range(400):
        move = random.normal(size=dimension) * (random.random(dimension) < 3 / dimension) * 0.5 ** (step % 8)
        trial = best + move
        if np.any(trial) and (found := squared_norm(encode(trial * 1e3, params))) >= score:
            best, score = trial, found
    assert (params.sensitivity - math.sqrt(dimension)) ** 2 < score <= params.sensitivity**2


# How accurate the noiseless mean is, at s >= 2^19 / C


def fine(dimension: int, norm: float) -> SumParameters:
    """The coarsest grid that has s >= 2^19 / C."""
    params = parameters(dimension, 2**19 + math.ceil(math.sqrt(dimension) / 2), norm)
    assert params.scale >= 2**19 / norm
    return params


def rms(values: np.ndarray) -> float:
    return math.sqrt(float(np.mean(values**2)))


@pytest.mark.parametrize("devices", [1, 2, 50])
def test_the_noiseless_mean_is_as_accurate_as_promised(devices: int) -> None:
    """The mean of vectors, any number of them, has an RMS error of at most 1e-6 C."""
    dimension, norm = 500, 3.0
    params = fine(dimension, norm)
    random = np.random.default_rng(5)
    vectors = random.normal(size=(devices, dimension))
    vectors *= norm * random.uniform(0, 0.999, size=(devices, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    total = np.sum([encode(vector, params) for vector in vectors], axis=0)
    assert rms(decode(total, params) / devices - vectors.mean(axis=0)) <= 1e-6 * norm


@pytest.mark.parametrize("devices", [1, 7, 300])
def test_not_even_vectors_made_to_round_badly_are_further_off(devices: int) -> None:
    """Every entry of every device half a step off, all the same way: 1 / 2s is still below 1e-6 C."""
    params = fine(64, 2.0)
    vector = np.full(64, (1_000 + 0.4999) / params.scale)
    total = np.sum([encode(vector, params)] * devices, axis=0)
    error = rms(decode(total, params) / devices - vector)
    assert 0.49 / params.scale < error <= 1e-6 * params.clip_norm


@MANY
@given(st.integers(2, 60), st.floats(0, 6), st.integers(0, 2**32 - 1))
def test_a_weighted_mean_is_as_accurate_for_any_weights(devices: int, skew: float, seed: int) -> None:
    """Weights travel inside the vector, at most 1 and as uneven as you like; together they are at least sqrt(n).

    The error of sum(w x) is sqrt(n / 12) / s an entry, that of sum(w) as much again times the mean, at most C; divided
    by sum(w) >= sqrt(n) that is at most sqrt(2 / 12) / s = 7.8e-7 C. (No sum is accurate relative to weights that are
    almost all zero: their own rounding is as large as they are.)
    """
    random, dimension, norm = np.random.default_rng(seed), 400, 5.0
    weights = np.sort(random.random(devices) ** (1 + skew))
    weights[-(math.isqrt(devices - 1) + 1) :] = 1.0
    vectors = random.normal(size=(devices, dimension))
    vectors *= norm / np.linalg.norm(vectors, axis=1, keepdims=True)
    params = fine(dimension + 1, norm * math.sqrt(2))  # the weight, scaled to the vector's unit, beside it
    sent = np.hstack([weights[:, None] * vectors, norm * weights[:, None]])
    total = decode(np.sum([encode(vector * (1 - 2**-20), params) for vector in sent], axis=0), params)
    mean = total[:-1] / (total[-1] / norm)
    assert weights.sum() >= math.sqrt(devices)
    assert rms(mean - weights @ vectors / weights.sum()) <= 1e-6 * params.clip_norm
