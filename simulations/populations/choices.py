"""What planted visitors choose: who grants which purposes, who withdraws and when, whose budget is already spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consent.purposes import PURPOSES as REGISTRY

PURPOSES: Final = tuple(purpose.id for purpose in REGISTRY)
STUDY_ROUNDS: Final[Mapping[str, int]] = {"measurement": 1, "personas": 8, "intent": 16}

GRANT_ALL_SHARE: Final = 0.85
REFUSE_ALL_SHARE: Final = 0.05
WITHDRAWAL_SHARE: Final = 0.02
SPENT_SHARE: Final = 0.015
RELUCTANT_GRANT_ALL_SHARE: Final = 0.70
"""Where reluctance is planted, so many grant all: more partial refusals, for a bias that a study can see."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A visitor changes their mind: everything is withdrawn once round ``round`` (from 0) of ``study`` is open."""

    study: str
    round: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One device's planted choices.

    Attributes:
        granted: purposes granted when asked, in registry order; empty for a full refusal.
        withdrawal: when all grants are withdrawn, or None.
        budget_spent: whether the device starts with nothing left in its privacy budget. Only devices that granted
            everything and never withdraw are marked, so each of them sends null reports in every study.
    """

    granted: tuple[str, ...]
    withdrawal: Withdrawal | None
    budget_spent: bool


def draw_choices(
    devices: int,
    generator: np.random.Generator,
    purposes: Sequence[str] = PURPOSES,
    study_rounds: Mapping[str, int] = STUDY_ROUNDS,
    reluctance: NDArray[np.float64] | None = None,
) -> tuple[Choice, ...]:
    """Draw every device's choices: 85 % grant all, 5 % refuse all, the rest refuse one or more but not all.

    Shares are exact up to rounding, so that small populations hold every kind of visitor: at least one of each from
    a few dozen devices on. Spent budgets are rounded up.

    Args:
        devices: how many.
        generator: to draw from.
        purposes: what is asked for.
        study_rounds: studies and their numbers of rounds; withdrawals are planted in them.
        reluctance: float64[devices], positive: who refuses is drawn in proportion to it, and only 70 % grant all.
            Without it everybody is as likely to refuse.
    """
    if reluctance is None:
        order, share = generator.permutation(devices), GRANT_ALL_SHARE
    else:
        # Efraimidis and Spirakis 2006: the largest log(u) / weight are a weighted sample without replacement.
        order, share = np.argsort(np.log(generator.random(devices)) / reluctance), RELUCTANT_GRANT_ALL_SHARE
    whole = round(share * devices)
    none = round(REFUSE_ALL_SHARE * devices)
    leaving = min(max(round(WITHDRAWAL_SHARE * devices), 1 if study_rounds else 0), whole)
    spent = min(math.ceil(SPENT_SHARE * devices), whole - leaving)
    choices = [Choice((), None, budget_spent=False)] * devices
    for place, device in enumerate(order):
        if place < whole:
            withdrawal = _draw_withdrawal(study_rounds, generator) if place < leaving and study_rounds else None
            choices[device] = Choice(tuple(purposes), withdrawal, leaving <= place < leaving + spent)
        elif place < devices - none:
            choices[device] = Choice(_draw_partial(purposes, generator), None, budget_spent=False)
    return tuple(choices)


def _draw_withdrawal(study_rounds: Mapping[str, int], generator: np.random.Generator) -> Withdrawal:
    study = list(study_rounds)[int(generator.integers(len(study_rounds)))]
    return Withdrawal(study, int(generator.integers(study_rounds[study])))


def _draw_partial(purposes: Sequence[str], generator: np.random.Generator) -> tuple[str, ...]:
    refused = 1 if len(purposes) <= 1 else int(generator.integers(1, len(purposes)))
    gone = set(generator.permutation(len(purposes))[:refused].tolist())
    return tuple(purpose for i, purpose in enumerate(purposes) if i not in gone)
