"""Inversion of a discrete Gaussian's distribution function over 192-bit integers.

Theory of operation. The outcomes are -R..R with R at least 14 sigma + 1. Threshold ``T_i`` is
floor(2^192 P(X <= i - R)); a uniform 192-bit integer u gives the outcome (number of thresholds at most u) - R.
Only u's highest 64 bits are drawn at first. They decide unless they equal the highest 64 bits of some threshold
(probability about 2^-64 per threshold); then, and only then, the 128 low bits are drawn and whole integers compared.
That is exactly inversion of a 192-bit integer, at the cost of a 64-bit one. A guide over the highest 16 bits answers
most draws with one look-up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms.randomness import RandomStream

TABLE_BITS = 192
_LOW_BITS = TABLE_BITS - 64
_FIXED_BITS = 256
_DECIMAL = Context(prec=120)
_TAIL_SIGMAS = 14
_GUIDE_BITS = 16
_BLOCK = 2**14
_GUIDE_SHIFT = np.uint64(64 - _GUIDE_BITS)


class InversionTable:
    """The table for one variance, built once and cached by :func:`inversion_table`."""

    __slots__ = ("_guide", "_high", "_thresholds", "radius")

    def __init__(self, variance: Fraction) -> None:
        self._thresholds = _thresholds(_weights(variance, _radius(variance)))
        self.radius = len(self._thresholds) // 2
        self._high = np.array([threshold >> _LOW_BITS for threshold in self._thresholds], dtype=np.uint64)
        occupied = np.bincount((self._high >> _GUIDE_SHIFT).astype(np.int64), minlength=2**_GUIDE_BITS)
        # A bin that no threshold falls in has one outcome; -1 marks the bins that need a search.
        self._guide = np.where(occupied == 0, np.cumsum(occupied), -1).astype(np.int32)

    def sample(self, size: int, stream: RandomStream) -> NDArray[np.int64]:
        """Draw ``size`` outcomes (int64[size])."""
        out = np.zeros(size, dtype=np.int64)
        self.add_to(out, 1, stream)
        return out

    def add_to(self, out: NDArray[Any], factor: int, stream: RandomStream) -> None:
        """Add ``factor`` times as many outcomes as ``out`` has entries, modulo its word's size; in blocks.

        What is read of the stream, and in which order, does not depend on the blocks: first the high bits of every
        outcome, then the low bits of those that they leave undecided.
        """
        undecided: list[tuple[int, int]] = []
        for start in range(0, out.size, _BLOCK):
            part = out[start : start + _BLOCK]
            words = stream.uint64(part.size)
            outcomes, ties = self._by_high_bits(words)
            outcomes *= factor
            part += outcomes.astype(part.dtype)
            undecided += [(start + int(at), int(words[at])) for at in ties]
        for at, word in undecided:
            low = int.from_bytes(stream.bytes(_LOW_BITS // 8), "little")
            index = bisect_right(self._thresholds, word << _LOW_BITS | low)
            outcome = np.array([(index - self.radius) * factor], dtype=np.int64)
            out[at : at + 1] += outcome.astype(out.dtype)

    def _by_high_bits(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Outcomes, and where the high bits leave them undecided; those are zero."""
        index: NDArray[np.int64] = self._guide[words >> _GUIDE_SHIFT].astype(np.int64)
        unsure = np.flatnonzero(index < 0)
        found = np.searchsorted(self._high, words[unsure], side="left")
        ties = unsure[self._high[np.minimum(found, self._high.size - 1)] == words[unsure]]
        index[unsure] = found
        index[ties] = self.radius
        index -= self.radius
        return index, ties


@lru_cache(maxsize=64)
def inversion_table(variance: Fraction) -> InversionTable:
    """The table of the discrete Gaussian with this variance parameter."""
    return InversionTable(variance)


def table_tv_error(variance: Fraction) -> float:
    """Total variation between one outcome of the table and the exact discrete Gaussian.

    The sum of: the tail beyond R, at most 2 P(N(0, 1) > 14) < 2^-146 (Canonne, Kamath and Steinke 2020: the
    discrete tail from m is at most the continuous one from m - 1), which is bounded here by 2 exp(-14^2 / 2);
    the floors, 2^-192 for each of 2R + 1 outcomes; the fixed-point weights, at most (R + 1)^2 2^-256 each, which
    moves the normalised distribution by less than 4 (R + 1)^3 2^-256.
    """
    radius = _radius(variance)
    tail = 2.0 * math.exp(-(_TAIL_SIGMAS**2) / 2)
    return tail + math.ldexp(2 * radius + 1, -TABLE_BITS) + math.ldexp(4.0 * (radius + 1) ** 3, -_FIXED_BITS)


def _radius(variance: Fraction) -> int:
    return math.isqrt(math.ceil(variance * _TAIL_SIGMAS**2)) + 2


def _weights(variance: Fraction, radius: int) -> list[int]:
    """``2^256 exp(-x^2 / 2v)`` for x = 0..R, each within (x + 1)^2 units of its true value.

    ``w(x+1) = w(x) r(x)`` and ``r(x+1) = r(x) g`` with ``r(0) = exp(-1/2v)``, ``g = exp(-1/v)``. All factors are at
    most 1, so errors add: r(x) is within 2(x + 1) units and w(x) within the sum of those and its own floors.
    """
    one = 1 << _FIXED_BITS
    exponent = _DECIMAL.divide(Decimal(-variance.denominator), Decimal(2 * variance.numerator))
    ratio = int(_DECIMAL.multiply(_DECIMAL.exp(exponent), Decimal(one)))
    step = ratio * ratio >> _FIXED_BITS
    weights = [one]
    for _ in range(radius):
        weights.append(weights[-1] * ratio >> _FIXED_BITS)
        ratio = ratio * step >> _FIXED_BITS
    return weights


def _thresholds(weights: list[int]) -> list[int]:
    """The lower half by summation from the tail, the upper half by symmetry: P(X <= x) = 1 - P(X <= -x - 1).

    Outcomes of a small sigma whose cumulative mass is below 2^-192 are left out; their threshold would be zero.
    """
    total = 2 * sum(weights) - weights[0]
    lower = []
    cumulative = 0
    for weight in reversed(weights[1:]):
        cumulative += weight
        threshold = (cumulative << TABLE_BITS) // total
        if threshold:
            lower.append(threshold)
    return lower + [(1 << TABLE_BITS) - threshold for threshold in reversed(lower)]
