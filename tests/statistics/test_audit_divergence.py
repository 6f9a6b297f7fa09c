"""What a charge claims, against the exact divergence of the noise that is really drawn: integers, behind a coin."""

import numpy as np
import pytest

from privacy.accounting import SumEvent, rdp
from privacy.secure_sum.parameters import MINIMUM_NOISE_SIGMA


def log_mass(centre: int, sigma: int, reach: int) -> np.ndarray:
    """Logarithms of the discrete Gaussian's probabilities on -reach..reach, centred at an integer."""
    outcomes = np.arange(-reach, reach + 1, dtype=np.float64) - centre
    logarithms = -(outcomes**2) / (2.0 * sigma**2)
    return logarithms - np.logaddexp.reduce(logarithms)


def divergence(left: np.ndarray, right: np.ndarray, order: int) -> float:
    """Renyi divergence of an order between two distributions given by logarithms, in nats."""
    return float(np.logaddexp.reduce(order * left - (order - 1) * right)) / (order - 1)


@pytest.mark.parametrize("order", [2, 7, 9, 32])
@pytest.mark.parametrize("rate", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("multiplier", [0.8, 1.0, 4.0])
def test_the_charge_covers_discrete_noise_behind_a_coin(multiplier: float, rate: float, order: int) -> None:
    """Both directions of the sampled discrete Gaussian pair cost at most what a round is charged, and nearly that.

    Taken at the smallest sigma that a study may have, where the integers show most.
    """
    sigma = MINIMUM_NOISE_SIGMA
    shift = int(sigma / multiplier)
    reach = order * shift + 14 * sigma
    null, real = log_mass(0, sigma, reach), log_mass(shift, sigma, reach)
    mixed = np.logaddexp(np.log1p(-rate) + null, np.log(rate) + real) if rate < 1 else real
    exact = max(divergence(mixed, null, order), divergence(null, mixed, order))
    charged = rdp(SumEvent(sigma / shift, rate), order)
    assert exact <= charged * (1 + 1e-9) + 1e-12
    assert exact == pytest.approx(charged, rel=1e-4)


def test_a_device_that_exceeds_the_sensitivity_costs_more_than_charged() -> None:
    """The check can fail: a shift of one percent more than the sensitivity is not covered."""
    sigma = MINIMUM_NOISE_SIGMA
    null, real = log_mass(0, sigma, 16 * sigma), log_mass(sigma + sigma // 100, sigma, 16 * sigma)
    assert divergence(real, null, 2) > rdp(SumEvent(1.0, 1.0), 2)
