import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.learning import local_training, plans, vectorised
from models.learning.errors import NoRows, NotFinite, ParametersInvalid, PlanInvalid
from models.learning.nets import Net, initial
from privacy.mechanisms import RandomStream


def population(devices, width, features, seed):
    """Devices with 1 to ``width`` rows each, padded with zeros."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(devices, width, features)) * 3
    labels = (generator.random((devices, width)) < 0.4).astype(float)
    present = np.arange(width) < generator.integers(1, width + 1, size=devices)[:, None]
    return rows * present[..., None], labels * present, present


def streams(devices):
    return [RandomStream(bytes([k]) * 32) for k in range(devices)]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 5), st.integers(1, 3), st.integers(1, 6), st.integers(0, 99))
def test_many_devices_at_once_equal_the_same_devices_one_by_one(hidden, steps, width, seed):
    """With noise off every update agrees with the Opacus path to 1e-6 (in fact far closer)."""
    net = Net(4, hidden)
    plan = plans.LocalPlan(steps, 0.8, 0.5, maximum_rows=width, denominator=2.0)
    start = initial(net, seed)
    rows, labels, present = population(7, width, 4, seed)
    many = vectorised.train_many(net, plan, start, rows, labels, present, chunk=3)
    for device in range(7):
        own = present[device]
        alone = local_training.train(net, plan, start, rows[device, own], labels[device, own])
        np.testing.assert_allclose(many[device], alone, atol=1e-9)


def test_with_noise_and_sampling_a_stream_gives_both_paths_the_same_update():
    """The noise and the coins come from the device's stream in the same order on both paths."""
    net = Net(4, 3)
    plan = plans.LocalPlan(2, 0.8, 0.5, 5, 2.0, local_noise_multiplier=1.2, sampling_rate=0.6)
    start = initial(net, 1)
    rows, labels, present = population(6, 5, 4, 2)
    many = vectorised.train_many(net, plan, start, rows, labels, present, streams=streams(6))
    for device, stream in enumerate(streams(6)):
        own = present[device]
        alone = local_training.train(net, plan, start, rows[device, own], labels[device, own], stream)
        np.testing.assert_allclose(many[device], alone, atol=1e-6)


@pytest.mark.parametrize("rate", [1.0, 0.6])
def test_with_noise_spoilt_rows_and_empty_devices_give_both_paths_the_same_update(rate):
    """A device without rows and rows that are not finite raise on neither path, and agree to 1e-6."""
    net = Net(4, 3)
    plan = plans.LocalPlan(2, 0.8, 0.5, 5, 2.0, local_noise_multiplier=1.2, sampling_rate=rate)
    start = initial(net, 1)
    rows, labels, present = population(6, 5, 4, 2)
    present[0] = False
    rows[1, 0], rows[2, 0, 1], labels[3, 0] = np.nan, 1.7e308, np.inf
    many = vectorised.train_many(net, plan, start, rows, labels, present, streams=streams(6))
    for device, stream in enumerate(streams(6)):
        own = present[device]
        alone = local_training.train(net, plan, start, rows[device, own], labels[device, own], stream)
        np.testing.assert_allclose(many[device], alone, atol=1e-6)
    nobody = vectorised.train_many(net, plan, start, rows[:, :0], labels[:, :0], streams=streams(6))
    assert np.count_nonzero(nobody) == nobody.size


def test_devices_that_send_nulls_must_be_left_out():
    """A device without rows, NaN and missing streams are errors, not silent zeros."""
    net = Net(4, 3)
    plan = plans.LocalPlan(1, 0.8, 0.5, 5, 2.0)
    start = initial(net, 1)
    rows, labels, present = population(3, 5, 4, 2)
    with pytest.raises(NoRows):
        vectorised.train_many(net, plan, start, rows, labels, present & (np.arange(3) > 0)[:, None])
    with pytest.raises(NotFinite):
        vectorised.train_many(net, plan, start, rows * np.nan, labels, present)
    with pytest.raises(ParametersInvalid):
        vectorised.train_many(net, plan, start, rows[..., :3], labels, present)
    with pytest.raises(ParametersInvalid):
        vectorised.train_many(net, plans.LocalPlan(1, 0.8, 0.5, 4, 2.0), start, rows, labels, present)
    with pytest.raises(PlanInvalid):
        vectorised.train_many(net, plans.LocalPlan(1, 0.8, 0.5, 5, 2.0, 1.0), start, rows, labels, present)
