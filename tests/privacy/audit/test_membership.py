"""The membership-inference bound: its formula, its coverage and what it refuses."""

import math

import numpy as np
import pytest
from scipy import stats

from privacy.audit import AuditInvalid, membership_lower_bound


def test_bound_is_the_log_ratio_of_clopper_pearson_bounds() -> None:
    """900 of 1,000 hits and 10 of 1,000 alarms: ln((TPR - delta) / FPR), each bound at half the significance."""
    hits = stats.beta.ppf(0.025, 900, 101)
    alarms = stats.beta.ppf(0.975, 11, 990)
    expected = math.log((hits - 1e-3) / alarms)
    assert membership_lower_bound(900, 1_000, 10, 1_000, 1e-3, 0.05) == pytest.approx(expected, rel=1e-9)


def test_the_other_inequality_counts_too() -> None:
    """An attack that is sure only of absence is as strong: the bound is symmetric under exchanging the two worlds."""
    sure_of_absence = membership_lower_bound(990, 1_000, 100, 1_000, 1e-3, 0.05)
    assert sure_of_absence == pytest.approx(membership_lower_bound(900, 1_000, 10, 1_000, 1e-3, 0.05), rel=1e-9)


@pytest.mark.parametrize("counts", [(500, 1_000, 500, 1_000), (0, 1_000, 1_000, 1_000), (0, 0, 0, 0), (5, 5, 0, 0)])
def test_nothing_learned_is_zero(counts: tuple[int, int, int, int]) -> None:
    """Chance, an attack that is always wrong and an experiment without trials refute nothing."""
    assert membership_lower_bound(*counts, 1e-6, 0.05) == 0.0


def test_a_perfect_attack_gives_a_finite_bound() -> None:
    """1,000 of 1,000 and 0 of 1,000 is bounded by what 1,000 trials can show."""
    bound = membership_lower_bound(1_000, 1_000, 0, 1_000, 0.0, 0.05)
    assert 5.0 < bound < math.log(1_000)


def test_the_bound_is_wrong_no_more_often_than_its_significance() -> None:
    """Randomised response at epsilon 1, audited 400 times: the bound exceeds 1 at most about one time in ten."""
    generator = np.random.default_rng(7)
    right = math.e / (1 + math.e)
    hits = generator.binomial(500, right, 400)
    alarms = generator.binomial(500, 1 - right, 400)
    wrong = sum(
        membership_lower_bound(int(hit), 500, int(alarm), 500, 0.0, 0.1) > 1.0
        for hit, alarm in zip(hits, alarms, strict=True)
    )
    assert wrong <= 40


@pytest.mark.parametrize(
    ("counts", "delta", "significance"),
    [
        ((11, 10, 0, 10), 0.0, 0.05),
        ((5, 10, 11, 10), 0.0, 0.05),
        ((-1, 10, 0, 10), 0.0, 0.05),
        ((5, 10, 0, 10), -0.1, 0.05),
        ((5, 10, 0, 10), 0.0, 0.0),
        ((5, 10, 0, 10), float("nan"), 0.05),
    ],
)
def test_impossible_counts_and_levels_are_refused(
    counts: tuple[int, int, int, int], delta: float, significance: float
) -> None:
    """More positives than trials or a level out of range is an error, not a bound."""
    with pytest.raises(AuditInvalid, match="expected"):
        membership_lower_bound(*counts, delta, significance)
