"""The one-run audit: published known answers, the theorem written out a second time, and what it must refuse."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from privacy.audit import AuditInvalid, guess_plan, one_run_audit, one_run_lower_bound, one_run_p_value

CANARIES = 10_000


def deterministic_normals(count: int) -> np.ndarray:
    """The quantiles of the standard normal at (i + 1/2) / n."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((index + 0.5) / count) for index in range(count)])


def roc_vertices(inside: np.ndarray, outside: np.ndarray) -> list[tuple[int, int]]:
    """Vertices (false negatives, true negatives) of the ROC curve's convex hull, over all thresholds."""
    thresholds = np.append(np.union1d(inside, outside), np.inf)
    missed = np.searchsorted(np.sort(inside), thresholds).tolist()
    rejected = np.searchsorted(np.sort(outside), thresholds).tolist()
    hull: list[tuple[int, int]] = []
    for point in zip(missed, rejected, strict=True):
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _turns_up(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> bool:
    before = (second[1] - first[1]) * (third[0] - second[0])
    after = (third[1] - second[1]) * (second[0] - first[0])
    return before <= after


@pytest.mark.parametrize(("shift", "expected"), [(0, 0.0), (1, 1.13346), (2, 2.311945), (4, 4.395568)])
def test_known_answers_of_deterministic_normals(shift: int, expected: float) -> None:
    """10,000 canaries in and 10,000 out, significance .05, delta 1e-6: the bounds that JAX Privacy's tests state.

    Their audit guesses "in" above a threshold, for each vertex of the ROC curve's hull, at the significance divided by
    the number of vertices. (That number depends on the scores, so our own audit fixes its plan beforehand instead.)
    """
    outside = deterministic_normals(CANARIES)
    vertices = roc_vertices(outside + shift, outside)
    level = 0.05 / len(vertices)
    best = 0.0
    for missed, rejected in vertices:
        correct, guesses = CANARIES - missed, 2 * CANARIES - missed - rejected
        if guesses and one_run_p_value(guesses, correct, 2 * CANARIES, best, 1e-6) <= level:
            best = max(best, one_run_lower_bound(guesses, correct, 2 * CANARIES, 1e-6, level))
    assert best == pytest.approx(expected, rel=1e-5)


@given(
    st.integers(1, 60),
    st.data(),
    st.floats(0, 6),
    st.sampled_from([0.0, 1e-6, 1e-3, 0.3]),
    st.sampled_from([60, 2_000]),
)
def test_p_value_is_the_theorem(guesses: int, data: st.DataObject, epsilon: float, delta: float, examples: int) -> None:
    """The p-value is theorem 5.2 written out with scipy's tails, over every i from 1 to m."""
    correct = data.draw(st.integers(0, guesses))
    rate = 1 / (1 + np.exp(-epsilon))
    tail = stats.binom.sf(correct - 1, guesses, rate)
    shifts = np.arange(1, examples + 1)
    steepest = np.max((stats.binom.sf(correct - shifts - 1, guesses, rate) - tail) / shifts)
    expected = min(1.0, tail + 2 * examples * delta * max(0.0, steepest))
    assert one_run_p_value(guesses, correct, examples, epsilon, delta) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_without_delta_the_bound_is_the_binomial_quantile() -> None:
    """All of r guesses right refutes exactly the epsilons with rate^r <= significance."""
    rate = 0.05 ** (1 / 200)
    assert one_run_lower_bound(200, 200, 1_000, 0.0, 0.05) == pytest.approx(np.log(rate / (1 - rate)), rel=1e-9)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.0, 1e-6, 1e-4]), st.sampled_from([0.4, 0.05, 1e-4]))
def test_everything_below_the_bound_is_refuted(guesses: int, data: st.DataObject, delta: float, level: float) -> None:
    """Each epsilon up to the bound is refuted and the next is not: bisection meets the first crossing."""
    correct = data.draw(st.integers(guesses // 2, guesses))
    bound = one_run_lower_bound(guesses, correct, 400, delta, level)
    assert one_run_p_value(guesses, correct, 400, bound + 1e-6, delta) > level
    assume(bound > 0)
    for epsilon in np.linspace(0, bound, 20):
        assert one_run_p_value(guesses, correct, 400, float(epsilon), delta) <= level


@given(st.integers(1, 300), st.data())
def test_delta_only_weakens_the_bound(guesses: int, data: st.DataObject) -> None:
    """A larger delta refutes less, and so do more canaries that nothing was guessed about."""
    correct = data.draw(st.integers(0, guesses))
    exact = one_run_lower_bound(guesses, correct, 300, 0.0, 0.05)
    assert one_run_lower_bound(guesses, correct, 300, 1e-4, 0.05) <= exact
    assert one_run_lower_bound(guesses, correct, 3_000, 1e-4, 0.05) <= one_run_lower_bound(
        guesses, correct, 300, 1e-4, 0.05
    )


def test_guessing_by_chance_refutes_nothing() -> None:
    """Half of the guesses right says nothing about epsilon; no guess at all says nothing either."""
    assert one_run_lower_bound(1_000, 500, 1_000, 1e-6, 0.05) == 0.0
    assert one_run_lower_bound(0, 0, 1_000, 1e-6, 0.05) == 0.0


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_audit_is_wrong_no_more_often_than_its_significance(noise: float) -> None:
    """Randomised response of known epsilon, audited 200 times: the bound exceeds it at most about one time in ten."""
    generator = np.random.default_rng(int(noise * 10))
    right = 1 / (1 + np.exp(-noise))
    wrong = 0
    for _ in range(200):
        members = generator.random(300) < 0.5
        answers = np.where(generator.random(300) < right, members, ~members)
        scores = answers + 1e-3 * generator.random(300)
        wrong += one_run_audit(scores, members, delta=0.0, significance=0.1).lower_bound > noise
    assert wrong <= 20 + 3 * np.sqrt(200 * 0.1 * 0.9)


def test_the_audit_finds_a_certain_attack() -> None:
    """Scores that tell members from others give the bound of all guesses right, corrected for the plan's length."""
    members = np.arange(1_000) % 3 == 0
    audit = one_run_audit(members.astype(np.float64), members, delta=0.0, significance=0.05, plan=[(333, 600), (10, 0)])
    assert (audit.guessed_in, audit.guessed_out, audit.correct, audit.examples) == (333, 600, 933, 1_000)
    assert audit.lower_bound == one_run_lower_bound(933, 933, 1_000, 0.0, 0.025)


def test_scores_that_point_the_wrong_way_refute_nothing() -> None:
    """The sign of the score matters: an attack that is always wrong is no evidence."""
    members = np.arange(1_000) % 2 == 0
    scores = -members.astype(np.float64)
    assert one_run_audit(scores, members, delta=0.0, significance=0.05).lower_bound == 0.0


def test_the_plan_depends_on_the_number_of_canaries_alone() -> None:
    """The default plan asks for at most m guesses, one-sided and two-sided, and ends with guessing about everyone."""
    for examples in (1, 8, 9, 1_000):
        plan = guess_plan(examples)
        assert all(1 <= highest + lowest <= examples for highest, lowest in plan)
        assert sum(plan[-1]) == examples
    assert (8, 0) in guess_plan(1_000)
    assert (4, 4) in guess_plan(1_000)


@pytest.mark.parametrize(
    ("guesses", "correct", "examples", "delta", "significance"),
    [(11, 5, 10, 0, 0.05), (5, 6, 10, 0, 0.05), (5, -1, 10, 0, 0.05), (5, 5, 10, 1.0, 0.05), (5, 5, 10, 0, 0.5)],
)
def test_impossible_counts_and_levels_are_refused(
    guesses: int, correct: int, examples: int, delta: float, significance: float
) -> None:
    """More guesses than canaries, more right than guessed, or a level out of range is an error, not a bound."""
    with pytest.raises(AuditInvalid, match="expected"):
        one_run_lower_bound(guesses, correct, examples, delta, significance)


@pytest.mark.parametrize(
    ("scores", "members", "plan"),
    [
        (np.zeros(3), np.zeros(2, dtype=bool), None),
        (np.zeros(0), np.zeros(0, dtype=bool), None),
        (np.zeros(3), np.zeros(3), None),
        (np.full(3, np.nan), np.zeros(3, dtype=bool), None),
        (np.zeros(3), np.zeros(3, dtype=bool), []),
        (np.zeros(3), np.zeros(3, dtype=bool), [(2, 2)]),
        (np.zeros(3), np.zeros(3, dtype=bool), [(0, 0)]),
    ],
)
def test_scores_that_no_experiment_gives_are_refused(scores: np.ndarray, members: np.ndarray, plan: object) -> None:
    """Shapes that differ, nothing at all, NaN, integer coins and unusable plans are errors."""
    with pytest.raises(AuditInvalid, match="expected"):
        one_run_audit(scores, members, delta=0.0, significance=0.05, plan=plan)
