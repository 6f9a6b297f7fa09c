"""The helper's one answer to a round. The order of this file is the privacy argument.

1. *Spool*: once the leader's signature over the request's head holds, the body goes to a private file; the seals' ids
   are recomputed, must strictly increase, and give the batch's digest and ranges. Nothing is opened.
2. *Mark*: one durable transaction ties the round to this digest for ever, charges the ledger, and stores the noise's
   secret, the time and the last withdrawal that counts. From here on a second batch is refused.
3. *Open*: every seal, in ranges and over processes where there are many; masks are summed; noise is derived from the
   stored secret and the batch's digest.
4. *Answer*: the answer's bytes are stored, and in the same transaction the round's key and the noise's secret go from
   the store, which had them only as ciphertext. Then the key that wrapped them is destroyed, and so is the file.

Several processes may share the store. Whoever marks the batch holds the round while it opens the seals, for a few
seconds at a time; another one that is handed the same batch waits for the answer, and takes over where the first one
died. That saves work and nothing rests on it: two that did compute would store the same bytes.

A crash between 2 and 4 leaves everything that 3 depends on, so the retry of the identical batch yields identical bytes;
after 4 it yields the stored ones, and a wrapping key that was not destroyed yet goes at the next start. Nothing in
step 3 reads a clock, a generator or a list that may have grown since, and a sum modulo 2^b is the same in whatever
ranges and processes it is computed. Memory does not grow with the reports.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import WorkerLost
from aggregator.helper import holding
from aggregator.helper.decisions import require_running
from aggregator.helper.office import Office
from aggregator.helper.ranges import Job
from aggregator.helper.spool import Spool, Spooled
from aggregator.helper.unsealing import Unsealing
from aggregator.helper.withdrawals import right_tokens
from aggregator.storage.database import Change
from aggregator.storage.helper import NO_SECRETS, Record
from aggregator.storage.helper_tables import ANSWERED, EXPIRED, MARKED, OPEN, OVERRUN, REFUSED
from aggregator.storage.vault import NOISE_SECRET, ROUND_KEY
from models.wire.frames import seals_size
from models.wire.message import to_base64
from models.wire.problems import ProblemError
from models.wire.rounds import ANSWER_TYPE, Answer, FailedSeal, ShareAnswer, failed_digest, sum_context
from models.wire.studies import Study
from privacy.accounting import Costs
from privacy.crypto import SealPrivateKey, digest, sign_document
from privacy.crypto.requests import SignedHead
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import (
    CohortTooSmall,
    SealFailure,
    SumContext,
    SumParameters,
    noised_share,
)
from privacy.secure_sum.reports import SEAL_BYTES

_REASONS = {
    SealFailure.UNOPENED: "unopened",
    SealFailure.MALFORMED: "malformed",
    SealFailure.POLICY: "policy",
    SealFailure.EXPIRED: "expired",
    SealFailure.WITHDRAWN: "withdrawn",
}
_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Marked:
    """Everything that the answer is a function of; all of it is durable."""

    round_id: int
    study: Study
    context: SumContext
    batch: bytes
    key: SealPrivateKey
    noise_secret: bytes = field(repr=False)
    marked_at_ms: int
    tokens: dict[bytes, bytes] = field(repr=False)
    """The right tokens of withdrawn reports of this batch."""
    withdrawal_horizon: int = 0


class _Elsewhere:
    """Another process is answering the round."""


_ELSEWHERE: Final = _Elsewhere()


async def answer(office: Office, study_hash: bytes, number: int, head: SignedHead, body: AsyncIterator[bytes]) -> bytes:
    """Answer a round's batch, once. Returns the bytes of a ``ShareAnswer``.

    Args:
        office: the helper.
        study_hash: which study.
        number: which round of it.
        head: what the leader signed, checked; the body must turn out to be the one that it names.
        body: the batch, as it arrives.

    Raises:
        ProblemError: ``unknown-round``, ``too-large``, ``malformed``, ``bad-signature``, ``batch-invalid``,
            ``cohort-too-small``, ``already-answered``, ``budget-exhausted``, and whatever keeps the study from running.
        WorkerLost: a process died while it opened seals; the batch stays marked.
    """
    async with office.database.reading() as connection:
        known = await _require_round(office, connection, study_hash, number)
        proposal = await office.store.proposal(connection, study_hash)
    assert proposal is not None, "a round refers to its proposal"
    study = Study.model_validate_json(proposal.body)
    context = sum_context(study, number, known.model_hash)
    with ExitStack() as files:
        path = files.enter_context(office.spools.file())
        async with office.spooling:
            spooled = await _spool(office, path, study.plan.parameters(), context, head, body)
        price = await asyncio.to_thread(office.budget.price, study)
        while True:
            marked = await office.database.change(
                lambda change: _mark(office, change, study_hash, number, context, spooled.batch, spooled.count, price)
            )
            if not isinstance(marked, _Elsewhere):
                break
            await holding.wait(office, study_hash, number)
        if isinstance(marked, bytes):
            return marked
        task = office.answering.get(marked.round_id)
        if task is None:
            # The answer outlives a request that goes away: a retry joins it here, or finds what it stored.
            task = asyncio.ensure_future(_finish(office, marked, spooled, files.pop_all()))
            office.answering[marked.round_id] = task
            task.add_done_callback(lambda done: _forget(office, marked.round_id, done))
    return _unwrap(await asyncio.shield(task))


async def _spool(
    office: Office,
    path: Path,
    params: SumParameters,
    context: SumContext,
    head: SignedHead,
    body: AsyncIterator[bytes],
) -> Spooled:
    """Step 1. What arrives is at most what a full cohort of this study has."""
    spool = Spool(path, context, seals_size(params.maximum_cohort, SEAL_BYTES))
    try:
        pieces = bytearray()
        async for piece in body:
            pieces += piece
            if len(pieces) >= _PIECE_BYTES:
                await asyncio.to_thread(spool.write, bytes(pieces))
                pieces.clear()
        await asyncio.to_thread(spool.write, bytes(pieces))
        spooled, body_sha256 = await asyncio.to_thread(spool.finish)
    finally:
        spool.close()
    office.check_body(head, body_sha256)
    return spooled


async def _finish(office: Office, marked: Marked, spooled: Spooled, files: ExitStack) -> bytes:
    """Steps 3 and 4."""
    with files:
        async with holding.held(office, marked.round_id):
            tokens = await right_tokens(office, marked.context, marked.key, marked.withdrawal_horizon, spooled)
            marked = replace(marked, tokens=tokens)
            body, opened = await asyncio.to_thread(_compute, office, marked, spooled)
            answered = await office.database.change(lambda change: _store(office, change, marked, body, opened))
    await office.database.scrub()
    office.log.info("answered", study=marked.study.study_id, round=marked.context.round, opened=opened)
    return answered


def _forget(office: Office, round_id: int, done: asyncio.Task[bytes]) -> None:
    office.answering.pop(round_id, None)
    if not done.cancelled():
        done.exception()  # whoever asked has it, or went away


async def _mark(
    office: Office,
    change: Change,
    study_hash: bytes,
    number: int,
    context: SumContext,
    batch: bytes,
    count: int,
    price: Costs,
) -> Marked | bytes | _Elsewhere:
    """Step 2. Returns the stored answer where there is one, and says where another process is working on it."""
    known = await _require_round(office, change.connection, study_hash, number)
    _check_key(known)
    if known.state != OPEN and known.batch != batch:
        raise ProblemError("already-answered", f"round {number} has had its one batch, and this is another")
    if known.state in (ANSWERED, REFUSED):
        return _unwrap(bytes(known.answer))
    study, approval = await require_running(office, change.connection, study_hash)
    if known.state == MARKED and holding.is_elsewhere(office, known):
        return _ELSEWHERE
    hold = holding.claim(office)
    if known.state == MARKED:
        await office.store.update_round(change.connection, known.round_id, **hold)
    if known.state == OPEN:
        _check_time(office, known)
        _check_count(study.plan.parameters(), count)
        await office.store.ledger.catch_up(change.connection, office.budget)
        charged = office.budget.charge(study, number, price, digest("approval", approval.encode()).hex())
        await office.store.ledger.append(change, charged, study_hash)
        await office.store.update_round(
            change.connection,
            known.round_id,
            state=MARKED,
            batch=batch,
            wrapped_noise=office.vault.wrap(known.wrapping, NOISE_SECRET, context.digest, office.entropy(32)),
            marked_at_ms=office.clock.now_ms(),
            withdrawal_horizon=await office.store.withdrawal_horizon(change.connection),
            **hold,
        )
        change.then(lambda: office.budget.settle(charged))
        known = await _require_round(office, change.connection, study_hash, number)
    return _marked(office, known, study, context)


def _marked(office: Office, known: Record, study: Study, context: SumContext) -> Marked:
    unwrap = partial(office.vault.unwrap, known.wrapping)
    return Marked(
        round_id=known.round_id,
        study=study,
        context=context,
        batch=known.batch,
        key=SealPrivateKey(unwrap(ROUND_KEY, context.digest, known.wrapped_key)),
        noise_secret=unwrap(NOISE_SECRET, context.digest, known.wrapped_noise),
        marked_at_ms=known.marked_at_ms,
        tokens={},
        withdrawal_horizon=known.withdrawal_horizon,
    )


def _compute(office: Office, marked: Marked, spooled: Spooled) -> tuple[bytes, int]:
    """Step 3: a pure function of what was marked. A cohort that is too small after opening is an answer too."""
    assert spooled.batch == marked.batch, "the spooled batch is the marked one"
    params, began = marked.study.plan.parameters(), time.perf_counter()
    unsealing = Unsealing(params, marked.context, spooled.spans)
    large = spooled.count >= office.settings.large_batch_reports
    workers = office.settings.workers or os.cpu_count() or 1
    unsealing.run(_jobs(office, marked, spooled, params), min(workers, len(spooled.spans)) if large else 1)
    try:
        share = noised_share(unsealing.total, _noise(marked, params), params)
    except CohortTooSmall:
        return b"", unsealing.opened
    failed = tuple(
        FailedSeal.model_validate({"report_id": item.report_id.hex(), "reason": _REASONS[item.reason]})
        for item in unsealing.failures()
    )
    for item in failed:
        office.metrics.unopened_seals.labels(item.reason).inc()
    office.metrics.share_seconds.observe(time.perf_counter() - began)
    statement = Answer(
        context=marked.context.digest.hex(),
        batch=marked.batch.hex(),
        opened=unsealing.opened,
        share_sha256=hashlib.sha256(share).hexdigest(),
        failed_sha256=failed_digest(failed),
        answered_at_ms=marked.marked_at_ms,
    )
    jws = sign_document(office.key, ANSWER_TYPE, statement.document())
    return ShareAnswer(answer=jws, share=to_base64(share), failed=failed).canonical(), unsealing.opened


def _jobs(office: Office, marked: Marked, spooled: Spooled, params: SumParameters) -> Iterator[Job]:
    """The batch's ranges, until the service is stopped."""
    withdrawn = sorted(marked.tokens)
    for span, offset in zip(spooled.spans, spooled.offsets, strict=True):
        if office.stopping.is_set():
            raise WorkerLost("the service is stopping; the batch is marked, so a retry is safe")
        named = withdrawn[bisect_left(withdrawn, span.first) : bisect_right(withdrawn, span.last)]
        yield Job(
            params=params,
            context=marked.context,
            span=span,
            path=spooled.path,
            offset=offset,
            now=marked.marked_at_ms // 1_000,
            key=marked.key.private_bytes(),
            withdrawn={report_id: marked.tokens[report_id] for report_id in named},
        )


def _noise(marked: Marked, params: SumParameters) -> NDArray[np.int64]:
    stream = RandomStream(digest("helper-noise", marked.noise_secret, marked.batch))
    return discrete_gaussian(params.noise_sigma, params.dimension, stream)


async def _store(office: Office, change: Change, marked: Marked, body: bytes, opened: int) -> bytes:
    """Step 4: store the answer and destroy the key. A second computation of the same batch finds the first one's."""
    known = await _require_round(office, change.connection, marked.context.study_hash, marked.context.round)
    _check_key(known)
    if known.state == MARKED:
        await require_running(office, change.connection, marked.context.study_hash)  # a stop meanwhile still counts
        await office.store.update_round(
            change.connection,
            marked.round_id,
            state=ANSWERED if body else REFUSED,
            answer=body,
            opened=opened,
            **NO_SECRETS,
        )
        change.then(lambda: office.vault.destroy_soon([known.wrapping]))
        return body
    return bytes(known.answer)


def _unwrap(body: bytes) -> bytes:
    if not body:
        raise ProblemError(
            "cohort-too-small", "after failed and withdrawn seals fewer are left than the minimum cohort"
        )
    return body


def _check_key(known: Record) -> None:
    if known.state == EXPIRED:
        raise ProblemError("stale", f"the key of round {known.number} was destroyed before a batch was answered")
    if known.state == OVERRUN:
        raise ProblemError(
            "stale", f"round {known.number} is never answered: more was taken back than its cohort holds"
        )


def _check_time(office: Office, known: Record) -> None:
    """Reports may be taken back until the mark, so a helper may hold the leader to the announced window."""
    if not office.settings.answer_early and office.clock.now_ms() < known.closes_at_ms:
        raise ProblemError("helper-unavailable", f"the window of round {known.number} is not over; ask again then")


def _check_count(params: SumParameters, count: int) -> None:
    if count < params.minimum_cohort:
        raise ProblemError("cohort-too-small", f"expected at least {params.minimum_cohort} seals, got {count}")
    if count > params.maximum_cohort:
        raise ProblemError("batch-invalid", f"expected at most {params.maximum_cohort} seals, got {count}")


async def _require_round(office: Office, connection: AsyncConnection, study_hash: bytes, number: int) -> Record:
    known = await office.store.round(connection, study_hash, number)
    if known is None:
        raise ProblemError("unknown-round", f"round {number} of this study was never opened here")
    return known
