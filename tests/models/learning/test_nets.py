import subprocess
import sys

import numpy as np
import pytest

from models.learning import nets
from models.learning.errors import ParametersInvalid, PlanInvalid, UnknownModel
from models.learning.registry import MODELS, model

NET = nets.Net(features=5, hidden=3)


@pytest.mark.parametrize("net", [NET, nets.Net(4)])
def test_flat_and_named_parameters_are_the_same_thing(net):
    """Flattening what was unflattened gives the vector back, bit for bit."""
    flat = nets.initial(net, seed=7)
    assert flat.dtype == np.float32
    assert flat.shape == (net.size,)
    np.testing.assert_array_equal(nets.flatten(net, nets.unflatten(net, flat)), flat)


def test_the_start_is_public_and_knows_only_the_guessed_prior():
    """The same seed starts everybody alike, and a logistic net starts by predicting the prior for every row."""
    np.testing.assert_array_equal(nets.initial(NET, seed=1), nets.initial(NET, seed=1))
    assert not np.array_equal(nets.initial(NET, seed=1), nets.initial(NET, seed=2))
    logistic = nets.Net(4)
    rows = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_allclose(nets.scores(logistic, nets.initial(logistic, 1, prior=0.2), rows), 0.2, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    """Wrong lengths, NaN, unknown models and empty nets are typed errors."""
    flat = nets.initial(NET, seed=7)
    with pytest.raises(ParametersInvalid):
        nets.unflatten(NET, flat[:-1])
    with pytest.raises(ParametersInvalid):
        nets.unflatten(NET, np.full(NET.size, np.nan))
    with pytest.raises(ParametersInvalid):
        nets.flatten(NET, {"output.bias": np.zeros(1)})
    with pytest.raises(ParametersInvalid):
        nets.scores(NET, flat, np.zeros((2, 4)))
    with pytest.raises(PlanInvalid):
        nets.Net(0)
    with pytest.raises(PlanInvalid):
        nets.initial(NET, 1, prior=1.0)
    with pytest.raises(UnknownModel):
        model("mind_reading")


def test_every_registered_model_names_its_purpose_and_builds_a_net():
    """An entry can be trained as it stands."""
    for name, entry in MODELS.items():
        assert model(name) is entry
        assert entry.purpose
        assert entry.net(features=9).size > 9
        assert entry.net(features=9, hidden=0).size == 10


def test_scoring_loads_no_torch():
    """A resident agent scores with numpy alone."""
    code = (
        "import sys, models.learning.nets, models.learning.registry, models.learning.evaluation, "
        "models.learning.server_optimisers; "
        "print([m for m in ('torch', 'opacus', 'flwr', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
