"""The audit with one run: many canaries, each in or out by its own fair coin, and guesses after one release.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run" (NeurIPS 2023, arXiv 2305.08846), theorem 5.2.
Let each of m canaries be in or out independently with probability 1/2, and let the auditor guess r of them after
seeing the release, abstaining on the others. If the mechanism is (epsilon, delta)-DP with respect to each canary's
being in or out, then for every v

    P(at least v guesses are right) <= f(v) + 2 m delta max_{i = 1..m} (f(v - i) - f(v)) / i,

where ``f(v) = P(W >= v)`` and W is binomial with r trials at rate e^epsilon / (1 + e^epsilon). An epsilon at which the
right side is at most the significance is refuted, and every smaller one with it.

Unit and neighbours are the experiment's: where a canary is one device's report and "out" is the null report, they are
device level and zero-out, those of the claims that are audited. The bound speaks about this release and this attack:
it can refute a claim, never prove one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.audit.binomial import last_true, probabilities
from privacy.audit.errors import AuditInvalid
from privacy.audit.levels import check_levels, check_part

_GRID_RATIO = 1.25
_LEAST_GUESSES = 8
"""Eight right guesses of eight are refuted by chance at 1/256: fewer can show next to nothing at usual levels."""


@dataclass(frozen=True, slots=True)
class OneRunAudit:
    """The best bound of an audit and the guesses that gave it.

    Attributes:
        lower_bound: on epsilon at the audit's delta; holds with probability at least 1 - significance.
        guessed_in: how many of the highest scores were guessed "in" (k+).
        guessed_out: how many of the lowest scores were guessed "out" (k-).
        correct: how many of these guesses were right.
        examples: m, the number of canaries.
    """

    lower_bound: float
    guessed_in: int
    guessed_out: int
    correct: int
    examples: int


def one_run_p_value(guesses: int, correct: int, examples: int, epsilon: float, delta: float) -> float:
    """The right side of theorem 5.2: how likely so many right guesses are, at most, under (epsilon, delta)-DP.

    Args:
        guesses: r, 0 to m.
        correct: v, 0 to r.
        examples: m, the number of canaries, guessed or not.
        epsilon: the claim in question, at least 0 (unit and neighbours: the experiment's).
        delta: in [0, 1).

    Returns:
        A probability bound in [0, 1].
    """
    _check_counts(guesses, correct, examples)
    exactly = probabilities(guesses, 1.0 / (1.0 + math.exp(-epsilon)))
    at_least = float(exactly[correct:].sum())
    if correct == 0:
        return 1.0
    # f(v - i) - f(v) = P(v - i <= W < v); from i = v on the numerator no longer grows, so i = 1..v is enough.
    below = np.cumsum(exactly[correct - 1 :: -1])
    steepest = float(np.max(below / np.arange(1, correct + 1)))
    return min(1.0, at_least + 2.0 * examples * delta * steepest)


def one_run_lower_bound(guesses: int, correct: int, examples: int, delta: float, significance: float) -> float:
    """The largest epsilon that theorem 5.2 refutes: a lower bound on the mechanism's epsilon at ``delta``.

    It exceeds the true epsilon with probability at most ``significance``, if the number of guesses was fixed before
    the scores were seen (:func:`one_run_audit` corrects for trying several). In the range where anything is refuted
    the p-value rises with epsilon, so bisection finds the crossing; the lower end is returned.

    Args:
        guesses: r, 0 to m: the canaries that the auditor did not abstain on.
        correct: v, 0 to r.
        examples: m, the number of canaries.
        delta: in [0, 1), the claim's.
        significance: in (0, 1/2).

    Returns:
        Epsilon, at least 0 (unit and neighbours: the experiment's). 0 where nothing is refuted.

    Raises:
        AuditInvalid: the counts contradict each other, or a level is outside its range.
    """
    check_levels(delta, significance)
    _check_counts(guesses, correct, examples)

    def refuted(epsilon: float) -> bool:
        return one_run_p_value(guesses, correct, examples, epsilon, delta) <= significance

    if not refuted(0.0):
        return 0.0
    most = 1.0
    while refuted(most):
        most *= 2.0
    return last_true(refuted, 0.0, most)


def guess_plan(examples: int) -> tuple[tuple[int, int], ...]:
    """Pairs (k+, k-) to try: sizes from 8 to m, growing by a quarter; one-sided, and halved to both sides.

    They depend on the number of canaries alone, so they are fixed before any score is seen.
    """
    sizes: list[int] = []
    size = float(_LEAST_GUESSES)
    while size < examples:
        sizes.append(int(size))
        size *= _GRID_RATIO
    both = [(total // 2, total - total // 2) for total in (*sizes, examples)]
    return (*((total, 0) for total in sizes), *both)


def one_run_audit(
    scores: NDArray[np.float64],
    members: NDArray[np.bool_],
    *,
    delta: float,
    significance: float,
    plan: Sequence[tuple[int, int]] | None = None,
) -> OneRunAudit:
    """Guess "in" for the k+ highest scores and "out" for the k- lowest, for each pair of a plan; the best bound.

    Each pair is tested at ``significance / number of pairs`` (Bonferroni), so the best of them exceeds the true epsilon
    with probability at most ``significance``. The plan must not depend on the scores.

    Args:
        scores: float64[m], higher where the release speaks for the canary's presence; finite.
        members: bool[m], the coins: whether the canary was in.
        delta: in [0, 1), the claim's.
        significance: in (0, 1/2), for the whole audit.
        plan: pairs (k+, k-) with 1 <= k+ + k- <= m; :func:`guess_plan` unless given.

    Raises:
        AuditInvalid: shapes or levels are out of range, or the plan is empty or asks for too many guesses.
    """
    check_levels(delta, significance)
    _check_scores(scores, members)
    examples = scores.size
    pairs = guess_plan(examples) if plan is None else tuple(plan)
    if not pairs:
        raise AuditInvalid("expected at least one pair of guess counts, got none")
    ranked = members[np.argsort(scores, kind="stable")]
    best: OneRunAudit | None = None
    for highest, lowest in pairs:
        _check_pair(highest, lowest, examples)
        correct = int(ranked[examples - highest :].sum()) + int((~ranked[:lowest]).sum())
        bound = one_run_lower_bound(highest + lowest, correct, examples, delta, significance / len(pairs))
        if best is None or bound > best.lower_bound:
            best = OneRunAudit(bound, highest, lowest, correct, examples)
    assert best is not None
    return best


def _check_counts(guesses: int, correct: int, examples: int) -> None:
    check_part("guesses", guesses, "examples", examples)
    check_part("correct guesses", correct, "guesses", guesses)


def _check_pair(highest: int, lowest: int, examples: int) -> None:
    if highest < 0 or lowest < 0 or not 1 <= highest + lowest <= examples:
        raise AuditInvalid(f"expected guess counts that sum to 1 to {examples}, got {highest} and {lowest}")


def _check_scores(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> None:
    if scores.ndim != 1 or scores.shape != members.shape or scores.size == 0:
        raise AuditInvalid(f"expected as many scores as members, got shapes {scores.shape} and {members.shape}")
    if members.dtype != np.bool_:
        raise AuditInvalid(f"expected members as booleans, got {members.dtype}")
    if not bool(np.isfinite(scores).all()):
        raise AuditInvalid("expected finite scores, got NaN or infinities")
