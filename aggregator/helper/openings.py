"""Opening a round: the helper's signed word on study, model, key, window and log. Devices accept no other."""

from __future__ import annotations

import asyncio
import json

from aggregator.helper.decisions import require_running
from aggregator.helper.office import Office
from aggregator.helper.witness import follow, keep_evidence, read_checkpoint
from aggregator.storage.database import Change
from aggregator.storage.helper_tables import OPEN
from aggregator.storage.vault import ROUND_KEY
from models.wire.message import to_base64
from models.wire.problems import ProblemError
from models.wire.rounds import OPENING_TYPE, Checkpoint, Opening, OpeningRequest, sum_context
from models.wire.studies import Study
from privacy.accounting import Costs
from privacy.crypto import SealPrivateKey, sign_document


async def open_round(office: Office, request: OpeningRequest) -> str:
    """Open a round; asking again with the same model gets the same bytes.

    Returns:
        JWS of type ``OPENING_TYPE``.

    Raises:
        ProblemError: not approved, stopped, expired, a budget that cannot pay, an answered round, another model.
    """
    study_hash = bytes.fromhex(request.study_hash)
    checkpoint = read_checkpoint(office, request.checkpoint)
    async with office.database.reading() as connection:
        study, _ = await require_running(office, connection, study_hash)
    _check_request(study, request)
    price = await asyncio.to_thread(office.budget.price, study)

    async def act(change: Change) -> str:
        await require_running(office, change.connection, study_hash)  # again: a stop may have come in between
        known = await office.store.round(change.connection, study_hash, request.round)
        if known is not None:
            return _same_opening(known.state, known.model_hash, known.opening, request)
        await office.store.ledger.catch_up(change.connection, office.budget)
        office.budget.require_payable(study, price, await office.store.promised(change.connection))
        newest = await follow(office, change, request.checkpoint, checkpoint, request.log_proof)
        return await _new_opening(office, change, study, request, newest, price)

    try:
        return await office.database.change(act)
    except ProblemError as error:
        if error.code == "log-forked":
            await keep_evidence(office, request.checkpoint)
        raise


async def _new_opening(
    office: Office, change: Change, study: Study, request: OpeningRequest, checkpoint: Checkpoint, price: Costs
) -> str:
    key, wrapping = SealPrivateKey.generate(), await asyncio.to_thread(office.vault.make)
    context = sum_context(study, request.round, bytes.fromhex(request.model_hash))
    now_ms = office.clock.now_ms()
    opening = Opening(
        study_id=study.study_id,
        study_hash=request.study_hash,
        round=request.round,
        model_hash=request.model_hash,
        round_key=to_base64(key.public.raw),
        opens_at_ms=now_ms,
        closes_at_ms=now_ms + int(study.window_seconds * 1_000),
        issued_at_ms=now_ms,
        checkpoint=checkpoint,
    )
    jws = sign_document(office.key, OPENING_TYPE, opening.document())
    await office.standing.advance(change, "opening", jws.encode())
    await office.store.add_round(
        change.connection,
        study_hash=bytes.fromhex(request.study_hash),
        number=request.round,
        state=OPEN,
        model_hash=bytes.fromhex(request.model_hash),
        opening=jws,
        opened_at_ms=now_ms,
        closes_at_ms=opening.closes_at_ms,
        wrapping=wrapping,
        wrapped_key=office.vault.wrap(wrapping, ROUND_KEY, context.digest, key.private_bytes()),
        costs=json.dumps(price),
    )
    return jws


def _same_opening(state: str, model_hash: bytes, opening: str, request: OpeningRequest) -> str:
    if state != OPEN:
        raise ProblemError("already-answered", f"round {request.round} has had its one batch")
    if model_hash.hex() != request.model_hash:
        raise ProblemError("wrong-state", f"round {request.round} was opened for another model")
    return opening


def _check_request(study: Study, request: OpeningRequest) -> None:
    if request.round > study.rounds:
        raise ProblemError("unknown-round", f"expected a round from 1 to {study.rounds}, got {request.round}")
    if request.window_seconds != study.window_seconds:
        raise ProblemError("wrong-state", f"expected the study's window of {study.window_seconds:g} s")
