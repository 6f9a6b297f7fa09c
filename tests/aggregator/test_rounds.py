"""The tables of study and round, and the page that is drawn from them."""

from pathlib import Path

import pytest

from aggregator.diagrams import parts, place
from aggregator.errors import StepForbidden
from aggregator.rounds import (
    FINAL_ROUND_STATES,
    ROUND_TABLE,
    Effect,
    RoundEvent,
    RoundState,
    step_round,
)
from aggregator.studies import (
    DECIDED_BY_OFFICER,
    FINAL_STUDY_STATES,
    MAY_RUN,
    STUDY_TABLE,
    UNDER_WAY,
    StudyEvent,
    StudyState,
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


def test_only_an_approved_study_ever_runs():
    """Every way into a run leads through an officer's approval, also the one that waits for its time."""
    ways_in = {(state, event) for (state, event), after in STUDY_TABLE.items() if after in UNDER_WAY}
    outside = {(state, event) for state, event in ways_in if state not in UNDER_WAY}
    assert {state for state, _ in outside} == {StudyState.APPROVED}
    assert {state for (state, event) in STUDY_TABLE if event is StudyEvent.APPROVE} == {StudyState.PROPOSED}
    assert MAY_RUN < UNDER_WAY


def test_an_officer_can_stop_whatever_is_not_over():
    """From every state that has a way out, a stop is one of the ways; what is over for good stays what it was."""
    assert StudyEvent.STOP in DECIDED_BY_OFFICER
    for state in StudyState:
        assert ((state, StudyEvent.STOP) in STUDY_TABLE) == (state not in FINAL_STUDY_STATES)


def test_a_pause_is_the_only_way_back():
    """A study that is paused goes on or ends; nothing that ended starts again."""
    assert STUDY_TABLE[StudyState.PAUSED, StudyEvent.RESUME] is StudyState.RUNNING
    with pytest.raises(StepForbidden):
        step_study(StudyState.PAUSED, StudyEvent.START)
    with pytest.raises(StepForbidden):
        step_study(StudyState.FINISHED, StudyEvent.RESUME)


def test_the_page_shows_the_tables_as_they_are():
    """``make docs`` was run after the last change of a table; a diagram has an arrow for every step."""
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    assert place(page) == page
    diagram = parts()["study diagram"]
    for (state, event), after in STUDY_TABLE.items():
        (line,) = [line for line in diagram.splitlines() if line.startswith(f"    {state.value} --> {after.value}:")]
        assert event.value in line
    with pytest.raises(ValueError, match="study diagram"):
        place("a page without a place")
