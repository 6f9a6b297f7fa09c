"""Our sampler beside two others: the exact rational sampler of the paper, and OpenDP's."""

from fractions import Fraction

import numpy as np
import pytest

from privacy.mechanisms import RandomStream, discrete_gaussian
from tests.statistics.canonne import bernoulli_exp, discrete_gaussian_exactly
from tests.statistics.fits import LEAST_P, fit_alike, fit_counts, fit_gaussian

OURS = 400_000
ORACLE = 20_000
FULL = 1_000_000


def stream(label: str) -> RandomStream:
    """A seeded stream of its own for each use."""
    return RandomStream(label.encode().ljust(32, b"\0"))


def oracle(sigma: float, size: int) -> np.ndarray:
    """Samples of algorithm 3."""
    return np.array(discrete_gaussian_exactly(Fraction(sigma) ** 2, size, stream(f"oracle {sigma}")))


@pytest.mark.parametrize("gamma", [Fraction(0), Fraction(1, 7), Fraction(1), Fraction(5, 2)])
def test_the_oracle_s_coin_is_exp_minus_gamma(gamma: Fraction) -> None:
    """Algorithm 1 is right 20,000 times: chi-square of heads and tails (gamma 0 is always heads)."""
    randomness = stream(f"coin {gamma}")
    heads = sum(bernoulli_exp(gamma, randomness) for _ in range(ORACLE))
    if gamma == 0:
        assert heads == ORACLE
        return
    chance = float(np.exp(-float(gamma)))
    assert fit_counts(np.array([heads, ORACLE - heads]), np.array([chance, 1 - chance])) > LEAST_P


@pytest.mark.parametrize("sigma", [0.7, 3.5, 100.0, 50_000.0])
def test_our_sampler_and_the_exact_one_are_not_told_apart(sigma: float) -> None:
    """The oracle fits the exact distribution, and a two-sample test does not part it from ours."""
    exactly = oracle(sigma, ORACLE)
    ours = discrete_gaussian(sigma, OURS, stream(f"ours {sigma}"))
    assert fit_gaussian(exactly, sigma) > LEAST_P
    assert fit_alike(ours, exactly, sigma) > LEAST_P


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("sigma", [0.7, 3.5, 1_000.0, 50_000.0, 1e6])
def test_a_million_exact_samples_part_them_no_more(sigma: float) -> None:
    """Full counts: a million samples of each; two percent less noise would be found, and is."""
    exactly = oracle(sigma, FULL)
    assert fit_gaussian(exactly, sigma) > LEAST_P
    assert fit_alike(discrete_gaussian(sigma, FULL, stream(f"ours {sigma}")), exactly, sigma) > LEAST_P
    assert fit_alike(discrete_gaussian(0.98 * sigma, FULL, stream(f"less {sigma}")), exactly, sigma) < LEAST_P


@pytest.mark.parametrize("sigma", [3.5, 1_000.0])
def test_a_different_scale_is_told_apart(sigma: float) -> None:
    """The two-sample test can fail: noise that is a tenth too small is found with the oracle's 20,000 samples."""
    assert fit_alike(discrete_gaussian(0.9 * sigma, OURS, stream("less")), oracle(sigma, ORACLE), sigma) < LEAST_P


@pytest.mark.parametrize("sigma", [1_000.0])
def test_opendp_s_sampler_is_not_told_apart_from_ours(sigma: float) -> None:
    """200,000 samples of OpenDP's Gaussian measurement and 400,000 of ours; OpenDP at 98 % of the scale is found.

    OpenDP takes its randomness from the operating system, so this one test has no seed: it errs once in 2 10^8 runs.
    """
    import opendp.prelude as dp  # here: it costs a second that the other tests need not pay

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    theirs = np.array(dp.m.make_gaussian(*space, sigma)([0] * (OURS // 2)))
    less = np.array(dp.m.make_gaussian(*space, 0.98 * sigma)([0] * (OURS // 2)))
    ours = discrete_gaussian(sigma, OURS, stream(f"opendp {sigma}"))
    assert fit_gaussian(theirs, sigma) > LEAST_P
    assert fit_alike(ours, theirs, sigma) > LEAST_P
    assert fit_gaussian(less, sigma) < LEAST_P
