"""Studies: checked, logged, forwarded, started once approved, and run by a Flower strategy on a thread of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from aggregator.errors import StudyFailed, StudyStopped
from aggregator.leader.collecting import restore
from aggregator.leader.course import Course, is_stop
from aggregator.leader.desk import Desk
from aggregator.leader.round_driver import Released, drive, give_up
from aggregator.logs import failure
from aggregator.rounds import RoundEvent
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import StudyEvent, StudyState, step_study
from consent.purposes import registry_hash
from models.learning.steps import check_study
from models.queries.answers import to_model_bytes
from models.wire.problems import ProblemError
from models.wire.studies import APPROVAL_TYPE, Decision, Study, purpose_of
from privacy.crypto import SignatureInvalid, verify_document
from privacy.secure_sum import decode


async def propose(desk: Desk, study: Study) -> str:
    """Check, store, log and forward a study; the same bytes again are the same study. Returns its state.

    Raises:
        ProblemError: ``invalid-study``, ``study-exists``, or ``helper-unavailable``: then it is stored, and proposing
            the same bytes again forwards it.
    """
    await asyncio.to_thread(check, desk, study)
    study_hash = study.study_hash()

    async def act(change: Change) -> str:
        known = await desk.store.study(change.connection, study.study_id)
        if known is not None:
            if known.study_hash != study_hash:
                raise ProblemError("study-exists", f"another study is called {study.study_id!r}; choose a new name")
            return str(known.state)
        await desk.store.add_study(
            change.connection,
            study_hash=study_hash,
            study_id=study.study_id,
            body=study.canonical(),
            state=StudyState.PROPOSED,
            detail="",
            proposed_at_ms=desk.clock.now_ms(),
            log_index=await desk.ledger_log.append(change, "study", study.canonical()),
        )
        change.then(desk.board.refresh)
        return str(StudyState.PROPOSED)

    state = await desk.database.change(act)
    if state == StudyState.PROPOSED:
        await desk.helper.propose(study)
    return state


def check(desk: Desk, study: Study) -> None:
    """Refuse a study that cannot run as written. Prices it: call in a thread.

    Raises:
        ProblemError: ``invalid-study``, saying what was expected and what was got.
    """
    facts = (
        ("purpose", study.purpose, purpose_of(study.query)),
        ("site", study.site, desk.settings.site),
        ("leader_key", study.leader_key, desk.key.verify_key.raw.hex()),
        ("helper_key", study.helper_key, desk.settings.helper_key),
        ("policy_hash", study.policy_hash, registry_hash().hex()),
    )
    for name, got, expected in facts:
        if got != expected:
            raise ProblemError("invalid-study", f"expected {name} {expected!r}, got {got!r}")
    if study.expires_at_ms <= desk.clock.now_ms():
        raise ProblemError("invalid-study", "the study has expired")
    check_study(study)
    cost = desk.budget.plan_epsilon(study)
    if cost > study.epsilon_cap:
        raise ProblemError("invalid-study", f"expected a plan within epsilon {study.epsilon_cap:g}, got {cost:.4g}")


async def start(desk: Desk, study_id: str) -> str:
    """Start an approved study in the background; a started one stays as it is. Returns the state.

    Raises:
        ProblemError: ``unknown-study``, ``not-approved``, ``study-stopped``, ``bad-signature``, ``helper-unavailable``.
    """
    row = await require_study(desk, study_id)
    if row.state in (StudyState.RUNNING, StudyState.FINISHED, StudyState.FAILED):
        return str(row.state)
    jws = await desk.helper.decision(row.study_hash)
    if jws is None:
        raise ProblemError("not-approved", "the privacy office has not decided on this study yet")
    decision = _read_decision(desk, jws, row)
    state = await _decide(desk, row, jws, decision)
    if state is StudyState.RUNNING:
        desk.running.spawn(desk, Study.model_validate_json(row.body), jws, row.log_index)
        return str(state)
    code = "study-stopped" if state is StudyState.STOPPED else "not-approved"
    raise ProblemError(code, f"the privacy office said {decision.decision!r}: {decision.reason}")


async def _decide(desk: Desk, row: Record, jws: str, decision: Decision) -> StudyState:
    async def act(change: Change) -> StudyState:
        current = await desk.store.study(change.connection, row.study_id)
        assert current is not None, "studies are never deleted"
        state = StudyState(current.state)
        if state is StudyState.RUNNING:
            return state
        if current.decision != jws:
            event = {"approve": StudyEvent.APPROVE, "refuse": StudyEvent.REFUSE, "stop": StudyEvent.STOP}
            state = step_study(state, event[decision.decision])
            await desk.ledger_log.append(change, "decision", jws.encode())
        if state is StudyState.APPROVED:
            state = step_study(state, StudyEvent.START)
        if state is StudyState.STOPPED:
            change.then(lambda: desk.board.stop(jws))
        await desk.store.update_study(change.connection, row.study_hash, state=state, decision=jws)
        return state

    return await desk.database.change(act)


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


async def resume(desk: Desk) -> None:
    """Go on with every running study. Run at start-up, before the first request."""
    async with desk.database.reading() as connection:
        rows = await desk.store.studies(connection)
    for row in rows:
        study = Study.model_validate_json(row.body)
        if row.state == StudyState.STOPPED and is_stop(desk, row.decision, row.study_hash):
            desk.board.stop(row.decision)
        if row.state == StudyState.RUNNING:
            await restore(Course(desk, study, row.decision, row.log_index))
            desk.running.spawn(desk, study, row.decision, row.log_index)


@dataclass
class Running:
    """The studies under way: for each a task here and a strategy on a thread."""

    _tasks: dict[bytes, asyncio.Task[None]] = field(default_factory=dict)
    _waits: set[Future[Released | None]] = field(default_factory=set)
    _closing: bool = False

    def spawn(self, desk: Desk, study: Study, approval: str, log_index: int) -> None:
        """Run a study, once."""
        name = study.study_hash()
        if name not in self._tasks:
            course = Course(desk, study, approval, log_index)
            self._tasks[name] = asyncio.create_task(self._run(course), name=f"study {study.study_id}")

    async def close(self) -> None:
        """Let every study pause where it is; a restart resumes it."""
        self._closing = True
        for wait in tuple(self._waits):
            wait.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, course: Course) -> None:
        desk, study = course.desk, course.study
        loop = asyncio.get_running_loop()
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="strategy") as thread:
                model = await loop.run_in_executor(thread, self._strategise, course, loop)
            await _finish(course, StudyEvent.FINISH, "", model)
        except (CancelledError, asyncio.CancelledError):
            desk.log.info("paused", study=study.study_id)
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
        state = step_study(StudyState.RUNNING, event)
        body = None if model is None else to_model_bytes(model)
        await desk.store.update_study(
            change.connection, study.study_hash(), state=state, detail=detail, final_model=body
        )
        if event is StudyEvent.STOP:
            await desk.ledger_log.append(change, "stopped", study.study_hash())
            if stop is not None:
                await desk.store.update_study(change.connection, study.study_hash(), decision=stop)
                change.then(lambda: desk.board.stop(stop))

    await desk.database.change(act)
    desk.log.info("study over", study=study.study_id, outcome=event.value)
