"""The helper's one answer to a round. The order of this file is the privacy argument.

1. *Spool*: the seals' ids are recomputed, must strictly increase, and give the batch's digest. Nothing is opened.
2. *Mark*: one durable transaction ties the round to this digest for ever, charges the ledger, and stores the noise's
   secret, the time and the last withdrawal that counts. From here on a second batch is refused.
3. *Open*: every seal, in order; masks are summed; noise is derived from the stored secret and the batch's digest.
4. *Answer*: the answer's bytes are stored, and in the same transaction the round's key and the noise's secret go.

A crash between 2 and 4 leaves everything that 3 depends on, so the retry of the identical batch yields identical bytes;
after 4 it yields the stored ones. Nothing in step 3 reads a clock, a generator or a list that may have grown since.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.helper.decisions import require_running
from aggregator.helper.expiry import EXPIRED
from aggregator.helper.office import Office
from aggregator.storage.database import Change
from aggregator.storage.helper import Record
from models.wire.frames import decode_seals
from models.wire.message import to_base64
from models.wire.problems import ProblemError
from models.wire.rounds import ANSWER_TYPE, Answer, FailedSeal, ShareAnswer, failed_digest, sum_context
from models.wire.studies import Study
from privacy.accounting import Costs
from privacy.crypto import CryptoError, SealPrivateKey, digest, sign_document
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import (
    BatchDigest,
    BatchRefused,
    CohortTooSmall,
    HelperSum,
    SealFailure,
    SecureSumError,
    SumContext,
    SumParameters,
    noised_share,
)
from privacy.secure_sum.reports import SealedPayload, seal_info

_REASONS = {
    SealFailure.UNOPENED: "unopened",
    SealFailure.MALFORMED: "malformed",
    SealFailure.POLICY: "policy",
    SealFailure.EXPIRED: "expired",
    SealFailure.WITHDRAWN: "withdrawn",
}
OPEN, MARKED, ANSWERED, REFUSED = "open", "marked", "answered", "refused"


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
    tokens: dict[bytes, list[bytes]] = field(repr=False)


async def answer(office: Office, study_hash: bytes, number: int, body: bytes) -> bytes:
    """Answer a round's batch, once. Returns the bytes of a ``ShareAnswer``.

    Raises:
        ProblemError: ``unknown-round``, ``batch-invalid``, ``cohort-too-small``, ``already-answered``,
            ``budget-exhausted``, and whatever keeps the study from running.
    """
    async with office.database.reading() as connection:
        known = await _require_round(office, connection, study_hash, number)
        proposal = await office.store.proposal(connection, study_hash)
    assert proposal is not None, "a round refers to its proposal"
    study = Study.model_validate_json(proposal.body)
    context = sum_context(study, number, known.model_hash)
    seals, batch = await asyncio.to_thread(_spool, body, context)
    price = await asyncio.to_thread(office.budget.price, study)
    marked = await office.database.change(
        lambda change: _mark(office, change, study_hash, number, context, batch, len(seals), price)
    )
    if isinstance(marked, bytes):
        return marked
    body, opened = await asyncio.to_thread(_compute, office, marked, seals)
    answered = await office.database.change(lambda change: _store(office, change, marked, body, opened))
    await office.database.scrub()
    office.log.info("answered", study=study.study_id, round=number, opened=opened)
    return _unwrap(answered)


def _spool(body: bytes, context: SumContext) -> tuple[list[bytes], bytes]:
    """Step 1: seals and the batch's digest."""
    seals = decode_seals(body)
    batch = BatchDigest(context)
    try:
        for seal in seals:
            batch.add(hashlib.sha256(seal).digest())
    except BatchRefused as error:
        raise ProblemError("batch-invalid", str(error)) from error
    return seals, batch.digest()


async def _mark(
    office: Office,
    change: Change,
    study_hash: bytes,
    number: int,
    context: SumContext,
    batch: bytes,
    count: int,
    price: Costs,
) -> Marked | bytes:
    """Step 2. Returns the stored answer where there is one."""
    known = await _require_round(office, change.connection, study_hash, number)
    _check_key(known)
    if known.state != OPEN and known.batch != batch:
        raise ProblemError("already-answered", f"round {number} has had its one batch, and this is another")
    if known.state in (ANSWERED, REFUSED):
        return _unwrap(bytes(known.answer))
    study, approval = await require_running(office, change.connection, study_hash)
    if known.state == OPEN:
        _check_count(study.plan.parameters(), count)
        charged = office.budget.charge(study, number, price, digest("approval", approval.encode()).hex())
        await office.store.ledger.append(change, charged, study_hash)
        await office.store.update_round(
            change.connection,
            known.round_id,
            state=MARKED,
            batch=batch,
            noise_secret=office.entropy(32),
            marked_at_ms=office.clock.now_ms(),
            withdrawal_horizon=await office.store.withdrawal_horizon(change.connection),
        )
        change.then(lambda: office.budget.settle(charged))
        known = await _require_round(office, change.connection, study_hash, number)
    return await _marked(office, change.connection, known, study, context)


async def _marked(
    office: Office, connection: AsyncConnection, known: Record, study: Study, context: SumContext
) -> Marked:
    return Marked(
        round_id=known.round_id,
        study=study,
        context=context,
        batch=known.batch,
        key=SealPrivateKey(known.private_key),
        noise_secret=known.noise_secret,
        marked_at_ms=known.marked_at_ms,
        tokens=await office.store.tokens_up_to(connection, known.withdrawal_horizon),
    )


def _compute(office: Office, marked: Marked, seals: list[bytes]) -> tuple[bytes, int]:
    """Step 3: a pure function of what was marked. A cohort that is too small after opening is an answer too."""
    params = marked.study.plan.parameters()
    tokens = _chosen_tokens(marked, seals)
    helper_sum = HelperSum(params, marked.context, marked.key, now=marked.marked_at_ms // 1_000, withdrawn=tokens)
    for seal in seals:
        helper_sum.add(seal)
    assert helper_sum.batch == marked.batch, "the spooled batch is the marked one"
    try:
        share = noised_share(helper_sum.total, _noise(marked, params), params)
    except CohortTooSmall:
        return b"", helper_sum.opened
    failed = tuple(
        FailedSeal.model_validate({"report_id": item.report_id.hex(), "reason": _REASONS[item.reason]})
        for item in helper_sum.failures
    )
    statement = Answer(
        context=marked.context.digest.hex(),
        batch=marked.batch.hex(),
        opened=helper_sum.opened,
        share_sha256=hashlib.sha256(share).hexdigest(),
        failed_sha256=failed_digest(failed),
        answered_at_ms=marked.marked_at_ms,
    )
    jws = sign_document(office.key, ANSWER_TYPE, statement.document())
    return ShareAnswer(answer=jws, share=to_base64(share), failed=failed).canonical(), helper_sum.opened


def _noise(marked: Marked, params: SumParameters) -> NDArray[np.int64]:
    stream = RandomStream(digest("helper-noise", marked.noise_secret, marked.batch))
    return discrete_gaussian(params.noise_sigma, params.dimension, stream)


def _chosen_tokens(marked: Marked, seals: list[bytes]) -> dict[bytes, bytes]:
    """One token per report. Where several were posted, a stranger's guess must not push out the right one."""
    chosen = {report_id: tokens[0] for report_id, tokens in marked.tokens.items()}
    contested = {report_id for report_id, tokens in marked.tokens.items() if len(tokens) > 1}
    if not contested:
        return chosen
    for seal in seals:
        report_id = hashlib.sha256(seal).digest()
        if report_id in contested:
            chosen[report_id] = _fitting_token(marked, seal, marked.tokens[report_id])
    return chosen


def _fitting_token(marked: Marked, seal: bytes, tokens: list[bytes]) -> bytes:
    try:
        wanted = SealedPayload.parse(marked.key.open(seal, seal_info(marked.context))).withdrawal_hash
    except (CryptoError, SecureSumError):
        return tokens[0]
    fitting = (token for token in tokens if hmac.compare_digest(hashlib.sha256(token).digest(), wanted))
    return next(fitting, tokens[0])


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
            private_key=None,
            noise_secret=None,
        )
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
        raise ProblemError("stale", f"the key of round {known.number} was destroyed: no batch was answered in time")


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
