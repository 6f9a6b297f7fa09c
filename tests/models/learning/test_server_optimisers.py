import numpy as np
import pytest

from models.learning.errors import ParametersInvalid, PlanInvalid
from models.learning.server_optimisers import FedAdam, FedAvg, KMeans, mean_update
from models.queries.personas import PersonaQuestion, encode, spread_start


def test_fedavg_with_momentum_is_the_heavy_ball():
    """Two steps by hand; the states before stay as they were."""
    server = FedAvg(learning_rate=2.0, momentum=0.5)
    first = server.init(np.array([1.0, 2.0], dtype=np.float32))
    second = server.apply(first, np.array([1.0, -1.0]))
    third = server.apply(second, np.array([1.0, 0.0]))
    np.testing.assert_allclose(second.parameters, [3.0, 0.0])
    np.testing.assert_allclose(third.parameters, [6.0, -1.0])
    np.testing.assert_array_equal(first.parameters, [1.0, 2.0])
    assert (first.step, third.step) == (0, 2)


def test_fedadams_first_step_has_the_length_of_its_rate():
    """Bias correction makes the first step the sign of the update, times the rate."""
    server = FedAdam(learning_rate=0.1, tau=1e-9)
    state = server.apply(server.init(np.zeros(2)), np.array([0.3, -7.0]))
    np.testing.assert_allclose(state.parameters, [0.1, -0.1], rtol=1e-6)


@pytest.mark.parametrize("server", [FedAvg(0.2, 0.8), FedAdam(0.2)])
def test_both_reach_the_minimum_of_a_quadratic(server):
    """Updates that point to the minimum lead there."""
    state = server.init(np.array([4.0, -3.0]))
    for _ in range(300):
        state = server.apply(state, 0.2 * (np.array([1.0, 1.0]) - state.parameters))
    np.testing.assert_allclose(state.parameters, 1.0, atol=0.05)


def test_kmeans_is_a_server_step_over_the_sum():
    """One step moves the chosen centroid to the mean and keeps the others."""
    question = PersonaQuestion(2, 3, radius=2.0)
    server = KMeans(question, least_count=2)
    state = server.init(spread_start(question, 0))
    profile = np.array([0.5, 0.1, 0.0])
    total = 4 * encode(question, profile, state.centroids)
    moved = server.apply(state, total)
    assert moved.step == 1
    assert sorted(moved.counts.round(9)) == [0.0, 4.0]
    np.testing.assert_allclose(moved.centroids[moved.counts.argmax()], profile)


def test_a_mean_divides_by_the_expected_cohort():
    """The divisor is q N, a constant, whoever turned up."""
    np.testing.assert_allclose(mean_update(np.array([50.0]), 100, 0.25), [2.0])
    with pytest.raises(PlanInvalid):
        mean_update(np.array([50.0]), 0, 0.25)


def test_a_bad_update_never_reaches_the_parameters():
    """NaN or another length is refused, and so are constants out of range."""
    server = FedAvg()
    state = server.init(np.zeros(2))
    for bad in (np.array([np.nan, 0.0]), np.zeros(3)):
        with pytest.raises(ParametersInvalid):
            server.apply(state, bad)
    for build in (lambda: FedAvg(0.0), lambda: FedAvg(1.0, 1.0), lambda: FedAdam(tau=0.0)):
        with pytest.raises(PlanInvalid):
            build()
