"""A search for a vector that beats the sensitivity, and for one that loses more than rounding may cost."""

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


def test_the_noiseless_mean_is_as_accurate_as_promised() -> None:
    """At s >= 2^19 / C the mean of 50 vectors has RMS error of at most 1e-6 C."""
    dimension, norm = 500, 3.0
    params = parameters(dimension, 2**19 + math.ceil(math.sqrt(dimension) / 2), norm)
    assert params.scale >= 2**19 / norm
    random = np.random.default_rng(5)
    vectors = random.normal(size=(50, dimension))
    vectors *= norm * random.uniform(0, 0.999, size=(50, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    total = np.sum([encode(vector, params) for vector in vectors], axis=0)
    error = decode(total, params) / 50 - vectors.mean(axis=0)
    assert math.sqrt(float(np.mean(error**2))) <= 1e-6 * norm
