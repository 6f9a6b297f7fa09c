"""What drawing noise from tables costs is inside the contract's delta."""

import math

import pytest

from privacy.accounting import Contract, ContractInvalid, LocalEvent, SumEvent
from privacy.accounting.contract import MAXIMUM_RELEASES, largest_epsilon, sampler_share
from privacy.accounting.pricing import price
from privacy.mechanisms.clipping import MAXIMUM_DIMENSION
from privacy.mechanisms.gaussian import MAXIMUM_SIGMA, sampler_delta


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0, 20.0, 40.0])
def test_the_share_covers_every_release_that_a_window_can_pay_for(epsilon):
    """The accountant's constant is at least the sampler's own bound, for the most entries and the largest noise."""
    entries = MAXIMUM_RELEASES * MAXIMUM_DIMENSION
    assert sampler_delta(epsilon, MAXIMUM_SIGMA, entries) <= sampler_share(epsilon)


@pytest.mark.parametrize("order", [7, (7, 30), "zcdp"])
@pytest.mark.parametrize("event", [SumEvent(1e6, 1.0), SumEvent(1e6, 1.0, 10**6), LocalEvent(1e6, 1.0, 3)])
def test_a_window_pays_for_no_more_releases_than_were_counted_on(event, order):
    """However little a release reveals, it costs its part of the cap."""
    contract = Contract(4.0, 1e-6, order)
    for cost, cap in zip(price(event, contract), contract.caps, strict=True):
        assert cost * MAXIMUM_RELEASES >= event.count * cap * (1 - 1e-12)


def test_delta_pays_for_the_sampler():
    """Where the share is large the caps are those of what is left of delta, and the figure says so too."""
    epsilon, delta = 36.0, 1e-7
    share = sampler_share(epsilon)
    assert 0.01 * delta < share < delta / 2
    contract = Contract(epsilon, delta, 4)
    exactly = epsilon - math.log1p(-1 / 4) + math.log((delta - share) * 4) / 3
    assert contract.caps[0] == pytest.approx(exactly, rel=1e-12)
    assert contract.epsilon_of(contract.caps) <= epsilon
    assert contract.epsilon_of((1.0,), delta=share) == math.inf


@pytest.mark.parametrize("delta", [1e-12, 1e-6, 1e-5, 0.1])
def test_an_epsilon_that_leaves_no_delta_is_refused(delta):
    """Just below the largest epsilon there is a contract, just above it none."""
    largest = largest_epsilon(delta)
    assert Contract(largest - 1e-6, delta, 40).caps[0] > 0
    with pytest.raises(ContractInvalid, match="nothing is protected"):
        Contract(largest + 1e-6, delta, 40)
