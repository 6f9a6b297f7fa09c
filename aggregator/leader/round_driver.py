"""A round's walk down its table: each arrow one durable change, so that a restart goes on where the last one ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from aggregator.budget import Promised
from aggregator.errors import KeyGone, StudyFailed, StudyStopped
from aggregator.leader.desk import Desk
from aggregator.leader.open_rounds import OpenRound
from aggregator.leader.releases import Measuring, Unmasking, answered_at_ms, check_answer
from aggregator.leader.work import PublishedRound
from aggregator.rounds import FINAL_ROUND_STATES, Effect, RoundEvent, RoundState, step_round
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.storage.vault import NOISE_SECRET
from models.wire.frames import join_seals, seals_head
from models.wire.problems import ProblemError
from models.wire.rounds import (
    OPENING_TYPE,
    Opening,
    OpeningRequest,
    ShareAnswer,
    model_hash,
    sum_context,
)
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.accounting import Costs
from privacy.crypto import SignatureInvalid, canonical_json, digest, verify_document
from privacy.secure_sum import BatchRefused, SumContext

Result = TypeVar("Result")
_FIRST_PAUSE_SECONDS = 0.1
RELEASE_SECONDS = 86_400
"""How long after the helper's answer a round may be released: devices count its charge from its opening."""


@dataclass(frozen=True)
class Released:
    """A stored release: the noisy sum on the grid (int64[d]) and the helper's signed count of opened seals."""

    total: NDArray[np.int64]
    opened: int


@dataclass(frozen=True)
class RoundDriver:
    """Runs the rounds of one approved study.

    Attributes:
        desk: the leader.
        study: what is asked.
        approval: the officer's decision, as signed.
        log_index: where the study stands in the log.
    """

    desk: Desk
    study: Study
    approval: str
    log_index: int

    async def run(self, number: int, model: bytes) -> Released | None:
        """Bring a round to its end and return its release; None for an abandoned one. Resumes at any state.

        Raises:
            StudyStopped: the privacy office said stop.
            StudyFailed: the stored round was opened for another model, or the helper's answer does not verify.
        """
        while True:
            row = await self._row(number)
            if row is None:
                await self._open(number, model)
                continue
            if row.model_hash != model_hash(model):
                raise StudyFailed(f"round {number} was opened for another model than this study's steps lead to")
            state = RoundState(row.state)
            if state is RoundState.RELEASED:
                return Released(np.frombuffer(row.total, dtype="<i8").astype(np.int64), row.opened)
            if state in FINAL_ROUND_STATES:
                return None
            step = {
                RoundState.OPEN: self._collect,
                RoundState.CLOSED: self._charge,
                RoundState.CHARGED: self._ask_helper,
                RoundState.ANSWERED: self._release,
            }[state]
            try:
                await step(row)
            except (BatchRefused, KeyGone) as error:  # this round cannot be summed; the study's next one may
                await self._abandon(row, RoundEvent.SPOILED, str(error))

    async def restore(self) -> None:
        """Take reports again for a round that was open when the leader stopped."""
        async with self.desk.database.reading() as connection:
            for row in await self.desk.store.rounds(connection, self.study.study_hash()):
                if row.state == RoundState.OPEN:
                    item = self._open_round(row.round_id, row.number, row.model_hash, row.closes_at_ms)
                    item.reported = await self.desk.store.report_count(connection, row.round_id)
                    self._put_up(item, row.opening)

    # awaited -> open

    async def _open(self, number: int, model: bytes) -> None:
        desk = self.desk
        request = OpeningRequest(
            study_hash=self.study.study_hash().hex(),
            round=number,
            model_hash=model_hash(model).hex(),
            window_seconds=self.study.window_seconds,
            checkpoint=desk.ledger_log.checkpoint(desk.clock.now_ms()),
        )
        price = await self._promise(number)
        try:
            jws = await self._patiently(lambda: desk.helper.open_round(request))
            await self._store_opening(jws, request, number, model, price)
        finally:
            desk.opening.pop((self.study.study_hash(), number), None)

    async def _promise(self, number: int) -> Costs:
        """Set aside what the round will be charged: devices pay as soon as it opens.

        Raises:
            ProblemError: ``budget-exhausted``: the ledger cannot pay on top of the rounds that are open.
        """
        desk, study = self.desk, self.study
        price = await asyncio.to_thread(desk.budget.price, study)

        async def act(change: Change) -> None:
            promised = [*await desk.store.promised(change.connection), *desk.opening.values()]
            desk.budget.require_payable(study, price, promised)
            desk.opening[study.study_hash(), number] = Promised(study.purpose, price)

        await desk.database.change(act)
        return price

    async def _store_opening(self, jws: str, request: OpeningRequest, number: int, model: bytes, price: Costs) -> None:
        desk, opening = self.desk, self._read_opening(jws, request)
        step = step_round(RoundState.AWAITED, RoundEvent.OPENED)

        async def act(change: Change) -> None:
            context = self._context(number, model_hash(model))
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
            item = self._open_round(round_id, number, model_hash(model), opening.closes_at_ms)
            change.then(lambda: self._put_up(item, jws))

        await desk.database.change(act)

    def _read_opening(self, jws: str, request: OpeningRequest) -> Opening:
        try:
            keys = (self.desk.settings.helper_verify_key(),)
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

    def _open_round(self, round_id: int, number: int, model_digest: bytes, closes_at_ms: int) -> OpenRound:
        return OpenRound(
            round_id=round_id,
            study=self.study,
            number=number,
            context=self._context(number, model_digest),
            params=self.study.plan.parameters(),
            closes_at_ms=closes_at_ms,
        )

    def _put_up(self, item: OpenRound, jws: str) -> None:
        opening = Opening.model_validate(verify_document(jws, OPENING_TYPE, (self.desk.settings.helper_verify_key(),)))
        inclusion = self.desk.ledger_log.inclusion(self.log_index, opening.checkpoint.size)
        self.desk.open_rounds.add(item)
        self.desk.board.put_up(item.context.digest, PublishedRound(self.study, self.approval, jws, inclusion))
        self.desk.metrics.open_rounds.inc()

    # open -> closed

    async def _collect(self, row: Record) -> None:
        item = self.desk.open_rounds.find(row.context)
        assert item is not None, "an open round was put up when it was opened or restored"
        event = None
        next_poll = self.desk.clock.monotonic()
        while event is None:
            if self.desk.clock.monotonic() >= next_poll:
                next_poll = self.desk.clock.monotonic() + self.desk.settings.decision_poll_seconds
                if await self._is_stopped():
                    await self._abandon(row, RoundEvent.STOPPED, "stopped by the privacy office")
                    raise StudyStopped
            item.changed.clear()
            event = self._closing(item)
            if event is None:
                left_seconds = max(0.0, item.closes_at_ms / 1_000 - self.desk.clock.wall())
                await _wait(item.changed, min(left_seconds, self.desk.settings.decision_poll_seconds))
        await self._close(row, event)

    def _closing(self, item: OpenRound) -> RoundEvent | None:
        expected = max(item.params.minimum_cohort, self.desk.register.consenting(self.study.purpose))
        if self.desk.settings.close_early and item.reported >= expected:
            return RoundEvent.ALL_REPORTED
        if item.reported >= item.params.maximum_cohort:
            return RoundEvent.ALL_REPORTED
        return RoundEvent.WINDOW_OVER if self.desk.clock.now_ms() >= item.closes_at_ms else None

    async def _close(self, row: Record, event: RoundEvent) -> None:
        step = step_round(RoundState.OPEN, event)

        async def act(change: Change) -> None:
            reports = await self.desk.store.report_count(change.connection, row.round_id)
            await self.desk.store.update_round(change.connection, row.round_id, state=step.state, reports=reports)
            change.then(lambda: self._take_down(row.context))

        await self.desk.database.change(act)

    def _take_down(self, context: bytes) -> None:
        if self.desk.open_rounds.find(context) is not None:
            self.desk.metrics.open_rounds.dec()
        self.desk.open_rounds.close(context)
        self.desk.board.take_down(context)

    # closed -> charged

    async def _charge(self, row: Record) -> None:
        desk, least = self.desk, self.study.plan.minimum_cohort
        if row.reports < least:
            await self._abandon(row, RoundEvent.COHORT_TOO_SMALL, f"{row.reports} reports, at least {least} are needed")
            return
        price = await asyncio.to_thread(desk.budget.price, self.study)
        step = step_round(RoundState.CLOSED, RoundEvent.CHARGED)
        approval = digest("approval", self.approval.encode()).hex()

        async def act(change: Change) -> None:
            charged = desk.budget.charge(self.study, row.number, price, approval)
            await desk.store.ledger.append(change, charged, row.study_hash)
            # The noise is fixed from here on: a function of this secret and the batch, whatever happens next.
            wrapping = await asyncio.to_thread(desk.vault.make)
            wrapped = desk.vault.wrap(wrapping, NOISE_SECRET, row.context, desk.entropy(32))
            await desk.store.update_round(
                change.connection, row.round_id, state=step.state, wrapping=wrapping, wrapped_noise=wrapped
            )
            change.then(lambda: desk.budget.settle(charged))

        try:
            await desk.database.change(act)
        except ProblemError as error:
            await self._abandon(row, RoundEvent.BUDGET_EXHAUSTED, str(error))
        desk.metrics.epsilon.set(desk.budget.spent_epsilon())

    # charged -> answered

    async def _ask_helper(self, row: Record) -> None:
        desk = self.desk
        measuring = Measuring(self._context(row.number, row.model_hash), row.reports)
        async for seals in self._seals(row):
            await asyncio.to_thread(measuring.add, seals)
        outgoing = measuring.finish()
        try:
            answer = await self._patiently(
                lambda: desk.helper.share(row.study_hash, row.number, outgoing, self._framed(row))
            )
        except ProblemError as error:
            await self._refused(row, error)
            return
        opened = await self._check_answer(row, answer, outgoing.batch)
        step = step_round(RoundState.CHARGED, RoundEvent.ANSWERED)

        async def act(change: Change) -> None:
            await desk.store.update_round(
                change.connection, row.round_id, state=step.state, answer=answer, opened=opened
            )

        await desk.database.change(act)

    async def _check_answer(self, row: Record, answer: bytes, batch: bytes) -> int:
        """The helper's count of opened seals; every seal that it says has failed must be one of the batch's."""
        helper_key, least = self.desk.settings.helper_verify_key(), self.study.plan.minimum_cohort
        counted = await asyncio.to_thread(check_answer, answer, row.context, batch, row.reports, least, helper_key)
        async with self.desk.database.reading() as connection:
            found = await self.desk.store.count_reports(connection, row.round_id, counted.failed)
        if found != len(counted.failed):
            raise StudyFailed("the helper says that seals have failed which are not in the batch")
        return counted.opened

    async def _seals(self, row: Record) -> AsyncGenerator[list[bytes]]:
        async with self.desk.database.reading() as connection:
            async for seals in self.desk.store.seal_chunks(connection, row.round_id):
                yield seals

    async def _framed(self, row: Record) -> AsyncGenerator[bytes]:
        """The batch as it travels: the same bytes that were measured, read from the store a second time."""
        yield seals_head(row.reports)
        async with aclosing(self._seals(row)) as chunks:
            async for seals in chunks:
                yield join_seals(seals)

    async def _refused(self, row: Record, error: ProblemError) -> None:
        if error.code == "study-stopped":
            await self._abandon(row, RoundEvent.STOPPED, str(error))
            raise StudyStopped from error
        await self._abandon(row, RoundEvent.REFUSED, str(error))

    # answered -> released

    async def _release(self, row: Record) -> None:
        context, answer = self._context(row.number, row.model_hash), ShareAnswer.model_validate_json(row.answer)
        age_ms = self.desk.clock.now_ms() - answered_at_ms(answer, self.desk.settings.helper_verify_key())
        if age_ms > RELEASE_SECONDS * 1_000:
            late = f"expected a release within {RELEASE_SECONDS / 3_600:g} hours of the helper's answer"
            await self._abandon(row, RoundEvent.STALE, f"{late}, got {age_ms / 3_600_000:.1f}; what was charged stays")
            return
        unmasking = Unmasking(self.study, context, answer)
        async with self.desk.database.reading() as connection:
            packed_bytes = self.study.plan.parameters().packed_bytes
            async for chunk in self.desk.store.masked_chunks(connection, row.round_id, packed_bytes):
                await asyncio.to_thread(unmasking.add, chunk)
        noise_secret = self.desk.vault.unwrap(row.wrapping, NOISE_SECRET, row.context, row.wrapped_noise)
        total, batch = await asyncio.to_thread(unmasking.finish, noise_secret, row.opened)
        await self._store_release(row, total, batch)

    async def _store_release(self, row: Record, total: NDArray[np.int64], batch: bytes) -> None:
        desk, step = self.desk, step_round(RoundState.ANSWERED, RoundEvent.RELEASED)
        stored, now_ms = total.astype("<i8").tobytes(), desk.clock.now_ms()
        entry = {
            "study": row.study_hash.hex(),
            "round": row.number,
            "batch": batch.hex(),
            "opened": row.opened,
            "total_sha256": hashlib.sha256(stored).hexdigest(),
            "at_ms": now_ms,
        }
        assert Effect.DELETE_REPORTS in step.effects, "a release leaves no report behind"

        async def act(change: Change) -> None:
            await desk.store.update_round(
                change.connection,
                row.round_id,
                state=step.state,
                total=stored,
                released_at_ms=now_ms,
                wrapping=None,
                wrapped_noise=None,
                answer=None,
            )
            change.then(lambda: desk.vault.destroy_soon([row.wrapping]))
            await desk.store.drop_reports(change.connection, row.round_id)
            await desk.ledger_log.append(change, "release", canonical_json(entry))

        await desk.database.change(act)
        await desk.database.scrub()
        desk.metrics.rounds.labels(step.state).inc()
        desk.log.info("released", study=self.study.study_id, round=row.number, opened=row.opened)

    # any -> abandoned

    async def give_up(self, event: RoundEvent, detail: str) -> None:
        """Abandon every round of the study that is under way: its reports and secrets do not outlive the study."""
        async with self.desk.database.reading() as connection:
            rows = await self.desk.store.rounds(connection, self.study.study_hash())
        for row in rows:
            if RoundState(row.state) not in FINAL_ROUND_STATES:
                await self._abandon(row, event, detail)

    async def _abandon(self, row: Record, event: RoundEvent, detail: str) -> None:
        current = await self._row(row.number)
        assert current is not None, "the round exists"
        step = step_round(RoundState(current.state), event)

        async def act(change: Change) -> None:
            await self.desk.store.update_round(
                change.connection,
                row.round_id,
                state=step.state,
                detail=detail,
                wrapping=None,
                wrapped_noise=None,
                answer=None,
            )
            if current.wrapping is not None:
                change.then(lambda: self.desk.vault.destroy_soon([current.wrapping]))
            await self.desk.store.drop_reports(change.connection, row.round_id)
            change.then(lambda: self._take_down(row.context))

        await self.desk.database.change(act)
        await self.desk.database.scrub()
        self.desk.metrics.rounds.labels(step.state).inc()
        self.desk.log.warning("abandoned", study=self.study.study_id, round=row.number, reason=event.value)

    # the helper may be down

    async def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Repeat a call for as long as the helper does not answer; pauses double up to the setting."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await call()
            except ProblemError as error:
                if error.code == "study-stopped":
                    raise StudyStopped from error
                if not error.problem_type.retry:
                    raise
                if self.desk.clock.now_ms() >= self.study.expires_at_ms:
                    raise StudyFailed("the study expired while the helper could not be reached") from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, self.desk.settings.helper_retry_seconds)

    async def _is_stopped(self) -> bool:
        try:
            jws = await self.desk.helper.decision(self.study.study_hash())
            decision = verify_document(jws or "", APPROVAL_TYPE, self.desk.settings.officer_keys())
            return Decision.model_validate(decision).decision == "stop"
        except (ProblemError, SignatureInvalid, ValidationError):
            return False  # the helper's own refusal to answer is what stops a round; this look is for speed

    async def _row(self, number: int) -> Record | None:
        async with self.desk.database.reading() as connection:
            return await self.desk.store.round(connection, self.study.study_hash(), number)

    def _context(self, number: int, model_digest: bytes) -> SumContext:
        return sum_context(self.study, number, model_digest)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
