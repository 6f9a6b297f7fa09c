"""The membership attack on training: was the canary's row learned from? Many trainings with it, many without.

A logistic regression is trained over a few rounds on the synthetic rows of eight devices and the canary, or its null,
through the private sum. The adversary sees every round's sum and, as differential privacy allows, knows everybody
else's rows: in each round it takes the others' updates off and measures how much of the canary's is left. The canary's
row is its own adversary's choice, so large that its clipped update always has the full norm.

Each round has noise multiplier ``z sqrt(rounds)``, so that the whole training claims what one release with z claims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.learning.nets import Net, initial
from models.learning.plans import LocalPlan
from models.learning.vectorised import train_many
from privacy.accounting import SumEvent, epsilon
from privacy.secure_sum import SumParameters
from simulations.attacks.exchanges import leaders_view
from simulations.attacks.membership import DELTA, tell_apart
from simulations.attacks.verdicts import SENSITIVITY, Advance, Setting, Verdict

ROUNDS = 4
OTHERS = 8
_NET = Net(features=6, hidden=0)
_PLAN = LocalPlan(steps=1, learning_rate=1.0, max_grad_norm=1.0, maximum_rows=4, denominator=1.0)
_SERVER_RATE = 0.1
_CANARY_SIZE = 50.0


@dataclass(frozen=True, slots=True)
class _Population:
    """Everybody's rows: float64[devices, rows, features] and labels; the canary is the last device."""

    rows: NDArray[np.float64]
    labels: NDArray[np.float64]

    def updates(self, model: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each device would send from this model, in the ball of norm 1 (float64[devices, net.size])."""
        found = train_many(_NET, _PLAN, model, self.rows, self.labels)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, 1.0))


def audit_training(setting: Setting, trials: int, advance: Advance = lambda _: None, delta: float = DELTA) -> Verdict:
    """Train ``trials`` times with the canary and as often without; the best of the fixed thresholds.

    Args:
        setting: what is audited; its noise multiplier is that of the whole training.
        trials: in each of the two worlds, at least 1.
        advance: told after every exchange.
        delta: in (0, 1).

    Raises:
        PowerMissing: not even scores without an error could refute the claim in so many trials.
    """
    per_round = setting.noise_multiplier * math.sqrt(ROUNDS)
    params = SumParameters(_NET.size, 1.0, SENSITIVITY, per_round, OTHERS + 1, minimum_cohort=2)
    population = _draw_population(setting.seed)
    claimed = epsilon([SumEvent(per_round, 1.0, ROUNDS)], delta, "pld")

    def score(world: str, trial: int) -> float:
        return _attack(population, params, setting, (world, trial), advance)

    return tell_apart("model", score, trials, setting, claimed, delta)


def _attack(
    population: _Population, params: SumParameters, setting: Setting, label: tuple[str, int], advance: Advance
) -> float:
    """Train once; the score: the mean over rounds of what is left along the canary's own update."""
    model = initial(_NET, setting.seed).astype(np.float64)
    score = 0.0
    for round_number in range(ROUNDS):
        updates = population.updates(model)
        others, canary = updates[:-1], updates[-1]
        sent = [*others, canary if label[0] == "in" else None]
        total = leaders_view(
            sent, params, seed=setting.seed, label=("model", label, round_number), noise_factor=setting.noise_factor
        )
        advance(1)
        score += float(canary @ (total - others.sum(axis=0))) / ROUNDS
        model = model + _SERVER_RATE * total / len(sent)
    return score


def _draw_population(seed: int) -> _Population:
    """Synthetic rows with a linear truth; the canary's are large and all point one way, against it."""
    generator = np.random.default_rng(seed)
    truth = generator.standard_normal(_NET.features)
    rows = generator.standard_normal((OTHERS + 1, _PLAN.maximum_rows, _NET.features))
    rows[-1] = _CANARY_SIZE * truth / np.linalg.norm(truth)
    labels = (rows @ truth > 0).astype(np.float64)
    labels[-1] = 1.0 - labels[-1]
    return _Population(rows, labels)
