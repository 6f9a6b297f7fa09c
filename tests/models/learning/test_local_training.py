import math

import numpy as np
import pytest
import torch

from models.learning import local_training, plans
from models.learning.errors import NoRows, NotFinite, OneClass, ParametersInvalid, PlanInvalid
from models.learning.modules import row_loss, tensors
from models.learning.nets import Net, initial, scores
from privacy.mechanisms import RandomStream

NET = Net(features=6, hidden=4)
PLAN = plans.LocalPlan(steps=3, learning_rate=0.5, max_grad_norm=0.7, maximum_rows=10, denominator=8.0)
START = initial(NET, seed=3)


def data(count=10, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, 6))
    return rows, (generator.random(count) < 0.5).astype(float)


def by_hand(plan, rows, labels):
    """The definition, one row at a time, with autograd and no Opacus."""
    flat = torch.tensor(START, dtype=torch.float64)
    for _ in range(plan.steps):
        total = torch.zeros_like(flat)
        for row, label in zip(rows, labels, strict=True):
            named = {k: v.requires_grad_() for k, v in tensors(NET, flat.numpy()).items()}
            loss = row_loss(named, torch.tensor(row), torch.tensor(label))
            gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(named.values()))])
            total += gradient * min(1.0, plan.max_grad_norm / (float(gradient.norm()) + 1e-6))
        flat = flat - plan.learning_rate * total / plan.denominator
    return flat.numpy() - START


def test_a_turn_clips_sums_and_steps_as_defined():
    """Without noise the update equals the definition computed row by row."""
    rows, labels = data()
    np.testing.assert_allclose(
        local_training.train(NET, PLAN, START, rows, labels), by_hand(PLAN, rows, labels), atol=1e-12
    )


def test_the_update_stays_within_the_plans_bound():
    """However extreme the rows, clipping holds the update within ``plan.update_bound``."""
    rows, labels = data()
    update = local_training.train(NET, PLAN, START, rows * 1e6, labels)
    assert np.linalg.norm(update) <= PLAN.update_bound


def test_only_the_latest_rows_count():
    """More rows than the plan allows do not give a device a larger say."""
    rows, labels = data(30)
    np.testing.assert_array_equal(
        local_training.train(NET, PLAN, START, rows, labels),
        local_training.train(NET, PLAN, START, rows[-10:], labels[-10:]),
    )


def noisy_plan(multiplier=2.0, **changes):
    fields = {"steps": 1, "learning_rate": 1.0, "max_grad_norm": 0.7, "maximum_rows": 10, "denominator": 1.0}
    return plans.LocalPlan(**(fields | changes), local_noise_multiplier=multiplier)


def test_local_noise_lies_on_the_grid_with_the_stated_deviation():
    """The noisy sum is an integer multiple of the grid step, and its deviation is z C (1 + o(1))."""
    plan = noisy_plan()
    grid = plans.local_grid(plan, NET)
    rows, labels = data()
    quiet = local_training.train(NET, plans.LocalPlan(1, 1.0, 0.7, 10, 1.0), START, rows, labels)
    noisy = np.stack(
        [local_training.train(NET, plan, START, rows, labels, RandomStream(bytes([k]) * 32)) for k in range(60)]
    )
    steps = (START + noisy - START) * grid.scale
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    deviation = (noisy - quiet).std()
    expected = plan.local_noise_multiplier * plan.max_grad_norm
    assert 0.9 * expected < deviation < 1.15 * expected


def test_the_grid_keeps_the_sensitivity_of_one_row():
    """Leaving out any one row moves the integers by at most the stated sensitivity."""
    plan = noisy_plan()
    grid = plans.local_grid(plan, NET)
    generator = np.random.default_rng(5)
    for _ in range(50):
        rest = generator.normal(size=NET.size) * 10
        row = generator.normal(size=NET.size)
        row *= plan.max_grad_norm / np.linalg.norm(row)
        moved = np.rint((rest + row) * grid.scale) - np.rint(rest * grid.scale)
        assert (moved**2).sum() <= grid.sensitivity**2
    assert grid.sigma >= plan.local_noise_multiplier * grid.sensitivity
    assert plans.local_grid(noisy_plan(0.01), NET).sigma == plans.LEAST_LOCAL_SIGMA


def test_local_sampling_uses_the_devices_own_coins_and_noises_an_empty_batch():
    """Each row joins with the fixed rate; a batch that comes out empty still gets its noise."""
    taken = np.mean([local_training.sample_rows(100, 0.3, RandomStream(bytes([k]) * 32)).mean() for k in range(40)])
    assert 0.26 < taken < 0.34
    rows, labels = data(1)
    plan = noisy_plan(sampling_rate=1e-9)
    assert local_training.train(NET, plan, START, rows, labels, RandomStream(bytes(32))).any()
    silent = plans.LocalPlan(1, 1.0, 0.7, 10, 1.0, sampling_rate=1e-9)
    assert not local_training.train(NET, silent, START, rows, labels, RandomStream(bytes(32))).any()


def spoilt(kind):
    """A device's rows of which none can be used, in every way that rows can be so."""
    rows, labels = data(4)
    return {
        "no rows": (rows[:0], labels[:0]),
        "not finite": (np.full_like(rows, np.nan), labels),
        "overflow": (np.full_like(rows, 1.7e308) * np.array([1, -1, 1, -1, 1, -1]), labels),
        "labels": (rows, np.full(4, np.nan)),
    }[kind]


@pytest.mark.parametrize("kind", ["no rows", "not finite", "overflow", "labels"])
def test_with_local_noise_a_device_without_a_usable_row_sends_noise_in_every_coordinate(kind):
    """Its last row left out, or spoilt, a device's update is noise alone: an exact zero would tell it for certain."""
    plan = noisy_plan(steps=2)
    rows, labels = spoilt(kind)
    empty = local_training.train(NET, plan, START, rows, labels, RandomStream(bytes(32)))
    whole = local_training.train(NET, plan, START, *data(1), RandomStream(bytes(32)))
    assert np.count_nonzero(empty) == np.count_nonzero(whole) == NET.size
    assert empty.std() > plan.max_grad_norm


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_a_row_that_cannot_be_used_contributes_nothing_and_keeps_its_place(spoil):
    """With the same noise, a spoilt row gives what its zero-out gives: the other rows alone, no older one let in."""
    rows, labels = data(12)
    plan = noisy_plan(steps=2, maximum_rows=5, denominator=5.0)
    rows[-2] = spoil * np.array([1, -1, 1, -1, 1, -1])
    update = local_training.train(NET, plan, START, rows, labels, RandomStream(bytes(32)))
    kept = [-5, -4, -3, -1]
    alone = local_training.train(NET, plan, START, rows[kept], labels[kept], RandomStream(bytes(32)))
    np.testing.assert_allclose(update, alone, atol=1e-12)


def test_both_classes_cannot_be_asked_for_with_local_noise():
    """One row would decide whether a device trains at all, and the null in its place has no noise."""
    with pytest.raises(PlanInvalid, match="no local noise"):
        noisy_plan(both_classes=True)


def test_what_a_turn_costs_is_stated_as_an_event():
    """The event has the plan's figures; without local noise there is none, so no epsilon can be claimed."""
    (event,) = plans.local_events(noisy_plan(1.5, steps=3, sampling_rate=0.5))
    assert (event.noise_multiplier, event.sampling_rate, event.count) == (1.5, 0.5, 3)
    assert plans.local_events(PLAN) == ()
    with pytest.raises(PlanInvalid):
        plans.local_grid(PLAN, NET)


def test_a_device_that_cannot_learn_raises_what_its_caller_turns_into_a_null():
    """No rows, NaN, and one class where both are asked for."""
    rows, labels = data()
    both = plans.LocalPlan(1, 1.0, 0.7, 10, 1.0, both_classes=True)
    with pytest.raises(NoRows):
        local_training.train(NET, PLAN, START, rows[:0], labels[:0])
    with pytest.raises(NotFinite):
        local_training.train(NET, PLAN, START, np.where(rows > 1, np.nan, rows), labels)
    with pytest.raises(OneClass):
        local_training.train(NET, both, START, rows, np.ones(10))
    local_training.train(NET, PLAN, START, rows, np.ones(10))


def test_a_plan_that_does_not_fit_is_refused():
    """Shapes, labels, ranges and a missing random stream are errors of the study, not nulls."""
    rows, labels = data()
    with pytest.raises(ParametersInvalid):
        local_training.train(NET, PLAN, START, rows[:, :5], labels)
    with pytest.raises(ParametersInvalid):
        local_training.train(NET, PLAN, START, rows, labels * 2)
    with pytest.raises(PlanInvalid):
        local_training.train(NET, noisy_plan(), START, rows, labels)
    for change in ({"steps": 0}, {"max_grad_norm": math.inf}, {"sampling_rate": 0.0}, {"denominator": 0.0}):
        with pytest.raises(PlanInvalid):
            noisy_plan(**change)


def test_training_learns():
    """Repeated turns on separable rows rank the classes."""
    rows, _ = data(25, seed=9)
    labels = (rows[:, 0] > 0).astype(float)
    plan = plans.LocalPlan(steps=3, learning_rate=2.0, max_grad_norm=1.0, maximum_rows=25, denominator=25.0)
    flat = START.astype(np.float64)
    for _ in range(30):
        flat = flat + local_training.train(NET, plan, flat, rows, labels)
    predicted = scores(NET, flat, rows)
    assert predicted[labels == 1].mean() - predicted[labels == 0].mean() > 0.5
