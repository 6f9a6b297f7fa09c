"""The membership-inference audit: one canary, many independent trials, decision rules that were fixed before.

(epsilon, delta)-DP limits every test of "was it in?" (Wasserman and Zhou 2010, theorem 2.4; Kairouz, Oh and Viswanath
2015, theorem 2.1):

    TPR <= e^epsilon FPR + delta      and      TNR <= e^epsilon FNR + delta.

So epsilon is at least ``ln((TPR - delta) / FPR)`` and at least ``ln((TNR - delta) / FNR)``. The rates are unknown; they
are bounded from the counts by Clopper and Pearson 1934, each at half the significance (both inequalities use the
same two bounds). The trials must be independent and the rule fixed before them; where several rules are tried, each is
tested at its part of the significance (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.audit.binomial import lower_bound, upper_bound
from privacy.audit.errors import AuditInvalid
from privacy.audit.levels import check_levels, check_part


@dataclass(frozen=True, slots=True)
class MembershipAudit:
    """The best bound of an audit and the rule that gave it.

    Attributes:
        lower_bound: on epsilon at the audit's delta; holds with probability at least 1 - significance.
        threshold: the rule: "in" where the score is above it.
        true_positives: trials with the canary in, guessed "in".
        positives: trials with the canary in.
        false_positives: trials with the canary out, guessed "in".
        negatives: trials with the canary out.
    """

    lower_bound: float
    threshold: float
    true_positives: int
    positives: int
    false_positives: int
    negatives: int


def membership_lower_bound(
    true_positives: int,
    positives: int,
    false_positives: int,
    negatives: int,
    delta: float,
    significance: float,
) -> float:
    """A lower bound on epsilon at ``delta`` from how often an attack was right.

    It exceeds the true epsilon with probability at most ``significance``. Unit and neighbours are the experiment's:
    device level and zero-out where a trial's canary is one device's report or null.

    Args:
        true_positives: trials with the canary in, guessed "in"; 0 to positives.
        positives: trials with the canary in.
        false_positives: trials with the canary out, guessed "in"; 0 to negatives.
        negatives: trials with the canary out.
        delta: in [0, 1), the claim's.
        significance: in (0, 1/2).

    Returns:
        Epsilon, at least 0 and finite. 0 where nothing is refuted.

    Raises:
        AuditInvalid: the counts contradict each other, or a level is outside its range.
    """
    check_levels(delta, significance)
    check_part("true positives", true_positives, "positives", positives)
    check_part("false positives", false_positives, "negatives", negatives)
    hits = lower_bound(true_positives, positives, significance / 2)
    alarms = upper_bound(false_positives, negatives, significance / 2)
    return max(0.0, _log_ratio(hits - delta, alarms), _log_ratio(1.0 - alarms - delta, 1.0 - hits))


def membership_audit(
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    thresholds: Sequence[float],
    *,
    delta: float,
    significance: float,
) -> MembershipAudit:
    """Guess "in" above each of several thresholds, fixed before the scores were seen; the best bound.

    Each threshold is tested at ``significance / number of thresholds``, so the best of them exceeds the true epsilon
    with probability at most ``significance``. Unit and neighbours are the experiment's.

    Args:
        inside: float64[p], one score for each independent trial with the canary in; finite.
        outside: float64[n], likewise with the canary out.
        thresholds: at least one, finite; they must not depend on the scores.
        delta: in [0, 1), the claim's.
        significance: in (0, 1/2), for the whole audit.

    Raises:
        AuditInvalid: scores or thresholds that are not finite, no threshold, or a level out of its range.
    """
    check_levels(delta, significance)
    for name, scores in (("inside", inside), ("outside", outside), ("thresholds", np.asarray(thresholds))):
        if scores.ndim != 1 or scores.size == 0 or not bool(np.isfinite(scores).all()):
            raise AuditInvalid(f"expected finite {name} in one dimension, at least one, got shape {scores.shape}")
    found = []
    for threshold in thresholds:
        hits, alarms = int((inside > threshold).sum()), int((outside > threshold).sum())
        level = significance / len(thresholds)
        bound = membership_lower_bound(hits, inside.size, alarms, outside.size, delta, level)
        found.append(MembershipAudit(bound, threshold, hits, inside.size, alarms, outside.size))
    return max(found, key=lambda audit: audit.lower_bound)


def _log_ratio(above: float, below: float) -> float:
    # "below" is an upper bound on a rate, positive for any finite number of trials.
    return math.log(above / below) if above > 0.0 else 0.0
