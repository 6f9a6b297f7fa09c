"""Clipping holds exactly, rounding is to nearest, integer norms do not wrap."""

import math
from fractions import Fraction

import numpy as np
import pytest

from privacy.mechanisms import VectorInvalid, clip, quantise, squared_norm


def true_squared_norm(vector: np.ndarray) -> Fraction:
    return sum((Fraction(entry) ** 2 for entry in vector.tolist()), Fraction())


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("magnitude", [1e-300, 1.0, 1e200])
def test_a_clipped_vector_is_inside_the_ball_in_rational_arithmetic(size: int, magnitude: float) -> None:
    """The true norm of the result, without floats, is at most C, for huge and tiny entries too."""
    vector = np.random.default_rng(size).normal(size=size) * magnitude
    assert true_squared_norm(clip(vector, 0.37)) <= Fraction(0.37) ** 2


def test_a_long_vector_keeps_its_direction_and_reaches_the_norm() -> None:
    """Clipping scales: the result is parallel and within 1e-8 of the sphere."""
    clipped = clip(np.array([3e5, 4e5]), 1.0)
    assert clipped == pytest.approx([0.6, 0.8], rel=1e-8)
    assert math.hypot(*clipped) > 1 - 1e-8


def test_a_short_vector_is_untouched_and_not_aliased() -> None:
    """Inside the ball nothing changes, and the caller's array is not handed back."""
    vector = np.array([0.1, -0.2, 0.0])
    clipped = clip(vector, 1.0)
    assert clipped.tolist() == vector.tolist()
    assert clipped is not vector
    assert clip(np.zeros(3), 1.0).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("vector", "norm"),
    [
        (np.array([1.0, np.nan]), 1.0),
        (np.array([np.inf]), 1.0),
        (np.array([[1.0]]), 1.0),
        (np.array([1], dtype=np.int64), 1.0),
        (np.array([]), 1.0),
        (np.array([1.0]), 0.0),
        (np.array([1.0]), -1.0),
        (np.array([1.0]), float("nan")),
        (np.array([1.0]), float("inf")),
    ],
)
def test_what_cannot_be_clipped_is_refused(vector: np.ndarray, norm: float) -> None:
    """NaN, infinities, other shapes and dtypes, and a norm of zero raise the typed error."""
    with pytest.raises(VectorInvalid):
        clip(vector, norm)


def test_rounding_is_to_nearest() -> None:
    """Every entry moves by at most one half."""
    assert quantise(np.array([0.49, -0.51, 1.2]), 1.0).tolist() == [0, -1, 1]


@pytest.mark.parametrize("entry", [np.nan, np.inf, 1e300])
def test_what_does_not_fit_an_integer_is_refused(entry: float) -> None:
    """No silent wrap when scaling."""
    with pytest.raises(VectorInvalid):
        quantise(np.array([entry]), 1e10)


@pytest.mark.parametrize(
    "values",
    [[], [3, -4], [2**31] * 5, [-(2**63)], [2**40, -(2**40), 7], [3_037_000_499] * 3],
)
def test_integer_norms_do_not_wrap(values: list[int]) -> None:
    """The sum of squares equals Python's, beyond 64 bits too."""
    assert squared_norm(np.array(values, dtype=np.int64)) == sum(value * value for value in values)
