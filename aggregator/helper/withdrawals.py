"""Withdrawals that reach the helper directly. A notice brings its report's seal and the token that the seal commits to.

Only a seal that opens under the round's key is kept, so that a list holds nothing but reports. Whoever knows the
round's public key can seal, the leader too: a list that runs over its round's maximum cohort and a margin ends the
round, key and all, so that nobody shuts a withdrawal out and has the sum as well. A notice counts if it is durable
before the helper marks the round's batch; one that comes later is answered ``late``. The answer is signed, so that the
device can show it; a notice that comes again, because its answer was lost, is answered as it counted.

There is no limit on the rate: opening a seal costs less than the request that brings it, and a limit would be a way to
keep others out.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from aggregator.errors import KeyGone
from aggregator.helper.office import Office
from aggregator.helper.spool import Spooled
from aggregator.storage.database import Change
from aggregator.storage.helper import Record
from aggregator.storage.helper_tables import EXPIRED, OPEN, OVERRUN, REFUSED
from aggregator.storage.vault import ROUND_KEY
from models.wire.frames import read_seals
from models.wire.message import from_base64
from models.wire.problems import ProblemError
from models.wire.rounds import (
    WITHDRAWN_TYPE,
    SealedWithdrawal,
    WithdrawalAnswer,
    WithdrawalNotice,
    WithdrawalStatus,
    Withdrawn,
    sum_context,
)
from models.wire.studies import Study
from privacy.crypto import CryptoError, SealPrivateKey, sign_document
from privacy.secure_sum import SecureSumError, Span, SumContext
from privacy.secure_sum.reports import SealedPayload, seal_info

KEPT: Final = "kept"
LATE: Final = "late"
_SUMLESS: Final = (REFUSED, EXPIRED, OVERRUN)
"""States that a round ends in without any sum, for ever."""
_PAGE = 1_000


async def withdraw(office: Office, notice: SealedWithdrawal) -> WithdrawalAnswer:
    """Keep a notice until its round is over, and sign that it is ``kept``, or ``late`` where the round is over.

    Raises:
        ProblemError: ``report-invalid`` for a seal that is none of this round's, or another token than the seal's.
    """
    seal = _seal(notice)
    status = await _keep(office, notice, seal)
    office.metrics.withdrawals.labels(status).inc()
    word = Withdrawn(
        study_hash=notice.study_hash,
        round=notice.round,
        report_id=hashlib.sha256(seal).hexdigest(),
        outcome=status,
        at_ms=office.clock.now_ms(),
    )
    return WithdrawalAnswer(status=status, confirmation=sign_document(office.key, WITHDRAWN_TYPE, word.document()))


async def _keep(office: Office, notice: SealedWithdrawal, seal: bytes) -> WithdrawalStatus:
    study_hash, token = bytes.fromhex(notice.study_hash), bytes.fromhex(notice.token)
    async with office.database.reading() as connection:
        known = await office.store.round(connection, study_hash, notice.round)
        proposal = await office.store.proposal(connection, study_hash)
    if known is None or proposal is None:
        return LATE
    if not _is_open(known):
        return await _afterwards(office, known, seal, token)
    study = Study.model_validate_json(proposal.body)
    try:
        await asyncio.to_thread(_check, office, known, study, seal, token)
    except KeyGone:
        return LATE
    most = study.plan.maximum_cohort + office.settings.withdrawal_margin

    async def act(change: Change) -> WithdrawalStatus | None:
        now = await office.store.round(change.connection, study_hash, notice.round)
        if now is None or not _is_open(now):
            return None
        report_id = hashlib.sha256(seal).digest()
        store, connection, at_ms = office.store, change.connection, office.clock.now_ms()
        if await store.add_withdrawal(connection, report_id, token, at_ms, known.round_id):
            await office.standing.advance(change, "withdrawal", report_id, token)
            if await store.withdrawal_count(connection, known.round_id) > most:
                names = await store.end_round(connection, known.round_id, OVERRUN)
                change.then(lambda: office.vault.destroy_soon(names))
                office.log.error("withdrawals overran", study=study.study_id, round=notice.round, most=most)
        return KEPT

    return await office.database.change(act) or await _keep(office, notice, seal)  # None: it is over by now


async def _afterwards(office: Office, known: Record, seal: bytes, token: bytes) -> WithdrawalStatus:
    """Where the round is over: whether the notice had come in time, or the round never has a sum."""
    if known.state in _SUMLESS:
        return KEPT
    if known.withdrawal_horizon is None:
        return LATE
    async with office.database.reading() as connection:
        report_id = hashlib.sha256(seal).digest()
        counted = await office.store.was_noticed(connection, known.withdrawal_horizon, report_id, token)
    return KEPT if counted else LATE


async def withdraw_unsealed(office: Office, notice: WithdrawalNotice) -> None:
    """Keep a notice of the old form, which names neither its round nor its seal.

    Raises:
        ProblemError: ``too-many-requests`` when the list is full.
    """
    now_ms = office.clock.now_ms()
    oldest_ms = now_ms - office.settings.withdrawal_retention_seconds * 1_000
    report_id, token = bytes.fromhex(notice.report_id), bytes.fromhex(notice.token)

    async def act(change: Change) -> None:
        await office.store.drop_old_withdrawals(change.connection, oldest_ms)
        if await office.store.withdrawal_count(change.connection, None) >= office.settings.maximum_withdrawals:
            raise ProblemError(
                "too-many-requests", "too many notices without a seal are waiting; send it with its seal"
            )
        if await office.store.add_withdrawal(change.connection, report_id, token, now_ms, None):
            await office.standing.advance(change, "withdrawal", report_id, token)

    await office.database.change(act)


async def right_tokens(
    office: Office, context: SumContext, key: SealPrivateKey, horizon: int, spooled: Spooled
) -> dict[bytes, bytes]:
    """The tokens that take a report of a batch back, by report id; run once the batch is marked.

    A notice counts if its token is the one that the seal commits to, whatever strangers posted about the same report.
    Memory is one page of notices and what is really withdrawn.

    Args:
        office: the helper.
        context: the round's.
        key: the round's.
        horizon: the last notice that counts.
        spooled: the batch.
    """
    tokens: dict[bytes, bytes] = {}
    async with office.database.reading() as connection:
        for span, offset in zip(spooled.spans, spooled.offsets, strict=True):
            after = b""
            while page := await office.store.noticed(connection, horizon, span.first, span.last, after, _PAGE):
                after = page[-1]
                found = await asyncio.to_thread(_commitments, context, key, spooled.path, span, offset, page)
                for report_id, wanted in found:
                    token = await office.store.token_of(connection, horizon, report_id, partial(_is_right, wanted))
                    if token is not None:
                        tokens[report_id] = token
    return tokens


def _commitments(
    context: SumContext, key: SealPrivateKey, path: Path, span: Span, offset: int, named: list[bytes]
) -> list[tuple[bytes, bytes]]:
    """What the named seals of a range commit to: (report id, SHA-256 of the token that takes it back)."""
    wanted, found = set(named), []
    with path.open("rb") as source:
        source.seek(offset)
        for seal in read_seals(source, span.count):
            report_id = hashlib.sha256(seal).digest()
            if report_id in wanted:
                with suppress(CryptoError, SecureSumError):  # a seal that does not open is no report to take back
                    found.append((report_id, _commitment(key, context, seal)))
    return found


def _commitment(key: SealPrivateKey, context: SumContext, seal: bytes) -> bytes:
    return SealedPayload.parse(key.open(seal, seal_info(context))).withdrawal_hash


def _is_right(wanted: bytes, token: bytes) -> bool:
    return hmac.compare_digest(hashlib.sha256(token).digest(), wanted)


def _seal(notice: SealedWithdrawal) -> bytes:
    try:
        return from_base64(notice.seal)
    except ValueError as error:
        raise ProblemError("malformed", f"seal: {error}") from error


def _is_open(known: Record) -> bool:
    return known.state == OPEN and known.wrapping is not None


def _check(office: Office, known: Record, study: Study, seal: bytes, token: bytes) -> None:
    context = sum_context(study, known.number, known.model_hash)
    key = SealPrivateKey(office.vault.unwrap(known.wrapping, ROUND_KEY, context.digest, known.wrapped_key))
    try:
        wanted = _commitment(key, context, seal)
    except (CryptoError, SecureSumError):
        raise ProblemError("report-invalid", "expected the seal of a report of this round") from None
    if not _is_right(wanted, token):
        raise ProblemError("report-invalid", "expected the token that the seal commits to")
