"""A mean whose divisor is private too.

Dividing a noisy sum by the exact number of contributors would release that number without noise. Here each device adds
``(x, w)``: its vector and a count coordinate of weight ``w``, both inside one private sum, so that the divisor is a
released noisy count like everything else. DESIGN, section 5: "Means divide by q N or by a released noisy count".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.queries.errors import NothingToReport, QuestionInvalid, ShapeMismatch

Vector = NDArray[np.float64]


def balanced_count_weight(size: int) -> float:
    """Weight of the count coordinate that balances the noise of sum and count: ``size ** -1/4``.

    A device of norm 1 with a count of weight w needs clipping norm ``sqrt(1 + w^2)``. The error of the mean m has
    variance proportional to ``(1 + w^2) (size + |m|^2 / w^2)``; with ``|m| = 1`` this is least at ``w^4 = 1 / size``.

    Args:
        size: coordinates of the vector that is averaged, at least 1.
    """
    if size < 1:
        raise QuestionInvalid(f"expected at least one coordinate, got {size}")
    return math.pow(size, -0.25)


def bounded(vector: Vector, norm: float = 1.0) -> Vector:
    """Scale a finite vector down to at most ``norm`` in L2; a shorter one is returned unchanged (device)."""
    if not np.isfinite(vector).all():
        raise NothingToReport("expected finite values, got NaN or infinity")
    length = float(np.linalg.norm(vector))
    return vector if length <= norm else vector * (norm / length)


@dataclass(frozen=True)
class MeanQuestion:
    """The mean over contributing devices of a vector of norm at most ``bound``.

    Attributes:
        size: coordinates of the vector, at least 1.
        bound: L2 bound of one device's vector; longer ones are scaled down to it.
        count_weight: weight of the count coordinate relative to ``bound``.
    """

    size: int
    bound: float
    count_weight: float

    def __post_init__(self) -> None:
        if self.size < 1 or not self.bound > 0 or not self.count_weight > 0:
            raise QuestionInvalid("expected size >= 1, bound > 0 and count_weight > 0")

    @property
    def dimension(self) -> int:
        """Length of the device's vector: the coordinates and one count."""
        return self.size + 1

    @property
    def clip_norm(self) -> float:
        """L2 bound of what one device adds: ``bound sqrt(1 + w^2)``."""
        return self.bound * math.sqrt(1.0 + self.count_weight**2)


@dataclass(frozen=True)
class NoisyMean:
    """A released mean and the released noisy count that it was divided by."""

    mean: Vector
    count: float


def encode(question: MeanQuestion, vector: Vector) -> Vector:
    """The device's contribution ``(x, w bound)``, float64[size + 1], of norm at most ``question.clip_norm`` (device).

    Raises:
        ShapeMismatch: the vector has another length.
        NothingToReport: it is not finite.
    """
    if vector.shape != (question.size,):
        raise ShapeMismatch(f"expected {question.size} coordinates, got shape {vector.shape}")
    clipped = bounded(np.asarray(vector, dtype=np.float64), question.bound)
    return np.append(clipped, question.count_weight * question.bound)


def decode(question: MeanQuestion, total: Vector, *, least_count: float = 1.0) -> NoisyMean:
    """Noisy sum over noisy count, scaled back into the ball that every true mean lies in (server).

    Args:
        question: the question that the devices answered.
        total: float64[size + 1], the released sum.
        least_count: floor of the divisor, so that a count lost in noise does not blow the mean up.
    """
    if total.shape != (question.dimension,):
        raise ShapeMismatch(f"expected {question.dimension} coordinates, got shape {total.shape}")
    count = float(total[-1]) / (question.count_weight * question.bound)
    return NoisyMean(bounded(total[:-1] / max(count, least_count), question.bound), count)
