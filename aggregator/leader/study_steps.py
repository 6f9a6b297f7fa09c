"""A step of a study's table at the leader: stored, signed and logged in one change, or not taken at all."""

from __future__ import annotations

from typing import Any

from aggregator.leader.desk import Desk
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import DECIDED_BY_OFFICER, StudyEvent, StudyState, step_study
from models.wire.problems import ProblemError
from models.wire.states import STATE_TYPE, StateChange
from privacy.crypto import sign_document

THE_LEADER = "leader"
"""Who took a step that nobody asked for: a start whose time has come, a study that came to its end."""


async def require_in(desk: Desk, change: Change, study_id: str) -> Record:
    """A study that must exist, as it stands within a change.

    Raises:
        ProblemError: ``unknown-study``.
    """
    row = await desk.store.study(change.connection, study_id)
    if row is None:
        raise ProblemError("unknown-study", f"no study is called {study_id!r}")
    return row


async def take_step(
    desk: Desk, change: Change, row: Record, event: StudyEvent, who: str, *, detail: str = "", **values: Any
) -> StudyState:
    """Take one step, and log it under the leader's signature.

    Args:
        desk: the leader.
        change: the change that it belongs to.
        row: the study as it stands in this change.
        event: what happens.
        who: who asked for it (``models.wire.states.Caller``).
        detail: why; stored with the study and signed.
        values: what else is stored of the study.

    Raises:
        StepForbidden: the table has no such step.
    """
    before, after = StudyState(row.state), step_study(StudyState(row.state), event)
    statement = StateChange(
        study_id=row.study_id,
        study_hash=row.study_hash.hex(),
        before=before.value,
        event=event.value,
        after=after.value,
        who=who,
        at_ms=desk.clock.now_ms(),
        detail=detail[:2_000],
    )
    jws = sign_document(desk.key, STATE_TYPE, statement.document())
    await desk.ledger_log.append(change, "state", jws.encode())
    await desk.store.update_study(change.connection, row.study_hash, state=after, detail=detail, **values)
    return after


async def take_decided_step(desk: Desk, change: Change, row: Record, event: StudyEvent, jws: str) -> StudyState:
    """Take the step that an officer's signed decision brings about; the decision itself is the log's entry."""
    assert event in DECIDED_BY_OFFICER, "the leader signs its own steps"
    after = step_study(StudyState(row.state), event)
    await desk.ledger_log.append(change, "decision", jws.encode())
    await desk.store.update_study(change.connection, row.study_hash, state=after, decision=jws)
    if after is StudyState.STOPPED:
        change.then(lambda: desk.board.stop(jws))
    return after
