"""A round from its opening to its close: what it will cost is set aside, the helper opens it, devices report.

awaited -> open -> closed
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Final

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.budget import Promised
from aggregator.errors import StudyFailed, StudyStopped
from aggregator.leader import continuity
from aggregator.leader.course import Course
from aggregator.leader.offering import put_up
from aggregator.leader.open_rounds import OpenRound
from aggregator.rounds import RoundEvent, RoundState, step_round
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from models.wire.problems import ProblemError
from models.wire.rounds import OPENING_TYPE, Opening, OpeningRequest, model_hash
from privacy.accounting import Costs
from privacy.crypto import SignatureInvalid, verify_document

_PROOFS = 5
_PROOF_PAUSE_SECONDS = 0.3

_LEAST_REST_SECONDS: Final = 0.01
_REST_OF_A_COUNT: Final = 20.0
"""Counting the devices with consent takes at most so small a part of the time that a round is open."""


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
            if error.code != "log-unproven":
                raise
            if attempt == _PROOFS:
                await continuity.compare(desk)  # a log that lacks entries is held back from here on
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
        await desk.store.ledger.catch_up(change.connection, desk.budget)
        promised = [*await desk.store.promised(change.connection), *desk.opening.values()]
        desk.budget.require_payable(study, price, promised)
        desk.opening[study.study_hash(), number] = Promised(study.purpose, price)

    await course.change(act)
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
        row = await desk.store.open_round(change.connection, round_id)
        change.then(lambda: put_up(desk, row))

    await course.change(act)


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


async def collect(course: Course, row: Record) -> None:
    """Wait until a round's window is over or everybody has reported, and close it.

    Raises:
        StudyStopped: the privacy office said stop; the round is abandoned.
    """
    desk, turnout = course.desk, _Turnout(course)
    item = desk.open_rounds.find(row.context)
    if item is None:  # another worker had the duty when it was opened: memory follows
        await desk.follower.look()
        return
    next_poll = desk.clock.monotonic()
    while True:
        if desk.clock.monotonic() >= next_poll:
            next_poll = desk.clock.monotonic() + desk.settings.decision_poll_seconds
            if await course.stop() is not None:
                await course.abandon(row, RoundEvent.STOPPED, "stopped by the privacy office")
                raise StudyStopped
        item.changed.clear()
        event = await turnout.closing(item)
        if event is not None and await _close(course, row, item, event):
            return
        left_seconds = max(0.0, item.closes_at_ms / 1_000 - desk.clock.wall())
        await _wait(item.changed, min(left_seconds, desk.settings.decision_poll_seconds, turnout.rest_seconds(item)))


class _Turnout:
    """Whether a round is over. Devices with consent are counted in the store, sparingly: a count costs what it costs.

    Args:
        course: the study's.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._expected = 0
        self._again_at = 0.0

    async def closing(self, item: OpenRound) -> RoundEvent | None:
        """Why the round closes now; None while it goes on."""
        desk = self._course.desk
        if desk.clock.now_ms() >= item.closes_at_ms:
            return RoundEvent.WINDOW_OVER
        if item.reported >= item.params.maximum_cohort:
            return RoundEvent.ALL_REPORTED
        if not self._may_be_early(item):
            return None
        if desk.clock.monotonic() >= self._again_at:
            async with desk.database.reading() as connection:
                await self._count(connection)
        return RoundEvent.ALL_REPORTED if item.reported >= self._expected else None

    async def confirmed(self, connection: AsyncConnection, item: OpenRound, event: RoundEvent) -> bool:
        """Whether a round that everybody has reported to is still one, inside the change that closes it."""
        if event is RoundEvent.WINDOW_OVER:
            return True
        item.reported = (await self._course.desk.store.reported(connection)).get(item.round_id, 0)
        if item.reported >= item.params.maximum_cohort:
            return True
        await self._count(connection)
        return self._may_be_early(item) and item.reported >= self._expected

    def rest_seconds(self, item: OpenRound) -> float:
        """How long the last count holds, where one is waited for."""
        if not self._may_be_early(item):
            return math.inf
        return max(_LEAST_REST_SECONDS, self._again_at - self._course.desk.clock.monotonic())

    def _may_be_early(self, item: OpenRound) -> bool:
        return self._course.desk.settings.close_early and item.reported >= item.params.minimum_cohort

    async def _count(self, connection: AsyncConnection) -> None:
        desk, started = self._course.desk, self._course.desk.clock.monotonic()
        purpose, now = self._course.study.purpose, desk.clock.now_seconds()
        self._expected = await desk.register.consenting(connection, purpose, now)
        ended = desk.clock.monotonic()
        self._again_at = ended + max(_LEAST_REST_SECONDS, _REST_OF_A_COUNT * (ended - started))


async def _close(course: Course, row: Record, item: OpenRound, event: RoundEvent) -> bool:
    """Close a round in one change; False if it goes on, because not everybody has reported after all."""
    step, turnout = step_round(RoundState.OPEN, event), _Turnout(course)

    async def act(change: Change) -> bool:
        if not await turnout.confirmed(change.connection, item, event):
            return False
        reports = await course.desk.store.report_count(change.connection, row.round_id)
        await course.desk.store.update_round(change.connection, row.round_id, state=step.state, reports=reports)
        change.then(lambda: course.take_down(row.context))
        return True

    return await course.change(act)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
