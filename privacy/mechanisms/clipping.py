"""Clipping to a Euclidean ball, rounding to the integer grid, and the exact norm of an integer vector."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms.errors import VectorInvalid

MAXIMUM_DIMENSION = 2**24
"""Largest vector, so that the error of a float64 norm (below) has a bound."""

_NORM_SLACK = 1.0 - 2.0**-28
# A float64 sum of d squares is off by at most d 2^-53 relatively, whatever its order (Higham 2002, section 3.1), so
# the norm by at most 2^-30 for d <= 2^24; scaling adds a few units of 2^-53. The slack is four times that.
_MAXIMUM_INT64 = 2**63 - 1


def clip(vector: NDArray[np.float64], norm: float) -> NDArray[np.float64]:
    """Scale a vector into the ball: ``v min(1, C (1 - 2^-28) / ||v||)``; the result's true norm is at most C.

    The slack of 2^-28 absorbs the rounding of the norm itself, so that the bound holds exactly and not "up to floats".

    Args:
        vector: float64[d], d at most 2^24, finite.
        norm: C, the clipping norm, positive and finite, in the vector's unit.

    Raises:
        VectorInvalid: NaN or infinities, a wrong shape or dtype, or a norm that is not positive and finite.
    """
    if not (math.isfinite(norm) and norm > 0.0):
        raise VectorInvalid(f"expected a positive finite clipping norm, got {norm!r}")
    _check_vector(vector)
    largest = float(np.max(np.abs(vector)))
    if largest == 0.0:
        return vector.copy()
    # Dividing by the largest entry first keeps the squares of huge or tiny entries from overflowing or vanishing.
    direction = vector / largest
    # Not np.dot: BLAS splits it over threads, which costs more than it saves and makes the last digit depend on them.
    length = math.sqrt(float(np.square(direction).sum()))
    limit = norm * _NORM_SLACK
    return vector.copy() if length * largest <= limit else direction * (limit / length)


def quantise(vector: NDArray[np.float64], scale: float) -> NDArray[np.int64]:
    """Round ``scale * v`` to the nearest integers (int64[d]); each entry moves by at most one half.

    Args:
        vector: float64[d], finite, with ``|scale * v|`` below 2^62 in every entry.
        scale: grid steps per unit, positive and finite.

    Raises:
        VectorInvalid: the result would not be finite or would not fit.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # refused below, with a typed error
        scaled = np.rint(vector * scale)
    if not bool(np.all(np.abs(scaled) < 2.0**62)):  # false for NaN too
        raise VectorInvalid("expected entries below 2^62 after scaling, got larger or non-finite ones")
    return scaled.astype(np.int64)


def squared_norm(values: NDArray[np.int64]) -> int:
    """The exact sum of squares of an integer vector, whatever its size (never wraps)."""
    if values.size == 0:
        return 0
    largest = max(int(values.max()), -int(values.min()))
    if largest * largest > _MAXIMUM_INT64:
        return sum(value * value for value in values.tolist())
    run = _MAXIMUM_INT64 // max(1, largest * largest)
    if run >= values.size:
        return int(np.dot(values, values))
    return sum(int(np.dot(part, part)) for part in (values[at : at + run] for at in range(0, values.size, run)))


def _check_vector(vector: NDArray[np.float64]) -> None:
    if vector.ndim != 1 or vector.dtype != np.float64:
        raise VectorInvalid(f"expected a float64 vector, got {vector.dtype} of shape {vector.shape}")
    if not 1 <= vector.size <= MAXIMUM_DIMENSION:
        raise VectorInvalid(f"expected 1 to {MAXIMUM_DIMENSION} entries, got {vector.size}")
    if not bool(np.isfinite(vector).all()):
        raise VectorInvalid("expected finite entries, got NaN or infinities")
