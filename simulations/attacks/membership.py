"""The membership attack: many small exchanges with one canary device in, as many with it out.

A cohort of two, the smallest that a helper answers: the canary (one entry, the largest value that a report may hold) or
its null, beside a device that is always null. The adversary guesses "in" above thresholds that are fixed beforehand
and lie where the likelihood ratio of a worse mechanism would betray it. Percent-sized rates need a few thousand trials,
so claim and bound are compared at a delta of one percent: the same noise claims an epsilon at every delta.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from privacy.accounting import SumEvent, epsilon
from privacy.audit import membership_audit, membership_lower_bound
from privacy.secure_sum import SumParameters
from simulations.attacks.exchanges import leaders_view
from simulations.attacks.verdicts import SENSITIVITY, Advance, Setting, Verdict, check_reach

DELTA = 1e-2
_BETWEEN = (0.5, 0.95)
_OF_THE_CLAIM = (0.25, 0.35, 0.5, 1.0)


def fixed_thresholds(claimed: float, noise_multiplier: float) -> tuple[float, ...]:
    """Thresholds in sensitivities, from the claim alone.

    Half way and just below one find noise that is nearly gone. At ``1/2 + epsilon z^2`` the likelihood ratio of noise
    z is e^epsilon, where the honest mechanism is nearest to its claim; parts of that suit smaller noise.
    """
    return (*_BETWEEN, *(0.5 + part * claimed * noise_multiplier**2 for part in _OF_THE_CLAIM))


def audit_membership(setting: Setting, trials: int, advance: Advance = lambda _: None, delta: float = DELTA) -> Verdict:
    """``trials`` exchanges with the canary in and as many with it out; the best of the fixed thresholds.

    Args:
        setting: what is audited.
        trials: in each of the two worlds, at least 1.
        advance: told after every exchange.
        delta: in (0, 1).

    Raises:
        PowerMissing: not even scores without an error could refute the claim in so many trials.
    """
    params = SumParameters(1, 1.0, SENSITIVITY, setting.noise_multiplier, maximum_cohort=2, minimum_cohort=2)
    canary = np.ones(1)

    def seen(world: str, trial: int) -> float:
        vectors = [canary if world == "in" else None, None]
        view = leaders_view(vectors, params, seed=setting.seed, label=(world, trial), noise_factor=setting.noise_factor)
        advance(1)
        return float(view[0])

    claimed = epsilon([SumEvent(setting.noise_multiplier, 1.0)], delta, "pld")
    return tell_apart("membership", seen, trials, setting, claimed, delta)


def tell_apart(
    attack: str, score: Callable[[str, int], float], trials: int, setting: Setting, claimed: float, delta: float
) -> Verdict:
    """Score both worlds and bound epsilon by the best of the fixed thresholds.

    Args:
        attack: its name.
        score: of a world, "in" or "out", and a trial; in sensitivities. Called only if the attack has power.
        trials: in each world.
        setting: what is audited.
        claimed: epsilon at ``delta``.
        delta: in (0, 1).

    Raises:
        PowerMissing: not even scores without an error could refute the claim in so many trials.
    """
    thresholds = fixed_thresholds(claimed, setting.noise_multiplier)
    levels = {"delta": delta, "significance": setting.significance}
    reach = membership_lower_bound(trials, trials, 0, trials, delta, setting.significance / len(thresholds))
    check_reach(attack, reach, claimed, f"{trials} trials")
    inside, outside = (np.array([score(world, trial) for trial in range(trials)]) for world in ("in", "out"))
    audit = membership_audit(inside, outside, thresholds, **levels)
    details: dict[str, float] = {
        "reach": reach,
        "trials": 2 * trials,
        "threshold": audit.threshold,
        "true_positives": audit.true_positives,
        "positives": audit.positives,
        "false_positives": audit.false_positives,
        "negatives": audit.negatives,
    }
    return Verdict(attack, claimed, audit.lower_bound, delta, setting.significance, details)
