"""Whether a study's next round may open now: not before its time, not in a pause, not after a stop."""

from __future__ import annotations

import asyncio

from aggregator.errors import StudyFailed, StudyStopped
from aggregator.leader.course import Course
from aggregator.leader.study_steps import THE_LEADER, require_in, take_step
from aggregator.schedules import due_ms
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import FINAL_STUDY_STATES, StudyEvent, StudyState
from models.wire.rounds import OPENING_TYPE, Opening
from models.wire.states import Schedule
from privacy.crypto import verify_document


async def await_turn(course: Course, number: int) -> None:
    """Return when a round may open; starts a scheduled study whose time has come.

    What is looked at is the store, so a pause that another process took in holds here, and one from before a restart
    holds after it. Meanwhile the privacy office's stop is listened for.

    Raises:
        StudyStopped: the privacy office said stop.
        StudyFailed: the study is over, or expired before the round could open.
    """
    desk = course.desk
    while True:
        row = await _study(course)
        _require_under_way(row)
        now_ms, due = desk.clock.now_ms(), await _due_ms(course, row, number)
        if now_ms >= course.study.expires_at_ms:
            raise StudyFailed(f"the study expired before round {number} could open")
        if now_ms >= due and row.state != StudyState.PAUSED and await _started(course):
            return
        if await course.stop() is not None:
            raise StudyStopped
        left_seconds = (due - now_ms) / 1_000 if now_ms < due else desk.settings.decision_poll_seconds
        await asyncio.sleep(min(left_seconds, desk.settings.decision_poll_seconds))


async def _study(course: Course) -> Record:
    async with course.desk.database.reading() as connection:
        row = await course.desk.store.study(connection, course.study.study_id)
    assert row is not None, "studies are never deleted"
    return row


def _require_under_way(row: Record) -> None:
    state = StudyState(row.state)
    if state is StudyState.STOPPED:
        raise StudyStopped
    if state in FINAL_STUDY_STATES or state in (StudyState.PROPOSED, StudyState.APPROVED):
        raise StudyFailed(f"the study is {state.value}: no round of it opens")


async def _due_ms(course: Course, row: Record, number: int) -> int:
    """0 without a schedule: then a round opens as soon as the one before it is over."""
    if row.schedule is None:
        return 0
    before = await course.row(number - 1) if number > 1 else None
    opened_ms = None
    if before is not None:
        keys = (course.desk.settings.helper_verify_key(),)
        opened_ms = Opening.model_validate(verify_document(before.opening, OPENING_TYPE, keys)).opens_at_ms
    return due_ms(Schedule.model_validate_json(row.schedule), course.study.study_hash(), number, opened_ms)


async def _started(course: Course) -> bool:
    """Whether the study is running, if need be from now on; False where it was paused in this very moment."""
    desk = course.desk

    async def act(change: Change) -> bool:
        row = await require_in(desk, change, course.study.study_id)
        if row.state == StudyState.SCHEDULED:
            await take_step(desk, change, row, StudyEvent.START, THE_LEADER, detail="its time has come")
            return True
        return bool(row.state == StudyState.RUNNING)

    if (await _study(course)).state == StudyState.RUNNING:
        return True
    return await course.change(act)
