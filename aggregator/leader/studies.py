"""Studies: started or scheduled once approved, paused, and run by a Flower strategy on a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from aggregator import schedules
from aggregator.errors import LeaseLost, StudyFailed, StudyStopped
from aggregator.leader.course import Course
from aggregator.leader.desk import Desk
from aggregator.leader.round_driver import Released, drive, give_up
from aggregator.leader.study_steps import THE_LEADER, require_in, take_decided_step, take_step
from aggregator.logs import failure
from aggregator.rounds import RoundEvent
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import MAY_RUN, UNDER_WAY, StudyEvent, StudyState
from models.queries.answers import to_model_bytes
from models.wire.problems import ProblemError
from models.wire.states import Schedule
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import SignatureInvalid, verify_document
from privacy.secure_sum import decode

_STORE_GONE: Final = (OperationalError, InterfaceError, OSError)
"""What a store answers with that is away for a while; a study waits for it to come back."""
_STORE_PAUSE_SECONDS: Final = 0.5

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
    jws, decision = await _hear(desk, row)

    async def act(change: Change) -> StudyState:
        current = await require_in(desk, change, study_id)
        state = await _decide(desk, change, current, jws, decision)
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
    jws, decision = await _hear(desk, row)

    async def act(change: Change) -> StudyState:
        current = await require_in(desk, change, study_id)
        state = await _decide(desk, change, current, jws, decision)
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


async def _hear(desk: Desk, row: Record) -> tuple[str, Decision]:
    """The privacy office's newest decision on a study."""
    jws = await desk.helper.decision(row.study_hash)
    if jws is None:
        raise ProblemError("not-approved", "the privacy office has not decided on this study yet")
    return jws, _read_decision(desk, jws, row)


async def _decide(desk: Desk, change: Change, row: Record, jws: str, decision: Decision) -> StudyState:
    """Take in what the privacy office said, once."""
    if row.decision == jws:
        return StudyState(row.state)
    if decision.decision == "approve" and row.state in (StudyState.APPROVED, StudyState.SCHEDULED):
        await desk.ledger_log.append(change, "decision", jws.encode())  # a helper that was restored asks for it anew
        await desk.store.update_study(change.connection, row.study_hash, decision=jws)
        return StudyState(row.state)
    event = {"approve": StudyEvent.APPROVE, "refuse": StudyEvent.REFUSE, "stop": StudyEvent.STOP}
    return await take_decided_step(desk, change, row, event[decision.decision], jws)


async def _begun(desk: Desk, row: Record, jws: str, decision: Decision, state: StudyState) -> str:
    if state in UNDER_WAY:
        desk.running.spawn(desk, Study.model_validate_json(row.body), jws, row.log_index)
        return str(state)
    code = "study-stopped" if state is StudyState.STOPPED else "not-approved"
    raise ProblemError(code, f"the privacy office said {decision.decision!r}: {decision.reason}")


def _read_decision(desk: Desk, jws: str, row: Record) -> Decision:
    try:
        decision = Decision.model_validate(verify_document(jws, APPROVAL_TYPE, desk.settings.officer_keys()))
    except (SignatureInvalid, ValidationError) as error:
        raise ProblemError("bad-signature", "the decision is not signed by a known officer") from error
    if decision.study_hash != row.study_hash.hex():
        raise ProblemError("bad-signature", "the decision is about another study")
    return decision


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
        while True:
            try:
                await self._run_once(course)
            except LeaseLost as lost:
                course.desk.log.info("left to another worker", study=course.study.study_id, reason=str(lost))
            except _STORE_GONE as error:
                course.desk.log.error("waiting for the store", study=course.study.study_id, **failure(error))  # noqa: TRY400  # texts may quote input
                await asyncio.sleep(_STORE_PAUSE_SECONDS)
                if not self._closing:
                    continue
            return

    async def _run_once(self, course: Course) -> None:
        desk, study = course.desk, course.study
        loop = asyncio.get_running_loop()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="strategy") as thread:
                model = await loop.run_in_executor(thread, self._strategise, course, loop)
            await _finish(course, StudyEvent.FINISH, "", model)
        except (CancelledError, asyncio.CancelledError):
            desk.log.info("paused", study=study.study_id)
        except (LeaseLost, *_STORE_GONE):
            raise  # neither is the study's fault: it ends in no state because of it
        except StudyStopped:
            await _break_off(course, StudyEvent.STOP, "stopped by the privacy office")
        except (StudyFailed, ProblemError) as error:
            await _break_off(course, StudyEvent.FAIL, str(error))
        except Exception as error:  # noqa: BLE001  # whatever a strategy does, the study ends in a state that says so
            desk.log.error("study failed", study=study.study_id, **failure(error))  # noqa: TRY400  # texts may quote input
            await _break_off(course, StudyEvent.FAIL, f"{type(error).__name__}: the operator's log has the place")

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


async def _break_off(course: Course, event: StudyEvent, detail: str) -> None:
    """A study that ends early leaves no round behind."""
    await give_up(course, RoundEvent.STOPPED if event is StudyEvent.STOP else RoundEvent.FAILED, detail)
    await _finish(course, event, detail, None)


async def _finish(course: Course, event: StudyEvent, detail: str, model: NDArray[np.float32] | None) -> None:
    desk, study = course.desk, course.study
    stop = await course.stop() if event is StudyEvent.STOP else None

    async def act(change: Change) -> None:
        row = await require_in(desk, change, study.study_id)
        kept: dict[str, Any] = {"final_model": None if model is None else to_model_bytes(model)}
        if stop is not None:
            await desk.ledger_log.append(change, "decision", stop.encode())
            change.then(lambda: desk.board.stop(stop))
            kept["decision"] = stop
        await take_step(desk, change, row, event, THE_LEADER, detail=detail, **kept)

    await course.change(act)
    desk.log.info("study over", study=study.study_id, outcome=event.value)
