"""A clipping norm that follows a quantile of the devices' norms, learned inside the same private sum.

Andrew, Thakkar, McMahan and Ramaswamy 2021, "Differentially Private Learning with Adaptive Clipping" (NeurIPS 2021,
arXiv 1905.03871), algorithm 1: every device also says whether its vector was within the current norm C; the noisy share
of those that were moves C geometrically, ``C <- C exp(-eta (share - gamma))``, until a share gamma of the vectors is
untouched. Here the indicator is one more entry of the device's one bounded vector, so it needs no second sum, no second
charge and no second noise.

*What a device sends.* Its vector g in R^d, clipped to C and divided by C, beside its indicator b (1 if g was within C):

    v = ( sqrt(1 - w^2) clip(g, C) / C ,   w (b - gamma) / m ),     m = max(gamma, 1 - gamma),

with w in (0, 1) the weight of the indicator. *Joint sensitivity.* ``||clip(g, C) / C|| <= 1`` and ``|b - gamma| <= m``,
hence ``||v||^2 <= (1 - w^2) + w^2 = 1``, for every g and every C. A null report is the zero vector, so replacing a
device's data by none (zero-out, device level) moves the sum of the v by at most 1 in L2, the clipping norm of the sum
that carries them: a study sets ``clip_norm = 1`` and ``dimension = d + 1``, whatever C becomes. The sum's own encoding
clips to 1 once more and asserts its bound in integers; nothing here needs to be trusted for privacy. (The paper sends
``b - 1/2`` with noise of its own and combines two multipliers; one joint vector of norm 1 is that combination. The
split costs the vector a factor 1 / sqrt(1 - w^2) in noise: half a percent at w = .1.)

*Why b - gamma and not b - 1/2.* Nulls contribute zero, and how many devices were real is private. The sum of b - gamma
over those that were is zero in expectation exactly where a share gamma of *them* is within C, so the norm settles at
the right quantile however wrong the count is that it is divided by (q N, or a released noisy count); with b - 1/2 it
would settle elsewhere for every gamma but 1/2. The count only scales the step.

*What noise does.* With noise of deviation s (in units of the sum: sqrt(2) z for both servers' at norm 1) the share is
known to ``s m / (w count)``: :func:`share_deviation`. It is unbiased; a step is at most ``exp(eta m)`` either way,
since the share's excess is cut at m on both sides, and the norm stays within [minimum, maximum], so no noise can run it
to zero or infinity. Near the quantile, where the share rises by kappa per unit of ln C, ln C is an autoregression with
deviation ``sqrt(eta (s_share^2 + gamma (1 - gamma) / count) / (kappa (2 - eta kappa)))``: small steps average it out.

*How a study uses it.* C in round t is a function of the releases before it and of study constants, so it costs nothing
beyond the sum: the leader computes it with :func:`advance` and the round carries it beside the model, under the model
hash that every device's mask is bound to. Plan and starting norm are constants of the study. On the device
``attach(g, C, plan)`` replaces the study's own scaling; the leader's ``detach`` of the decoded sum gives the sum of the
clipped vectors in their own unit and the share. Means divide by the same count that was given to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms.clipping import clip
from privacy.mechanisms.errors import QuantileInvalid

LEAST_NORM = 1e-100
MOST_NORM = 1e100
"""Norms between which dividing by one and multiplying by it loses nothing."""


@dataclass(frozen=True, slots=True)
class ClippingPlan:
    """What a study fixes about its moving norm; the same for every device and round.

    Attributes:
        quantile: gamma, the share of devices whose vectors shall stay untouched, in (0, 1). The paper finds 1/2 good.
        weight: w, the indicator's part of the unit norm, in (0, 1); the vector keeps sqrt(1 - w^2).
        learning_rate: eta, in (0, 4]: a round moves the norm by at most a factor exp(eta max(gamma, 1 - gamma)).
        minimum_norm: the norm never falls below, at least 1e-100.
        maximum_norm: nor rises above, at most 1e100.

    Raises:
        QuantileInvalid: a figure is out of range.
    """

    quantile: float = 0.5
    weight: float = 0.1
    learning_rate: float = 0.2
    minimum_norm: float = 1e-6
    maximum_norm: float = 1e6

    def __post_init__(self) -> None:
        for name, value, most in (
            ("quantile", self.quantile, math.nextafter(1.0, 0.0)),
            ("weight", self.weight, math.nextafter(1.0, 0.0)),
            ("learning_rate", self.learning_rate, 4.0),
        ):
            if not 0.0 < value <= most:  # false for NaN too
                raise QuantileInvalid(f"expected a {name} above 0 and at most {most:g}, got {value!r}")
        if not LEAST_NORM <= self.minimum_norm < self.maximum_norm <= MOST_NORM:
            raise QuantileInvalid(
                f"expected {LEAST_NORM:g} <= minimum_norm < maximum_norm <= {MOST_NORM:g}, "
                f"got {self.minimum_norm!r} and {self.maximum_norm!r}"
            )

    @property
    def largest_excess(self) -> float:
        """The most that one device's indicator, or a round's share, differs from gamma: m = max(gamma, 1 - gamma)."""
        return max(self.quantile, 1.0 - self.quantile)

    @property
    def vector_share(self) -> float:
        """sqrt(1 - w^2): what of the unit norm is the vector's."""
        return math.sqrt(1.0 - self.weight * self.weight)


@dataclass(frozen=True, slots=True)
class ClippingState:
    """Where the norm stands: a function of the releases so far, and of nothing else.

    Attributes:
        norm: C, the norm that the next round clips to, in the vector's own unit.
        rounds: how many releases it has learned from.

    Raises:
        QuantileInvalid: a norm that is zero, NaN or beyond what floats bear, or a negative count.
    """

    norm: float
    rounds: int = 0

    def __post_init__(self) -> None:
        if not LEAST_NORM <= self.norm <= MOST_NORM:  # false for NaN too
            raise QuantileInvalid(f"expected a clipping norm in [{LEAST_NORM:g}, {MOST_NORM:g}], got {self.norm!r}")
        if self.rounds < 0:
            raise QuantileInvalid(f"expected at least 0 rounds, got {self.rounds}")


@dataclass(frozen=True, slots=True)
class ClippedSum:
    """What a released sum says.

    Attributes:
        total: float64[d], the noisy sum of the clipped vectors in their own unit.
        share: the noisy share of real reports within the norm, as known from the count that was given; gamma at a norm
            that is right. Noise may carry it below 0 or above 1.
    """

    total: NDArray[np.float64]
    share: float


def attach(vector: NDArray[np.float64], norm: float, plan: ClippingPlan) -> NDArray[np.float64]:
    """The vector that a device sums: clipped, scaled to the unit ball, with its indicator behind. Run by the device.

    Args:
        vector: g, float64[d], finite, in its own unit.
        norm: C of this round, within the plan's bounds.
        plan: the study's.

    Returns:
        float64[d + 1] with L2 norm at most 1 (up to the last digit of a float; the sum's encoding enforces it exactly).

    Raises:
        QuantileInvalid: a norm that is zero, NaN or outside the plan's bounds.
        VectorInvalid: NaN or infinities, or the wrong shape or dtype.
    """
    _check_norm(norm, plan)
    clipped = clip(vector, norm)
    within = np.array_equal(clipped, vector)
    indicator = plan.weight * (within - plan.quantile) / plan.largest_excess
    return np.append(clipped * (plan.vector_share / norm), indicator)


def detach(total: NDArray[np.float64], norm: float, plan: ClippingPlan, count: float) -> ClippedSum:
    """Read a released sum: the sum of clipped vectors, and the share within the norm. Run by the leader.

    ``share = gamma + total[d] m / (w count)``.

    Args:
        total: float64[d + 1], the decoded sum of a round that clipped to ``norm``.
        norm: C of that round.
        plan: the study's.
        count: how many reports were real: q N, a constant, or a count that was itself released with noise. Never an
            exact private count. Positive.

    Raises:
        QuantileInvalid: a norm, count or total out of range.
    """
    _check_norm(norm, plan)
    _check_count(count)
    if total.ndim != 1 or total.size < 2 or not bool(np.isfinite(total).all()):  # noqa: PLR2004  # a vector and its indicator
        raise QuantileInvalid(f"expected a finite sum of at least two entries, got shape {total.shape}")
    excess = float(total[-1]) * plan.largest_excess / (plan.weight * count)
    return ClippedSum(total[:-1] * (norm / plan.vector_share), plan.quantile + excess)


def advance(state: ClippingState, share: float, plan: ClippingPlan) -> ClippingState:
    """The norm of the next round: ``C exp(-eta (share - gamma))``, the step and the norm bounded. Run by the leader.

    The excess is cut at m on either side and not at shares 0 and 1: cutting noise unevenly would move the quantile.

    Args:
        state: after the last round.
        share: from :func:`detach` of the round that clipped to ``state.norm``.
        plan: the study's.

    Raises:
        QuantileInvalid: a share that is not finite, or a norm outside the plan's bounds.
    """
    _check_norm(state.norm, plan)
    if not math.isfinite(share):
        raise QuantileInvalid(f"expected a finite share, got {share!r}")
    excess = max(-plan.largest_excess, min(plan.largest_excess, share - plan.quantile))
    norm = state.norm * math.exp(-plan.learning_rate * excess)
    return ClippingState(max(plan.minimum_norm, min(plan.maximum_norm, norm)), state.rounds + 1)


def share_deviation(plan: ClippingPlan, noise_deviation: float, count: float) -> float:
    """Standard deviation that a sum's noise gives the share of one round: ``s m / (w count)``.

    Args:
        plan: the study's.
        noise_deviation: s, of an entry of the decoded sum: sqrt(2) z where both servers add noise to norm 1.
        count: as in :func:`detach`.

    Raises:
        QuantileInvalid: a figure out of range.
    """
    _check_count(count)
    if not 0.0 <= noise_deviation < math.inf:
        raise QuantileInvalid(f"expected a finite noise deviation of at least 0, got {noise_deviation!r}")
    return noise_deviation * plan.largest_excess / (plan.weight * count)


def _check_norm(norm: float, plan: ClippingPlan) -> None:
    if not plan.minimum_norm <= norm <= plan.maximum_norm:  # false for NaN too
        raise QuantileInvalid(
            f"expected a clipping norm in [{plan.minimum_norm:g}, {plan.maximum_norm:g}], got {norm!r}"
        )


def _check_count(count: float) -> None:
    if not 0.0 < count < math.inf:
        raise QuantileInvalid(f"expected a positive finite count, got {count!r}")
