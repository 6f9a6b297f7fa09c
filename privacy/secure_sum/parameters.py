"""The parameters of a private sum, validated together: a study whose true sum could wrap does not exist."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from privacy.mechanisms.clipping import MAXIMUM_DIMENSION
from privacy.secure_sum.errors import ParametersRefused
from privacy.secure_sum.packing import MAXIMUM_BITS, packed_size

MINIMUM_NOISE_SIGMA = 1_000
"""Below it the discrete and the continuous Gaussian's figures no longer agree to the digits that we state."""

WRAP_PROBABILITY_LOG2 = -40
"""log2 of beta: the probability, per round, that noise (never the true sum) wraps."""

_MAXIMUM_COHORT = 2**32


@dataclass(frozen=True, slots=True)
class SumParameters:
    """What a study fixes about its sum. Built by all three roles from the same signed study.

    Derived: ``scale`` s = (Delta - sqrt(d)/2) / C, so that a vector of norm C is still within Delta after rounding
    (:func:`privacy.secure_sum.encoding.encode`); ``noise_sigma`` = ceil(z Delta), per server; ``modulus_bits``
    b = ceil(log2(2 (n Delta + t sqrt(2) sigma) + 1)) with t = sqrt(2 ln(2d / beta)), beta = 2^-40. The true sum is at
    most n Delta in every entry, so it cannot wrap. The two servers' noises together have variance 2 sigma^2; by the
    Gaussian tail P(|N| > t sqrt(2) sigma) <= 2 exp(-t^2 / 2) = beta / d and a union bound over d entries, noise wraps
    with probability at most beta. That costs correctness, never privacy.

    Args:
        dimension: d, entries of the vector, 1 to 2^24.
        clip_norm: C, the L2 clipping norm in the vector's own unit, positive and finite.
        sensitivity: Delta, the L2 sensitivity of the integer sum when one device's report is replaced by zero
            (zero-out, device level). At least sqrt(d), or rounding would drown the vector.
        noise_multiplier: z = sigma / Delta of each server alone, positive and finite; z Delta at least 999.
        maximum_cohort: n, the most reports in one sum, at most 2^32.
        minimum_cohort: the fewest opened seals that are answered, at least 2.

    Raises:
        ParametersRefused: any of the above is out of range, or b would exceed 62.
    """

    dimension: int
    clip_norm: float
    sensitivity: int
    noise_multiplier: float
    maximum_cohort: int
    minimum_cohort: int
    scale: float = field(init=False)
    noise_sigma: int = field(init=False)
    modulus_bits: int = field(init=False)
    packed_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Check the given fields, then derive the others."""
        self._check_vector()
        self._check_cohort()
        sigma = self._noise_sigma()
        bits = _modulus_bits(self.dimension, self.sensitivity, sigma, self.maximum_cohort)
        if bits > MAXIMUM_BITS:
            raise ParametersRefused(
                f"expected a modulus of at most {MAXIMUM_BITS} bits, got {bits}: lower the sensitivity "
                f"({self.sensitivity}), the maximum cohort ({self.maximum_cohort}) or the noise multiplier"
            )
        scale = (self.sensitivity - math.sqrt(self.dimension) / 2) / self.clip_norm
        if not (math.isfinite(scale) and scale > 0.0):
            raise ParametersRefused(f"expected a positive finite scale, got {scale!r} from norm {self.clip_norm!r}")
        derived = (
            ("scale", scale),
            ("noise_sigma", sigma),
            ("modulus_bits", bits),
            ("packed_bytes", packed_size(self.dimension, bits)),
        )
        for name, value in derived:
            object.__setattr__(self, name, value)  # the dataclass is frozen for everyone else

    def _check_vector(self) -> None:
        if not _whole(self.dimension, 1, MAXIMUM_DIMENSION):
            raise ParametersRefused(f"expected a dimension from 1 to {MAXIMUM_DIMENSION}, got {self.dimension!r}")
        if not (math.isfinite(self.clip_norm) and self.clip_norm > 0.0):
            raise ParametersRefused(f"expected a positive finite clipping norm, got {self.clip_norm!r}")
        if not _whole(self.sensitivity, 1, 2**MAXIMUM_BITS) or self.sensitivity**2 < self.dimension:
            raise ParametersRefused(
                f"expected a whole sensitivity of at least sqrt(dimension) = {math.sqrt(self.dimension):.1f}, "
                f"got {self.sensitivity!r}"
            )

    def _check_cohort(self) -> None:
        if not _whole(self.minimum_cohort, 2, _MAXIMUM_COHORT):
            raise ParametersRefused(f"expected a minimum cohort of at least 2, got {self.minimum_cohort!r}")
        if not _whole(self.maximum_cohort, self.minimum_cohort, _MAXIMUM_COHORT):
            raise ParametersRefused(
                f"expected a maximum cohort from the minimum ({self.minimum_cohort}) to {_MAXIMUM_COHORT}, "
                f"got {self.maximum_cohort!r}"
            )

    def _noise_sigma(self) -> int:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0.0):
            raise ParametersRefused(f"expected a positive finite noise multiplier, got {self.noise_multiplier!r}")
        sigma = math.ceil(Fraction(self.noise_multiplier) * self.sensitivity)
        if sigma < MINIMUM_NOISE_SIGMA:
            raise ParametersRefused(
                f"expected noise of at least {MINIMUM_NOISE_SIGMA} grid steps, got {sigma}: raise the sensitivity "
                f"({self.sensitivity}), which costs bits and no accuracy"
            )
        return sigma


def _modulus_bits(dimension: int, sensitivity: int, sigma: int, cohort: int) -> int:
    deviations = math.sqrt(2.0 * (math.log(2.0 * dimension) - WRAP_PROBABILITY_LOG2 * math.log(2.0)))
    noise = math.ceil(Fraction(deviations * math.sqrt(2.0)) * sigma) + 1
    # ceil(log2(2m + 1)) is the bit length of 2m.
    return (2 * (cohort * sensitivity + noise)).bit_length()


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
