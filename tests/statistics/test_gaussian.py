"""Seeded goodness-of-fit tests of the discrete Gaussian at the scales that studies use, the composed ones included."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.mechanisms.gaussian import _split
from tests.statistics.fits import LEAST_P, fit_gaussian

SAMPLES = 400_000
SIGMAS = [0.3, 0.7, 3.5, 100.0, 256.5, 1_000, 50_000, 10**6, 2 * 10**6]


def draw(sigma: float, label: str) -> np.ndarray:
    """Samples from a stream that the label keys."""
    return discrete_gaussian(sigma, SAMPLES, RandomStream(label.encode().ljust(32, b"\0")))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_samples_follow_the_exact_distribution(sigma: float) -> None:
    """Chi-square against the exact mass does not reject, from single steps to the largest studies."""
    assert fit_gaussian(draw(sigma, f"fit {sigma}"), sigma) > LEAST_P


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_scale_that_is_two_percent_off_is_rejected(sigma: float) -> None:
    """The test can fail: noise of 98 % or 102 % of sigma does not pass for sigma, small or composed."""
    for factor in (0.98, 1.02):
        assert fit_gaussian(draw(factor * sigma, f"off {sigma}"), sigma) < LEAST_P


@pytest.mark.parametrize("sigma", [1_000, 50_000, 10**6])
def test_the_composition_leaves_no_lattice(sigma: int) -> None:
    """Residues modulo k and modulo 2, 3, 7 are uniform: k Y + Z has no trace of k."""
    samples = draw(sigma, f"lattice {sigma}")
    for modulus in (2, 3, 7, _split(Fraction(sigma**2))[0]):
        counts = np.bincount(samples % modulus, minlength=modulus)
        assert stats.chisquare(counts).pvalue > LEAST_P, modulus


def test_a_lattice_of_one_in_fifty_is_rejected() -> None:
    """The test can fail: with 2 % of the samples moved to a multiple of 7 the residues are no longer uniform."""
    samples = draw(1_000, "lattice 1000")
    samples[::50] -= samples[::50] % 7
    assert stats.chisquare(np.bincount(samples % 7, minlength=7)).pvalue < LEAST_P


@pytest.mark.parametrize("sigma", [1_000, 10**6])
def test_samples_are_uncorrelated_with_their_neighbours(sigma: int) -> None:
    """Lag-one correlation and mean of 400,000 samples are those of independent ones."""
    samples = draw(sigma, f"lag {sigma}") / sigma
    limit = float(stats.norm.isf(LEAST_P / 2)) / math.sqrt(SAMPLES)
    assert abs(float(np.mean(samples[1:] * samples[:-1]))) < limit
    assert abs(float(samples.mean())) < limit


def test_a_correlation_of_two_percent_is_rejected() -> None:
    """The test can fail: samples that carry 2 % of their predecessor are beyond the limit."""
    samples = draw(1_000, "lag 1000") / 1_000
    carried = samples[1:] + 0.02 * samples[:-1]
    assert abs(float(np.mean(carried[1:] * carried[:-1]))) > float(stats.norm.isf(LEAST_P / 2)) / math.sqrt(SAMPLES)
