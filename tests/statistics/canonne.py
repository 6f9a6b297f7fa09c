"""The oracle: Canonne, Kamath and Steinke's exact samplers, in rationals, from coins. Slow, and not used by the house.

"The Discrete Gaussian for Differential Privacy" (arXiv 2004.00010v4): algorithm 1 (Bernoulli of exp(-gamma)),
algorithm 2 (discrete Laplace) and algorithm 3 (discrete Gaussian). Every probability is a rational that no float and
no table has touched; it shares nothing with ``privacy.mechanisms`` but the stream of random bytes.
"""

from __future__ import annotations

import math
from fractions import Fraction

from privacy.mechanisms import RandomStream


def uniform_below(limit: int, stream: RandomStream) -> int:
    """Uniform on 0..limit - 1, exactly: draws beyond are thrown away."""
    bits = limit.bit_length()
    count = (bits + 7) // 8
    while True:
        drawn = int.from_bytes(stream.bytes(count), "big") >> (8 * count - bits)
        if drawn < limit:
            return drawn


def bernoulli(chance: Fraction, stream: RandomStream) -> bool:
    """True with exactly this probability."""
    return uniform_below(chance.denominator, stream) < chance.numerator


def bernoulli_exp(gamma: Fraction, stream: RandomStream) -> bool:
    """Algorithm 1: true with probability exp(-gamma), gamma at least 0."""
    while gamma > 1:
        if not _bernoulli_exp_of_fraction(Fraction(1), stream):
            return False
        gamma -= 1
    return _bernoulli_exp_of_fraction(gamma, stream)


def _bernoulli_exp_of_fraction(gamma: Fraction, stream: RandomStream) -> bool:
    draws = 1
    while bernoulli(gamma / draws, stream):
        draws += 1
    return draws % 2 == 1


def discrete_laplace(scale: int, stream: RandomStream) -> int:
    """Algorithm 2 with s = 1: P(x) proportional to exp(-|x| / t)."""
    while True:
        within = uniform_below(scale, stream)
        if not bernoulli_exp(Fraction(within, scale), stream):
            continue
        beyond = 0
        while bernoulli_exp(Fraction(1), stream):
            beyond += 1
        magnitude = within + scale * beyond
        negative = bernoulli(Fraction(1, 2), stream)
        if not (negative and magnitude == 0):
            return -magnitude if negative else magnitude


def discrete_gaussian_exactly(variance: Fraction, size: int, stream: RandomStream) -> list[int]:
    """Algorithm 3: ``size`` samples with P(x) proportional to exp(-x^2 / 2 variance)."""
    scale = math.isqrt(variance.numerator // variance.denominator) + 1
    samples: list[int] = []
    while len(samples) < size:
        proposed = discrete_laplace(scale, stream)
        excess = abs(proposed) - variance / scale
        if bernoulli_exp(excess * excess / (2 * variance), stream):
            samples.append(proposed)
    return samples
