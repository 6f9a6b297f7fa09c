from __future__ import annotations

import numpy as np
import pytest

from consent.purposes import PURPOSES as REGISTRY
from simulations.populations import PURPOSES, STUDY_ROUNDS
from simulations.populations.choices import draw_choices


@pytest.fixture(scope="module")
def choices():
    return draw_choices(2_000, np.random.default_rng(7))


def test_eighty_five_in_a_hundred_grant_all(choices):
    """The planted shares are exact: 85 % all, 5 % none, 10 % some."""
    granted = [len(choice.granted) for choice in choices]
    assert sum(number == len(PURPOSES) for number in granted) == 1_700
    assert sum(number == 0 for number in granted) == 100
    assert {choice.granted[0] for choice in choices if 0 < len(choice.granted) < len(PURPOSES)} <= set(PURPOSES)


def test_withdrawals_fall_into_rounds_that_exist(choices):
    """Some withdraw, each in a round of a study, and only those who granted."""
    leaving = [choice for choice in choices if choice.withdrawal]
    assert len(leaving) == 40
    for choice in leaving:
        assert choice.granted == PURPOSES
        assert 0 <= choice.withdrawal.round < STUDY_ROUNDS[choice.withdrawal.study]


@pytest.mark.parametrize("devices", [40, 333, 2_000])
def test_at_least_one_in_a_hundred_starts_spent(devices):
    """Spent budgets sit on devices that grant everything and stay, so that every study has null reports."""
    choices = draw_choices(devices, np.random.default_rng(1))
    spent = [choice for choice in choices if choice.budget_spent]
    assert len(spent) >= 0.01 * devices
    assert all(choice.granted == PURPOSES and choice.withdrawal is None for choice in spent)


def test_other_purposes_and_studies_are_taken():
    """The registry's purposes and the run's studies are the caller's."""
    choices = draw_choices(200, np.random.default_rng(1), ("a", "b"), {"only": 3})
    assert {choice.granted for choice in choices} == {("a", "b"), ("a",), ("b",), ()}
    assert {choice.withdrawal.study for choice in choices if choice.withdrawal} == {"only"}
    assert not any(choice.withdrawal for choice in draw_choices(200, np.random.default_rng(1), ("a", "b"), {}))


def test_the_default_purposes_are_those_of_the_registry():
    """Planted visitors are asked for what the consent registry declares, in its order."""
    assert [purpose.id for purpose in REGISTRY] == list(PURPOSES)


def test_who_refuses_may_follow_a_planted_reluctance():
    """The reluctant refuse far more often; numbers of refusals stay exact, and every kind of visitor is there."""
    reluctance = np.where(np.arange(2_000) < 1_000, 10.0, 1.0)
    choices = draw_choices(2_000, np.random.default_rng(7), reluctance=reluctance)
    refusing = np.array([len(choice.granted) < len(PURPOSES) for choice in choices])
    assert refusing.sum() == 600
    assert sum(not choice.granted for choice in choices) == 100
    assert refusing[:1_000].sum() > 4 * refusing[1_000:].sum()
    assert len([choice for choice in choices if choice.withdrawal]) == 40
    assert len([choice for choice in choices if choice.budget_spent]) == 30
