"""Studies: started or scheduled once approved, paused, and run by a Flower strategy on a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from aggregator import schedules
from aggregator.errors import LeaseLost, LogHeldBack, StudyFailed, StudyStopped
from aggregator.leader.continuity import may_append
from aggregator.leader.course import Course, is_stop
from aggregator.leader.desk import Desk
from aggregator.leader.hearing import hear, take_in
from aggregator.leader.round_driver import Released, drive, give_up
from aggregator.leader.study_steps import THE_LEADER, require_in, take_decided_step, take_step
from aggregator.logs import failure
from aggregator.rounds import RoundEvent
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import FINAL_STUDY_STATES, MAY_RUN, UNDER_WAY, StudyEvent, StudyState
from models.queries.answers import to_model_bytes
from models.wire.problems import ProblemError
from models.wire.states import Schedule
from models.wire.studies import Decision, Study
from privacy.secure_sum import decode

_STORE_GONE: Final = (DBAPIError, PoolTimeout, OSError)
_NOT_GONE: Final = (IntegrityError, ProgrammingError, DataError)
"""A store that is away, full or out of connections answers with any kind of error but these; a study waits for it."""
_STORE_PAUSE_SECONDS: Final = 0.5
Result = TypeVar("Result")
Ending = Callable[[], Awaitable[None]]

_COURSES: Final = {
    StudyEvent.PAUSE: StudyState.PAUSED,
    StudyEvent.RESUME: StudyState.RUNNING,
}
"""What analysts and operators may ask of a study that is under way, and what it then is."""


async def start(desk: Desk, study_id: str, who: str = "analyst") -> str:
    """Start an approved study in the background; a started one stays as it is. Returns the state.

    Raises:
        ProblemError: ``unknown-study``, ``not-approved``, ``study-stopped``, ``bad-signature``, ``helper-unavailable``.
    """
    row = await require_study(desk, study_id)
    if row.state in (*MAY_RUN, StudyState.FINISHED, StudyState.FAILED):
        return str(row.state)
    jws, decision = await _require_heard(desk, row)

    async def act(change: Change) -> StudyState:
        current = await require_in(desk, change, study_id)
        state = await take_in(desk, change, current, jws, decision)
        if state in (StudyState.APPROVED, StudyState.SCHEDULED):
            current = await require_in(desk, change, study_id)
            state = await take_step(desk, change, current, StudyEvent.START, who, schedule=None)
        return state

    return await _begun(desk, row, jws, decision, await desk.database.change(act))


async def schedule(desk: Desk, study_id: str, plan: Schedule, who: str = "analyst") -> str:
    """Have an approved study start at a time, its rounds an interval apart; a new schedule replaces the one before.

    Raises:
        ProblemError: as ``start``; ``invalid-study`` for a schedule that the study cannot be run by, ``wrong-state``
            for a study that has started.
    """
    row = await require_study(desk, study_id)
    faults = schedules.faults(plan, Study.model_validate_json(row.body), desk.clock.now_ms())
    if faults:
        raise ProblemError("invalid-study", "; ".join(faults))
    jws, decision = await _require_heard(desk, row)

    async def act(change: Change) -> StudyState:
        current = await require_in(desk, change, study_id)
        state = await take_in(desk, change, current, jws, decision)
        if state not in (StudyState.REFUSED, StudyState.STOPPED):
            current, text = await require_in(desk, change, study_id), plan.canonical().decode()
            state = await take_step(desk, change, current, StudyEvent.SCHEDULE, who, detail=text, schedule=text)
        return state

    return await _begun(desk, row, jws, decision, await desk.database.change(act))


async def change_course(desk: Desk, study_id: str, event: StudyEvent, who: str) -> str:
    """Pause or resume; asking again for what is so already changes nothing. Returns the state.

    A pause opens no new round; the one that is open, or being opened, ends as usual.

    Raises:
        ProblemError: ``unknown-study``, ``wrong-state``.
    """
    assert event in _COURSES, "another event has its own way"

    async def act(change: Change) -> StudyState:
        current = await require_in(desk, change, study_id)
        if current.state == _COURSES[event]:
            return StudyState(current.state)
        return await take_step(desk, change, current, event, who)

    return str(await desk.database.change(act))


async def _require_heard(desk: Desk, row: Record) -> tuple[str, Decision]:
    heard = await hear(desk, row)
    if heard is None:
        raise ProblemError("not-approved", "the privacy office has not decided on this study yet")
    return heard


async def _begun(desk: Desk, row: Record, jws: str, decision: Decision, state: StudyState) -> str:
    if state in UNDER_WAY:
        desk.running.spawn(desk, Study.model_validate_json(row.body), jws, row.log_index)
        return str(state)
    code = "study-stopped" if state is StudyState.STOPPED else "not-approved"
    raise ProblemError(code, f"the privacy office said {decision.decision!r}: {decision.reason}")


async def require_study(desk: Desk, study_id: str) -> Record:
    """A study that must exist.

    Raises:
        ProblemError: ``unknown-study``.
    """
    async with desk.database.reading() as connection:
        row = await desk.store.study(connection, study_id)
    if row is None:
        raise ProblemError("unknown-study", f"no study is called {study_id!r}")
    return row


@dataclass
class Running:
    """The studies under way: for each a task here and a strategy on a thread."""

    _tasks: dict[bytes, asyncio.Task[None]] = field(default_factory=dict)
    _waits: set[Future[Released | None]] = field(default_factory=set)
    _closing: bool = False

    def follow(self, desk: Desk, rows: Sequence[Record]) -> None:
        """Run what the store says is under way, if this worker has the duty; what runs here already goes on."""
        for row in rows:
            if row.state in UNDER_WAY:
                self.spawn(desk, Study.model_validate_json(row.body), row.decision, row.log_index)

    def spawn(self, desk: Desk, study: Study, approval: str, log_index: int) -> None:
        """Run a study, once, if this worker has the duty; else the one that has it finds the study in the store."""
        name = study.study_hash()
        if desk.duty.held and not self._closing and name not in self._tasks:
            course = Course(desk, study, approval, log_index)
            self._tasks[name] = asyncio.create_task(self._run(course), name=f"study {study.study_id}")

    async def close(self) -> None:
        """Let every study pause where it is; a restart resumes it."""
        self._closing = True
        for wait in tuple(self._waits):
            wait.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def pause(self) -> None:
        """Let every study pause, because another worker runs them now; this one may have the duty again later."""
        await self.close()
        self._tasks.clear()
        self._closing = False

    async def _run(self, course: Course) -> None:
        try:
            ending = await self._when_possible(course, partial(self._run_once, course))
            if ending is not None:
                await self._when_possible(course, ending)
        except LeaseLost as lost:
            course.desk.log.info("left to another worker", study=course.study.study_id, reason=str(lost))
        except Exception as error:  # noqa: BLE001  # nobody waits for this task: what ended it is said here
            course.desk.log.error("study left", study=course.study.study_id, **failure(error))  # noqa: TRY400  # texts may quote input
        finally:
            self._tasks.pop(course.study.study_hash(), None)  # what is under way still is taken up at a later look

    async def _when_possible(self, course: Course, step: Callable[[], Awaitable[Result]]) -> Result | None:
        """Take a step once the store is there and its log may grow; None if the service ends before."""
        desk, study_id = course.desk, course.study.study_id
        while not self._closing:
            try:
                if await may_append(desk):
                    return await step()
            except LogHeldBack:
                desk.log.warning("waiting for the log", study=study_id)
            except _STORE_GONE as error:
                if not _is_store_gone(error):
                    raise
                desk.log.error("waiting for the store", study=study_id, **failure(error))  # noqa: TRY400  # texts may quote input
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
        return None

    async def _run_once(self, course: Course) -> Ending | None:
        """Run the study as far as it goes; returns how it ends, None if it goes on after a restart."""
        desk, study = course.desk, course.study
        loop = asyncio.get_running_loop()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="strategy") as thread:
                model = await loop.run_in_executor(thread, self._strategise, course, loop)
            return partial(_finish, course, StudyEvent.FINISH, "", model)
        except (CancelledError, asyncio.CancelledError):
            desk.log.info("paused", study=study.study_id)
            return None
        except (LeaseLost, LogHeldBack):
            raise  # neither is the study's fault: it ends in no state because of it
        except StudyStopped:
            return partial(self._stop, course)
        except (StudyFailed, ProblemError) as error:
            return partial(_break_off, course, str(error))
        except Exception as error:  # whatever a strategy does, the study ends in a state that says so
            if _is_store_gone(error):
                raise
            desk.log.error("study failed", study=study.study_id, **failure(error))  # noqa: TRY400  # texts may quote input
            return partial(_break_off, course, f"{type(error).__name__}: the operator's log has the place")

    async def _stop(self, course: Course) -> None:
        """End what was stopped, once the officer's signed word is here: nobody's say-so is logged in its place."""
        desk, detail = course.desk, "stopped by the privacy office"
        await give_up(course, RoundEvent.STOPPED, detail)
        while not self._closing:
            row = await require_study(desk, course.study.study_id)
            stop = row.decision if is_stop(desk, row.decision, row.study_hash) else await course.stop()
            if stop is not None:
                await _finish_stopped(course, stop, detail)
                return
            if desk.clock.now_ms() >= course.study.expires_at_ms:
                unshown = "the helper said that the study was stopped, and showed no officer's word before it expired"
                await _finish(course, StudyEvent.FAIL, unshown, None)
                return
            await asyncio.sleep(desk.settings.decision_poll_seconds)

    def _strategise(self, course: Course, loop: asyncio.AbstractEventLoop) -> NDArray[np.float32]:
        """On the study's own thread: Flower's loop, whose grid waits for rounds on the event loop."""
        from aggregator.leader.grid import LeaderGrid
        from aggregator.leader.strategy import PrivateSum

        params = course.study.plan.parameters()

        def exchange(number: int, model: NDArray[np.float32]) -> tuple[NDArray[np.float64], int] | None:
            wait = asyncio.run_coroutine_threadsafe(drive(course, number, to_model_bytes(model)), loop)
            self._waits.add(wait)
            if self._closing:
                wait.cancel()
            try:
                released = wait.result()
            finally:
                self._waits.discard(wait)
            return None if released is None else (decode(released.total, params), released.opened)

        strategy = PrivateSum(course.study)
        strategy.start(LeaderGrid(exchange), strategy.initial_arrays(), course.study.rounds)
        if not strategy.released:
            raise StudyFailed("no round of this study could be released; its rounds say why")
        return strategy.final_model()


def _is_store_gone(error: Exception) -> bool:
    return isinstance(error, _STORE_GONE) and not isinstance(error, _NOT_GONE)


async def _break_off(course: Course, detail: str) -> None:
    """A study that fails leaves no round behind."""
    await give_up(course, RoundEvent.FAILED, detail)
    await _finish(course, StudyEvent.FAIL, detail, None)


async def _finish(course: Course, event: StudyEvent, detail: str, model: NDArray[np.float32] | None) -> None:
    desk, study = course.desk, course.study

    async def act(change: Change) -> None:
        row = await require_in(desk, change, study.study_id)
        if row.state not in FINAL_STUDY_STATES:  # a stop that was taken in meanwhile stands
            final_model = None if model is None else to_model_bytes(model)
            await take_step(desk, change, row, event, THE_LEADER, detail=detail, final_model=final_model)

    await course.change(act)
    desk.log.info("study over", study=study.study_id, outcome=event.value)


async def _finish_stopped(course: Course, stop: str, detail: str) -> None:
    desk, study = course.desk, course.study

    async def act(change: Change) -> None:
        row = await require_in(desk, change, study.study_id)
        if row.state not in FINAL_STUDY_STATES:
            await take_decided_step(desk, change, row, StudyEvent.STOP, stop)
        await desk.store.update_study(change.connection, row.study_hash, detail=detail)

    await course.change(act)
    desk.log.info("study over", study=study.study_id, outcome=StudyEvent.STOP.value)
