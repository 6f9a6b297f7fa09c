"""The attacks on the real exchange: within the claim with the declared noise, beyond it with less."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from privacy.secure_sum import SumParameters, decode, encode
from simulations.attacks import PowerMissing, Setting, Verdict, audit_membership, audit_one_run, exchanges
from simulations.attacks.canaries import _Canaries
from simulations.attacks.exchanges import HookBroken, leaders_view
from simulations.attacks.membership import fixed_thresholds
from simulations.attacks.training import audit_training

HONEST = Setting(seed=1, noise_multiplier=1.0, noise_factor=1.0, significance=0.05)
SILENT = replace(HONEST, noise_factor=0.0)
HALVED = replace(HONEST, noise_factor=0.5)
PARAMS = SumParameters(400, 1.0, 2**20, 1.0, maximum_cohort=4, minimum_cohort=2)
VECTORS = [np.full(400, 0.03), None, np.linspace(-0.05, 0.05, 400)]


def truth() -> np.ndarray:
    """The sum that the devices really sent, on the grid."""
    return sum(encode(vector, PARAMS) for vector in VECTORS if vector is not None)


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0])
def test_the_leader_sees_the_sum_and_the_helpers_noise_alone(factor: float) -> None:
    """What is left beside the true sum are whole grid steps with the declared deviation times the factor."""
    seen = leaders_view(VECTORS, PARAMS, seed=3, label="view", noise_factor=factor)
    noise = np.rint(seen * PARAMS.scale) - truth()
    np.testing.assert_allclose(seen * PARAMS.scale, truth() + noise, atol=1e-3)
    assert np.std(noise) == pytest.approx(factor * PARAMS.noise_sigma, rel=0.15)


def test_without_noise_the_leader_sees_the_sum() -> None:
    """The hook takes out exactly what the helper added."""
    assert (
        leaders_view(VECTORS, PARAMS, seed=3, label="view", noise_factor=0.0).tolist()
        == decode(truth(), PARAMS).tolist()
    )


def test_a_hook_that_misses_the_noise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the exchange drew its noise elsewhere, the hook would say so and not report a bound."""
    monkeypatch.setattr(exchanges, "_ROUND_KEY_BYTES", 95)
    with pytest.raises(HookBroken):
        leaders_view(VECTORS, PARAMS, seed=3, label="view", noise_factor=0.5)


def test_an_honest_exchange_needs_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """At factor 1 the hook is not even asked: the audit of the declared noise is of the exchange alone."""
    monkeypatch.delattr(exchanges, "_helpers_noise")
    assert leaders_view(VECTORS, PARAMS, seed=3, label="view").shape == (400,)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_one_run_finds_something_and_stays_within_the_claim(seed: int) -> None:
    """With the declared noise the bound is above nothing and at most the claim, for several seeds."""
    verdict = audit_one_run(replace(HONEST, seed=seed), 2_000)
    assert 0.0 < verdict.lower_bound <= verdict.epsilon_claimed == pytest.approx(4.887, abs=1e-3)
    assert not verdict.exceeded


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_run_exceeds_the_claim_without_noise(seed: int) -> None:
    """The audit can fail: with the helper's noise taken out, one exchange refutes the claim."""
    verdict = audit_one_run(replace(SILENT, seed=seed), 2_000)
    assert verdict.exceeded
    assert verdict.lower_bound > verdict.epsilon_claimed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_membership_finds_something_and_stays_within_the_claim(seed: int) -> None:
    """400 trials each way with the declared noise."""
    verdict = audit_membership(replace(HONEST, seed=seed), 400)
    assert 0.3 < verdict.lower_bound <= verdict.epsilon_claimed == pytest.approx(2.318, abs=1e-3)


def test_membership_exceeds_the_claim_with_half_the_noise() -> None:
    """The audit can fail: at delta .1, where rates are large, 400 trials each way find half of the noise missing."""
    assert audit_membership(HALVED, 400, delta=0.1).exceeded
    assert not audit_membership(HONEST, 400, delta=0.1).exceeded


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(10))
def test_many_trials_find_half_of_the_noise_missing_and_none_where_it_is_not(seed: int) -> None:
    """The command's own 2,000 trials each way: half of the noise exceeds the claim, the declared noise does not."""
    assert audit_membership(replace(HALVED, seed=seed, significance=0.025), 2_000).exceeded
    assert not audit_membership(replace(HONEST, seed=seed, significance=0.025), 2_000).exceeded
    assert not audit_one_run(replace(HONEST, seed=seed, significance=0.025), 2_000).exceeded
    assert audit_one_run(replace(SILENT, seed=seed, significance=0.025), 2_000).exceeded


def test_training_is_within_its_claim_and_beyond_it_without_noise() -> None:
    """Sixty trainings with the canary and sixty without, at delta .1; its four rounds claim what one with z does."""
    honest = audit_training(HONEST, 60, delta=0.1)
    assert honest.lower_bound <= honest.epsilon_claimed == pytest.approx(1.16, abs=2e-3)
    assert audit_training(SILENT, 60, delta=0.1).exceeded


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(3))
def test_many_trainings_find_half_of_the_noise_missing(seed: int) -> None:
    """400 trainings each way, at delta .1: half of the noise exceeds the claim of the whole training, all of it not."""
    assert audit_training(replace(HALVED, seed=seed), 400, delta=0.1).exceeded
    assert not audit_training(replace(HONEST, seed=seed), 400, delta=0.1).exceeded


@pytest.mark.parametrize(
    "attack",
    [
        lambda: audit_one_run(HONEST, 100),
        lambda: audit_membership(HONEST, 20),
        lambda: audit_training(HONEST, 20),
        lambda: audit_one_run(HONEST, 2_000, delta=1e-3),
    ],
)
def test_a_check_that_cannot_fail_is_refused(attack) -> None:
    """An attack whose perfect result would be within the claim is an error and says what it could show."""
    with pytest.raises(PowerMissing, match="at most"):
        attack()


def test_equal_seeds_give_equal_verdicts_and_others_do_not() -> None:
    """Everything that chance decides comes from the seed."""
    first, again = (audit_membership(HONEST, 100, delta=0.1) for _ in range(2))
    assert first == again
    assert audit_membership(replace(HONEST, seed=2), 100, delta=0.1).details != first.details


def test_progress_counts_every_exchange() -> None:
    """What a progress bar is told adds up to the exchanges made."""
    made: list[int] = []
    audit_membership(HONEST, 100, made.append, delta=0.1)
    assert sum(made) == 200
    audit_one_run(SILENT, 2_000, made.append)
    assert sum(made) == 201


def test_thresholds_depend_on_the_claim_alone() -> None:
    """One lies half way, one just below the canary, the last where the honest likelihood ratio is e^epsilon."""
    thresholds = fixed_thresholds(2.0, 1.5)
    assert thresholds[:2] == (0.5, 0.95)
    assert thresholds[-1] == 0.5 + 2.0 * 1.5**2


def test_canaries_are_made_when_asked_for() -> None:
    """Members have their own coordinate, the others are null; slices are lists of the same."""
    canaries = _Canaries(np.array([True, False, True]))
    assert [None if vector is None else vector.tolist() for vector in canaries] == [[1, 0, 0], None, [0, 0, 1]]
    assert canaries[1:][0] is None
    assert len(canaries) == 3


def test_a_verdict_compares_and_is_plain_data() -> None:
    """Margin and exceedance follow from bound and claim; details are JSON."""
    verdict = Verdict("x", 1.0, 1.25, 1e-6, 0.05, {"reach": 2.0})
    assert verdict.exceeded
    assert math.isclose(verdict.margin, 0.25)
    assert json.loads(json.dumps(verdict.details)) == {"reach": 2.0}
    assert not replace(verdict, lower_bound=1.0).exceeded
