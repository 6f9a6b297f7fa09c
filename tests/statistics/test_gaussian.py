"""Seeded goodness-of-fit tests of the sampler at the scales that studies use."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.mechanisms.gaussian import _split

SAMPLES = 400_000
LEAST_P = 1e-4
"""Seeded, so a pass stays a pass; a correct sampler fails a new seed once in ten thousand tests."""


def draw(sigma: float, label: str) -> np.ndarray:
    return discrete_gaussian(sigma, SAMPLES, RandomStream(label.encode().ljust(32, b"\0")))


def fit(samples: np.ndarray, sigma: float, cells: int = 200) -> float:
    """P-value of chi-square over equally likely cells, with the exact mass of each cell.

    Up to sigma 20,000 the masses are sums of the exact probabilities. Beyond, P(X <= x) is the normal distribution at
    x + 1/2, which differs by less than 1 / (24 sigma^2) (Euler and Maclaurin), far below what the test resolves.
    """
    edges = np.round(stats.norm.ppf(np.arange(1, cells) / cells) * sigma).astype(np.int64)
    edges = np.unique(edges)
    if sigma <= 20_000:
        grid = np.arange(-math.ceil(12 * sigma), math.ceil(12 * sigma) + 1)
        mass = np.exp(-(grid.astype(np.float64) ** 2) / (2 * sigma**2))
        cumulative = np.cumsum(mass / mass.sum())[edges - grid[0]]
    else:
        cumulative = stats.norm.cdf((edges + 0.5) / sigma)
    expected = np.diff(np.concatenate([[0.0], cumulative, [1.0]])) * samples.size
    found = np.bincount(np.searchsorted(edges, samples, side="left"), minlength=edges.size + 1)
    return float(stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue)


@pytest.mark.parametrize("sigma", [0.7, 3.5, 100.0, 1_000, 50_000, 10**6, 2 * 10**6])
def test_samples_follow_the_exact_distribution(sigma: float) -> None:
    """Chi-square against the exact mass does not reject, from single steps to the largest studies."""
    assert fit(draw(sigma, f"fit {sigma}"), sigma) > LEAST_P


def test_a_scale_that_is_two_percent_off_is_rejected() -> None:
    """The test can fail: noise of sigma 980 does not pass for 1,000."""
    assert fit(draw(980, "off"), 1_000) < LEAST_P


@pytest.mark.parametrize("sigma", [1_000, 50_000, 10**6])
def test_the_composition_leaves_no_lattice(sigma: int) -> None:
    """Residues modulo k and modulo 2, 3, 7 are uniform: k Y + Z has no trace of k."""
    samples = draw(sigma, f"lattice {sigma}")
    for modulus in (2, 3, 7, _split(Fraction(sigma**2))[0]):
        counts = np.bincount(samples % modulus, minlength=modulus)
        assert stats.chisquare(counts).pvalue > LEAST_P, modulus


@pytest.mark.parametrize("sigma", [1_000, 10**6])
def test_samples_are_uncorrelated_with_their_neighbours(sigma: int) -> None:
    """Lag-one correlation of 400,000 samples is within four standard errors of zero; so is the mean."""
    samples = draw(sigma, f"lag {sigma}") / sigma
    assert abs(float(np.mean(samples[1:] * samples[:-1]))) < 4 / math.sqrt(SAMPLES)
    assert abs(float(samples.mean())) < 4 / math.sqrt(SAMPLES)
