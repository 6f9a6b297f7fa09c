"""The discrete Gaussian on the integers, in vectorised integer arithmetic from a CSPRNG.

P(X = x) is proportional to exp(-x^2 / 2 sigma^2), x an integer (Canonne, Kamath and Steinke 2020, definition 1).
Small scales are read from one inversion table. Noise for a private sum has sigma of 10^5 and more, where a table
would not fit a cache; it is composed from two draws at a scale of about the square root:

    X = k Y + Z,   Y and Z discrete Gaussians with variance s^2 = sigma^2 / (k^2 + 1).

*Proof that X is a discrete Gaussian up to a bounded error.* With ``j`` the value of Y, completing the square gives
``j^2 / 2s^2 + (x - kj)^2 / 2s^2 = x^2 / 2 sigma^2 + (j - c x)^2 / 2 tau^2``, where ``c = k / (k^2 + 1)`` and
``tau^2 = s^2 / (k^2 + 1)``, that is ``tau = sigma / (k^2 + 1)``. So P(X = x) is exp(-x^2 / 2 sigma^2) times the sum
over integers j of exp(-(j - c x)^2 / 2 tau^2). By Poisson summation that sum is ``tau sqrt(2 pi) (1 + e(x))`` with
``|e(x)| <= e = 2 sum_{m >= 1} exp(-2 pi^2 tau^2 m^2)``, for every x. After normalisation each probability is within a
factor (1 + e)/(1 - e) of the exact one and the total variation is at most e/(1 - e). We require tau >= 9/4, so
e < 2^-143. (The argument is that of Micciancio and Walter 2017 in one dimension.) Applied again to Y and
Z it reaches any sigma.

What is exact: the variance at every level is a rational number; k and the comparisons are integers; the 192-bit
uniform behind each outcome is never rounded. What is bounded: the tables' floors and tails and the factor above; their
sum is :func:`tv_error`, below 2^-132 a sample for sigma up to 10^8.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms.errors import SigmaInvalid
from privacy.mechanisms.randomness import RandomStream
from privacy.mechanisms.tables import inversion_table, table_tv_error

_LEAF_VARIANCE = 256**2
_MINIMUM_TAU = Fraction(9, 4)
MAXIMUM_SIGMA = 2.0**56
_MOST_EPSILON = 700.0


def discrete_gaussian(sigma: float, size: int, stream: RandomStream) -> NDArray[np.int64]:
    """Draw from the discrete Gaussian; within :func:`tv_error` of exact, jointly over all samples.

    Added to an integer vector of L2 sensitivity D it has the continuous Gaussian's Renyi bound, alpha D^2 / 2 sigma^2
    at every order alpha (Canonne, Kamath and Steinke 2020); for sigma >= 1,000 the PLD figures agree too.
    Run by the helper and by the leader, each with its own stream, once per round.

    Args:
        sigma: the scale parameter, taken exactly as the rational that it is, in (0, 2^56].
        size: number of samples, at least 0.
        stream: the randomness; equal keys give equal samples.

    Returns:
        int64[size].

    Raises:
        SigmaInvalid: sigma or size is out of range.
    """
    _check(sigma, size)
    noise = np.zeros(size, dtype=np.int64)
    _add(Fraction(sigma) ** 2, noise, 1, stream)
    return noise


def add_discrete_gaussian(sigma: float, out: NDArray[Any], stream: RandomStream) -> None:
    """Add to every entry of ``out`` what :func:`discrete_gaussian` draws from the same stream, in place.

    The memory is that of a block, however long ``out`` is. Run by the helper and by the leader on words modulo 2^32 or
    2^64, where the modulus of a private sum divides the word's.

    Args:
        sigma: as for :func:`discrete_gaussian`.
        out: one dimension, of a 32 or 64 bit integer type; sums wrap modulo its size.
        stream: the randomness; equal keys give equal samples.

    Raises:
        SigmaInvalid: sigma is out of range.
    """
    _check(sigma, out.size)
    _add(Fraction(sigma) ** 2, out, 1, stream)


def tv_error(sigma: float, size: int) -> float:
    """Bound on the total variation between ``size`` samples and as many exact ones.

    A release of T rounds that is (eps, delta)-DP with exact noise is (eps, delta + (1 + e^eps) T tv_error)-DP with
    this sampler (the unit and the neighbouring relation are those of the release: device level, zero-out);
    :func:`sampler_delta` is that addition.
    """
    _check(sigma, size)
    return size * _tv_error(Fraction(sigma) ** 2)


def sampler_delta(epsilon: float, sigma: float, samples: int) -> float:
    """What drawing from this sampler adds to delta: ``(1 + e^epsilon) samples tv_error(sigma, 1)``.

    *Proof.* Let M use exact noise and M' this sampler, tau apart in total variation on every input and whatever was
    released before (the bound adds over draws, adaptively chosen ones included). Then for neighbours x, y and any set
    S: ``P(M'(x) in S) <= P(M(x) in S) + tau <= e^eps P(M(y) in S) + delta + tau <= e^eps P(M'(y) in S) + delta +
    (1 + e^eps) tau``.

    Only the noise of *one* server counts: each server's noise alone meets the claim, and adding the other's, however
    it was drawn, is post-processing.

    Args:
        epsilon: the claim's (device level, zero-out), in [0, 700].
        sigma: the scale; the largest of the plan's, as the error grows with it.
        samples: entries times rounds, over everything that the claim covers; at least 0.

    Raises:
        SigmaInvalid: a figure is out of range.
    """
    if not 0.0 <= epsilon <= _MOST_EPSILON:  # false for NaN too
        raise SigmaInvalid(f"expected an epsilon in [0, {_MOST_EPSILON:g}], got {epsilon!r}")
    return (1.0 + math.exp(epsilon)) * tv_error(sigma, samples) * (1.0 + 2.0**-20)


def _add(variance: Fraction, out: NDArray[Any], factor: int, stream: RandomStream) -> None:
    """Add ``factor`` times the samples: a sum of scaled draws from tables, so that none is held by itself."""
    if variance <= _LEAF_VARIANCE:
        inversion_table(variance).add_to(out, factor, stream)
        return
    split, part = _split(variance)
    _add(part, out, factor * split, stream)
    _add(part, out, factor, stream)


def _split(variance: Fraction) -> tuple[int, Fraction]:
    """The largest k with sigma / (k^2 + 1) >= 9/4, and s^2 = sigma^2 / (k^2 + 1), in integers and rationals."""
    most = math.isqrt(math.floor(variance / _MINIMUM_TAU**2))
    factor = math.isqrt(most - 1)
    return factor, variance / (factor * factor + 1)


def _tv_error(variance: Fraction) -> float:
    if variance <= _LEAF_VARIANCE:
        return table_tv_error(variance)
    factor, part = _split(variance)
    tau_squared = float(part / (factor * factor + 1))
    smoothing = 2.0 * math.exp(-2.0 * math.pi**2 * tau_squared) * (1.0 + 2.0**-20)
    return 2.0 * _tv_error(part) + smoothing


def _check(sigma: float, size: int) -> None:
    if not 0.0 < sigma <= MAXIMUM_SIGMA:  # false for NaN too
        raise SigmaInvalid(f"expected a sigma in (0, 2^56], got {sigma!r}")
    if size < 0:
        raise SigmaInvalid(f"expected a size of at least 0, got {size}")
