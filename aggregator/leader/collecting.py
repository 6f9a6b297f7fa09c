"""A round from its opening to its close: what it will cost is set aside, the helper opens it, devices report.

awaited -> open -> closed
"""

from __future__ import annotations

import asyncio
import json

from pydantic import ValidationError

from aggregator.budget import Promised
from aggregator.errors import StudyFailed, StudyStopped
from aggregator.leader.course import Course
from aggregator.leader.open_rounds import OpenRound
from aggregator.leader.work import PublishedRound
from aggregator.rounds import RoundEvent, RoundState, step_round
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from models.wire.problems import ProblemError
from models.wire.rounds import OPENING_TYPE, Opening, OpeningRequest, model_hash
from privacy.accounting import Costs
from privacy.crypto import SignatureInvalid, verify_document

_PROOFS = 5
_PROOF_PAUSE_SECONDS = 0.3


async def open_round(course: Course, number: int, model: bytes) -> None:
    """Set aside what a round will cost, have the helper open it, store and log the opening, and put the round up.

    Raises:
        StudyStopped: the privacy office said stop.
        StudyFailed: the opening does not verify, or the study expired while the helper could not be reached.
        ProblemError: ``budget-exhausted`` here, or a problem of the helper's.
    """
    desk = course.desk
    request = OpeningRequest(
        study_hash=course.study.study_hash().hex(),
        round=number,
        model_hash=model_hash(model).hex(),
        window_seconds=course.study.window_seconds,
        checkpoint=desk.ledger_log.checkpoint(desk.clock.now_ms()),
    )
    price = await _promise(course, number)
    try:
        jws = await course.patiently(lambda: _ask(course, request))
        await _store_opening(course, jws, request, number, model, price)
    finally:
        desk.opening.pop((course.study.study_hash(), number), None)


async def _ask(course: Course, request: OpeningRequest) -> str:
    """The helper's opening, as signed. It follows the log by a proof from the tree that it knows.

    Another round may be opened between the question and the proof, by this worker or another: then asked once more.
    """
    desk = course.desk
    for attempt in range(1, _PROOFS + 1):
        try:
            known = await desk.helper.known_log()
            proven = {
                "checkpoint": desk.ledger_log.checkpoint(desk.clock.now_ms()),
                "log_proof": desk.ledger_log.proof_for(known.size),
            }
            return await desk.helper.open_round(request.model_copy(update=proven))
        except ProblemError as error:
            if error.code != "log-unproven" or attempt == _PROOFS:
                raise
        await asyncio.sleep(_PROOF_PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


async def _promise(course: Course, number: int) -> Costs:
    """Set aside what the round will be charged: devices pay as soon as it opens.

    Raises:
        ProblemError: ``budget-exhausted``: the ledger cannot pay on top of the rounds that are open.
    """
    desk, study = course.desk, course.study
    price = await asyncio.to_thread(desk.budget.price, study)

    async def act(change: Change) -> None:
        promised = [*await desk.store.promised(change.connection), *desk.opening.values()]
        desk.budget.require_payable(study, price, promised)
        desk.opening[study.study_hash(), number] = Promised(study.purpose, price)

    await desk.database.change(act)
    return price


async def _store_opening(
    course: Course, jws: str, request: OpeningRequest, number: int, model: bytes, price: Costs
) -> None:
    desk, opening = course.desk, _read_opening(course, jws, request)
    step = step_round(RoundState.AWAITED, RoundEvent.OPENED)

    async def act(change: Change) -> None:
        context = course.context(number, model_hash(model))
        await desk.store.add_model(change.connection, model_hash(model), model)
        round_id = await desk.store.add_round(
            change.connection,
            study_hash=context.study_hash,
            number=number,
            state=step.state,
            model_hash=model_hash(model),
            context=context.digest,
            opening=jws,
            closes_at_ms=opening.closes_at_ms,
            costs=json.dumps(price),
        )
        await desk.ledger_log.append(change, "opening", jws.encode())
        item = _open_round(course, round_id, number, model_hash(model), opening.closes_at_ms)
        change.then(lambda: _put_up(course, item, jws))

    await desk.database.change(act)


def _read_opening(course: Course, jws: str, request: OpeningRequest) -> Opening:
    try:
        keys = (course.desk.settings.helper_verify_key(),)
        opening = Opening.model_validate(verify_document(jws, OPENING_TYPE, keys))
    except (SignatureInvalid, ValidationError) as error:
        raise StudyFailed("the helper's opening does not verify under the pinned key") from error
    if (opening.study_hash, opening.round, opening.model_hash) != (
        request.study_hash,
        request.round,
        request.model_hash,
    ):
        raise StudyFailed("the helper's opening is for another round")
    return opening


def _open_round(course: Course, round_id: int, number: int, model_digest: bytes, closes_at_ms: int) -> OpenRound:
    return OpenRound(
        round_id=round_id,
        study=course.study,
        number=number,
        context=course.context(number, model_digest),
        params=course.study.plan.parameters(),
        closes_at_ms=closes_at_ms,
    )


def _put_up(course: Course, item: OpenRound, jws: str) -> None:
    opening = Opening.model_validate(verify_document(jws, OPENING_TYPE, (course.desk.settings.helper_verify_key(),)))
    inclusion = course.desk.ledger_log.inclusion(course.log_index, opening.checkpoint.size)
    course.desk.open_rounds.add(item)
    course.desk.board.put_up(item.context.digest, PublishedRound(course.study, course.approval, jws, inclusion))
    course.desk.metrics.open_rounds.inc()


async def restore(course: Course) -> None:
    """Take reports again for a round that was open when the leader stopped."""
    desk = course.desk
    async with desk.database.reading() as connection:
        for row in await desk.store.rounds(connection, course.study.study_hash()):
            if row.state == RoundState.OPEN:
                item = _open_round(course, row.round_id, row.number, row.model_hash, row.closes_at_ms)
                item.reported = await desk.store.report_count(connection, row.round_id)
                _put_up(course, item, row.opening)


async def collect(course: Course, row: Record) -> None:
    """Wait until a round's window is over or everybody has reported, and close it.

    Raises:
        StudyStopped: the privacy office said stop; the round is abandoned.
    """
    item = course.desk.open_rounds.find(row.context)
    assert item is not None, "an open round was put up when it was opened or restored"
    event = None
    next_poll = course.desk.clock.monotonic()
    while event is None:
        if course.desk.clock.monotonic() >= next_poll:
            next_poll = course.desk.clock.monotonic() + course.desk.settings.decision_poll_seconds
            if await course.stop() is not None:
                await course.abandon(row, RoundEvent.STOPPED, "stopped by the privacy office")
                raise StudyStopped
        item.changed.clear()
        event = _closing(course, item)
        if event is None:
            left_seconds = max(0.0, item.closes_at_ms / 1_000 - course.desk.clock.wall())
            await _wait(item.changed, min(left_seconds, course.desk.settings.decision_poll_seconds))
    await _close(course, row, event)


def _closing(course: Course, item: OpenRound) -> RoundEvent | None:
    expected = max(item.params.minimum_cohort, course.desk.register.consenting(course.study.purpose))
    if course.desk.settings.close_early and item.reported >= expected:
        return RoundEvent.ALL_REPORTED
    if item.reported >= item.params.maximum_cohort:
        return RoundEvent.ALL_REPORTED
    return RoundEvent.WINDOW_OVER if course.desk.clock.now_ms() >= item.closes_at_ms else None


async def _close(course: Course, row: Record, event: RoundEvent) -> None:
    step = step_round(RoundState.OPEN, event)

    async def act(change: Change) -> None:
        reports = await course.desk.store.report_count(change.connection, row.round_id)
        await course.desk.store.update_round(change.connection, row.round_id, state=step.state, reports=reports)
        change.then(lambda: course.take_down(row.context))

    await course.desk.database.change(act)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
