"""The membership-inference bound: its formula, its coverage and what it refuses."""

import math

import numpy as np
import pytest
from scipy import stats

from privacy.audit import AuditInvalid, membership_audit, membership_lower_bound


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


SCORES = np.array([0.0, 1.0, 2.0, 3.0])


def test_the_best_of_several_rules_is_corrected_for_their_number() -> None:
    """Two thresholds are tested at half the significance each, and the better one is reported with its counts."""
    inside, outside = np.repeat([0.0, 2.0], [100, 900]), np.repeat([0.0, 2.0], [990, 10])
    audit = membership_audit(inside, outside, [1.0, 5.0], delta=1e-3, significance=0.05)
    assert (audit.threshold, audit.true_positives, audit.false_positives) == (1.0, 900, 10)
    assert (audit.positives, audit.negatives) == (1_000, 1_000)
    assert audit.lower_bound == membership_lower_bound(900, 1_000, 10, 1_000, 1e-3, 0.025)


def test_several_rules_are_wrong_no_more_often_than_the_significance() -> None:
    """A Gaussian of multiplier 1 at delta .1, attacked 300 times at six thresholds: at most one in ten exceeds 1.16."""
    generator = np.random.default_rng(11)
    plan = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    wrong = sum(
        membership_audit(
            generator.normal(1.0, size=400), generator.normal(size=400), plan, delta=0.1, significance=0.1
        ).lower_bound
        > 1.16
        for _ in range(300)
    )
    assert wrong <= 30


@pytest.mark.parametrize(
    ("inside", "outside", "thresholds"),
    [
        (SCORES, SCORES, []),
        (SCORES, SCORES, [np.nan]),
        (np.array([]), SCORES, [1.0]),
        (SCORES, np.array([np.inf]), [1.0]),
        (SCORES.reshape(2, 2), SCORES, [1.0]),
    ],
)
def test_scores_and_rules_that_say_nothing_are_refused(
    inside: np.ndarray, outside: np.ndarray, thresholds: list[float]
) -> None:
    """No threshold, NaN, infinities, tables and an experiment without trials are errors."""
    with pytest.raises(AuditInvalid, match="expected"):
        membership_audit(inside, outside, thresholds, delta=0.0, significance=0.05)
