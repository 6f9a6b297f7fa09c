"""The binomial sums and their inversion against scipy and against the coverage that defines them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from privacy.audit.binomial import lower_bound, probabilities, upper_bound


@pytest.mark.parametrize("trials", [0, 1, 7, 1_000, 20_000])
@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.3, 0.5, 0.999, 1.0])
def test_probabilities_are_those_of_scipy(trials: int, rate: float) -> None:
    """Every term agrees with scipy's binomial, from no trial to tens of thousands, at the ends too."""
    expected = stats.binom.pmf(np.arange(trials + 1), trials, rate)
    np.testing.assert_allclose(probabilities(trials, rate), expected, rtol=1e-7, atol=1e-300)


@given(st.integers(0, 2_000), st.data(), st.sampled_from([0.4, 0.05, 1e-6]))
def test_bounds_are_those_of_clopper_and_pearson(trials: int, data: st.DataObject, significance: float) -> None:
    """Both bounds are the quantiles of the beta distribution that scipy computes another way."""
    successes = data.draw(st.integers(0, trials))
    upper = 1.0 if successes == trials else stats.beta.ppf(1 - significance, successes + 1, trials - successes)
    lower = 0.0 if successes == 0 else stats.beta.ppf(significance, successes, trials - successes + 1)
    assert upper_bound(successes, trials, significance) == pytest.approx(upper, rel=1e-8)
    assert lower_bound(successes, trials, significance) == pytest.approx(lower, rel=1e-8, abs=1e-14)


def test_an_upper_bound_covers_as_often_as_it_says() -> None:
    """Exactly, over all outcomes of 50 trials: the rate lies above the bound 5 % of the time at most, and nearly so."""
    bounds = np.array([upper_bound(successes, 50, 0.05) for successes in range(51)])
    missed = [float(probabilities(50, rate)[bounds < rate].sum()) for rate in np.linspace(0.01, 0.99, 197)]
    assert 0.04 < max(missed) <= 0.05 + 1e-12
