"""The tables of study and round."""

import pytest

from aggregator.errors import StepForbidden
from aggregator.rounds import (
    FINAL_ROUND_STATES,
    ROUND_TABLE,
    STUDY_TABLE,
    Effect,
    RoundEvent,
    RoundState,
    StudyEvent,
    StudyState,
    step_round,
    step_study,
)


def test_a_round_walks_straight_to_its_release():
    """Charge comes before the helper's answer, and the answer before the release."""
    state, seen = RoundState.AWAITED, []
    for event in ("opened", "window over", "charged", "answered", "released"):
        state, _ = step_round(state, RoundEvent(event))
        seen.append(state.value)
    assert seen == ["open", "closed", "charged", "answered", "released"]


def test_nothing_is_answered_without_a_charge_and_nothing_released_without_an_answer():
    """No step skips the charge or the stored answer."""
    assert {state for state, event in ROUND_TABLE if event is RoundEvent.ANSWERED} == {RoundState.CHARGED}
    assert {state for state, event in ROUND_TABLE if event is RoundEvent.RELEASED} == {RoundState.ANSWERED}


def test_final_states_have_no_way_out_and_leave_no_report():
    """Whatever ends a round deletes its reports and the noise's secret."""
    for (state, _), step in ROUND_TABLE.items():
        assert state not in FINAL_ROUND_STATES
        if step.state in FINAL_ROUND_STATES:
            assert {Effect.DELETE_REPORTS, Effect.DESTROY_NOISE_SECRET} <= set(step.effects)


def test_every_state_can_be_reached():
    """A state that no step leads to would be dead text."""
    assert {step.state for step in ROUND_TABLE.values()} | {RoundState.AWAITED} == set(RoundState)
    assert set(STUDY_TABLE.values()) | {StudyState.PROPOSED} == set(StudyState)


def test_a_step_that_is_not_in_the_table_is_a_wrong_state():
    """A refused study does not start, a released round does not open again."""
    with pytest.raises(StepForbidden) as caught:
        step_study(StudyState.REFUSED, StudyEvent.START)
    assert caught.value.code == "wrong-state"
    with pytest.raises(StepForbidden):
        step_round(RoundState.RELEASED, RoundEvent.OPENED)
