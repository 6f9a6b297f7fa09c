"""What becomes of a closed round: its charge is written, the helper answers for its batch, its noisy sum is released.

closed -> charged -> answered -> released
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aggregator.errors import StudyFailed, StudyStopped
from aggregator.leader.course import Course
from aggregator.leader.releases import Measuring, Unmasking, answered_at_ms, check_answer
from aggregator.leader.totals import Total, to_stored, total_sha256
from aggregator.rounds import RoundEvent, RoundState, step_round
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.storage.vault import NOISE_SECRET
from models.wire.frames import join_seals, seals_head
from models.wire.limits import RELEASE_SECONDS
from models.wire.problems import ProblemError
from models.wire.rounds import ShareAnswer
from privacy.crypto import canonical_json, digest


async def charge(course: Course, row: Record) -> None:
    """Charge the leader's ledger and store the noise's secret, before anything leaves for the helper."""
    desk, least = course.desk, course.study.plan.minimum_cohort
    if row.reports < least:
        await course.abandon(row, RoundEvent.COHORT_TOO_SMALL, f"{row.reports} reports, at least {least} are needed")
        return
    price = await asyncio.to_thread(desk.budget.price, course.study)
    step = step_round(RoundState.CLOSED, RoundEvent.CHARGED)
    approval = digest("approval", course.approval.encode()).hex()

    async def act(change: Change) -> None:
        await desk.store.ledger.catch_up(change.connection, desk.budget)
        charged = desk.budget.charge(course.study, row.number, price, approval)
        await desk.store.ledger.append(change, charged, row.study_hash)
        # The noise is fixed from here on: a function of this secret and the batch, whatever happens next.
        wrapping = await asyncio.to_thread(desk.vault.make)
        wrapped = desk.vault.wrap(wrapping, NOISE_SECRET, row.context, desk.entropy(32))
        await desk.store.update_round(
            change.connection, row.round_id, state=step.state, wrapping=wrapping, wrapped_noise=wrapped
        )
        change.then(lambda: desk.budget.settle(charged))

    try:
        await course.change(act)
    except ProblemError as error:
        await course.abandon(row, RoundEvent.BUDGET_EXHAUSTED, str(error))
    desk.metrics.epsilon.set(desk.budget.spent_epsilon())


async def ask_helper(course: Course, row: Record) -> None:
    """Hand the batch's seals to the helper and store its answer, once that has been checked.

    Raises:
        StudyStopped: the privacy office said stop; the round is abandoned.
        StudyFailed: the answer does not verify, or the study expired while the helper could not be reached.
        BatchRefused: the batch cannot be put in order.
    """
    desk = course.desk
    measuring = Measuring(course.context(row.number, row.model_hash), row.reports)
    async for seals in _seals(course, row):
        await asyncio.to_thread(measuring.add, seals)
    outgoing = measuring.finish()
    try:
        answer = await course.patiently(
            lambda: desk.helper.share(row.study_hash, row.number, outgoing, _framed(course, row))
        )
    except ProblemError as error:
        await _refused(course, row, error)
        return
    opened = await _check_answer(course, row, answer, outgoing.batch)
    step = step_round(RoundState.CHARGED, RoundEvent.ANSWERED)

    async def act(change: Change) -> None:
        await desk.store.update_round(change.connection, row.round_id, state=step.state, answer=answer, opened=opened)

    await course.change(act)


async def _check_answer(course: Course, row: Record, answer: bytes, batch: bytes) -> int:
    """The helper's count of opened seals; every seal that it says has failed must be one of the batch's."""
    helper_key, least = course.desk.settings.helper_verify_key(), course.study.plan.minimum_cohort
    counted = await asyncio.to_thread(check_answer, answer, row.context, batch, row.reports, least, helper_key)
    async with course.desk.database.reading() as connection:
        found = await course.desk.store.count_reports(connection, row.round_id, counted.failed)
    if found != len(counted.failed):
        raise StudyFailed("the helper says that seals have failed which are not in the batch")
    return counted.opened


async def _seals(course: Course, row: Record) -> AsyncGenerator[list[bytes]]:
    async with course.desk.database.reading() as connection:
        async for seals in course.desk.store.seal_chunks(connection, row.round_id):
            yield seals


async def _framed(course: Course, row: Record) -> AsyncGenerator[bytes]:
    """The batch as it travels: the same bytes that were measured, read from the store a second time."""
    yield seals_head(row.reports)
    async with aclosing(_seals(course, row)) as chunks:
        async for seals in chunks:
            yield join_seals(seals)


async def _refused(course: Course, row: Record, error: ProblemError) -> None:
    if error.code == "study-stopped":
        await course.abandon(row, RoundEvent.STOPPED, str(error))
        raise StudyStopped from error
    await course.abandon(row, RoundEvent.REFUSED, str(error))


async def release(course: Course, row: Record) -> None:
    """Unmask the sum, add the leader's noise and store the release; reports and secrets go with it.

    Raises:
        BatchRefused: the stored batch is not the one that was answered.
        KeyGone: the noise's secret cannot be unwrapped any more.
    """
    context, answer = course.context(row.number, row.model_hash), await _stored_answer(course, row)
    age_ms = course.desk.clock.now_ms() - answered_at_ms(answer, course.desk.settings.helper_verify_key())
    if age_ms > RELEASE_SECONDS * 1_000:
        late = f"expected a release within {RELEASE_SECONDS / 3_600:g} hours of the helper's answer"
        await course.abandon(row, RoundEvent.STALE, f"{late}, got {age_ms / 3_600_000:.1f}; what was charged stays")
        return
    unmasking = Unmasking(course.study, context, answer)
    del answer  # as long as a model, and read
    async with course.desk.database.reading() as connection:
        packed_bytes = course.study.plan.parameters().packed_bytes
        async for chunk in course.desk.store.masked_chunks(connection, row.round_id, packed_bytes):
            await asyncio.to_thread(unmasking.add, chunk)
            chunk.clear()  # before the next one is read: of a large model each is a vector
    noise_secret = course.desk.vault.unwrap(row.wrapping, NOISE_SECRET, row.context, row.wrapped_noise)
    total, batch = await asyncio.to_thread(unmasking.finish, noise_secret, row.opened)
    await _store_release(course, row, total, batch)


async def _stored_answer(course: Course, row: Record) -> ShareAnswer:
    async with course.desk.database.reading() as connection:
        return ShareAnswer.model_validate_json(await course.desk.store.round_bytes(connection, row.round_id, "answer"))


async def _store_release(course: Course, row: Record, total: Total, batch: bytes) -> None:
    desk, step = course.desk, step_round(RoundState.ANSWERED, RoundEvent.RELEASED)
    now_ms = desk.clock.now_ms()
    entry = {
        "study": row.study_hash.hex(),
        "round": row.number,
        "batch": batch.hex(),
        "opened": row.opened,
        "total_sha256": total_sha256(total),
        "at_ms": now_ms,
    }

    async def into_the_log(change: Change) -> None:
        await desk.ledger_log.append(change, "release", canonical_json(entry))

    await course.end(row, step, into_the_log, total=to_stored(total), released_at_ms=now_ms)
    desk.log.info("released", study=course.study.study_id, round=row.number, opened=row.opened)
