"""A study's life as a table, no I/O: what may follow what, and whose signature says so.

    proposed -> approved -> (scheduled ->) running <-> paused -> finished

An officer's signed decision approves, refuses or stops; everything else is the leader's own step, which it signs with
its service key (``models.wire.states``). Both kinds stand in the transparency log. The helper walks the same table, as
far as it hears of it: it knows decisions and withdrawals, and no run.

A *paused* study opens no new round; the one that is open ends as usual, so a pause throws no report away. One that was
scheduled and goes on after a pause keeps its schedule. *Refused*,
*withdrawn*, *finished*, *failed* and *stopped* are for good: the same question again is a new study.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from aggregator.errors import StepForbidden


class StudyState(StrEnum):
    """Where a study stands."""

    PROPOSED = "proposed"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


class StudyEvent(StrEnum):
    """What can happen to a study."""

    WITHDRAW = "withdraw"
    APPROVE = "approve"
    REFUSE = "refuse"
    SCHEDULE = "schedule"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    FINISH = "finish"
    FAIL = "fail"
    STOP = "stop"


STUDY_TABLE: Final[Mapping[tuple[StudyState, StudyEvent], StudyState]] = {
    (StudyState.PROPOSED, StudyEvent.WITHDRAW): StudyState.WITHDRAWN,
    (StudyState.PROPOSED, StudyEvent.APPROVE): StudyState.APPROVED,
    (StudyState.PROPOSED, StudyEvent.REFUSE): StudyState.REFUSED,
    (StudyState.APPROVED, StudyEvent.SCHEDULE): StudyState.SCHEDULED,
    (StudyState.SCHEDULED, StudyEvent.SCHEDULE): StudyState.SCHEDULED,
    (StudyState.APPROVED, StudyEvent.START): StudyState.RUNNING,
    (StudyState.SCHEDULED, StudyEvent.START): StudyState.RUNNING,
    (StudyState.SCHEDULED, StudyEvent.PAUSE): StudyState.PAUSED,
    (StudyState.RUNNING, StudyEvent.PAUSE): StudyState.PAUSED,
    (StudyState.PAUSED, StudyEvent.RESUME): StudyState.RUNNING,
    (StudyState.RUNNING, StudyEvent.FINISH): StudyState.FINISHED,
    (StudyState.PAUSED, StudyEvent.FINISH): StudyState.FINISHED,
    (StudyState.SCHEDULED, StudyEvent.FAIL): StudyState.FAILED,
    (StudyState.RUNNING, StudyEvent.FAIL): StudyState.FAILED,
    (StudyState.PAUSED, StudyEvent.FAIL): StudyState.FAILED,
    (StudyState.PROPOSED, StudyEvent.STOP): StudyState.STOPPED,
    (StudyState.APPROVED, StudyEvent.STOP): StudyState.STOPPED,
    (StudyState.SCHEDULED, StudyEvent.STOP): StudyState.STOPPED,
    (StudyState.RUNNING, StudyEvent.STOP): StudyState.STOPPED,
    (StudyState.PAUSED, StudyEvent.STOP): StudyState.STOPPED,
}

DECIDED_BY_OFFICER: Final = frozenset({StudyEvent.APPROVE, StudyEvent.REFUSE, StudyEvent.STOP})
"""What only an officer's signature brings about; the leader signs every other step."""
FINAL_STUDY_STATES: Final = frozenset(StudyState) - {state for state, _ in STUDY_TABLE}
"""There is no way out of these."""
UNDER_WAY: Final = frozenset({StudyState.SCHEDULED, StudyState.RUNNING, StudyState.PAUSED})
"""Whoever runs studies has a task for each study in one of these, also after a restart."""
MAY_RUN: Final = frozenset({StudyState.RUNNING, StudyState.PAUSED})
"""A round that is open goes on in these; a new one opens in the first of them only."""


def step_study(state: StudyState, event: StudyEvent) -> StudyState:
    """The study's next state.

    Raises:
        StepForbidden: the table has no such step.
    """
    try:
        return STUDY_TABLE[state, event]
    except KeyError:
        raise StepForbidden(state, event) from None
