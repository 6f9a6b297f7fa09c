"""A study under way: what every step of its rounds works with, patience with the helper, and the way out of a round."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from aggregator.errors import StudyFailed, StudyStopped
from aggregator.leader.desk import Desk
from aggregator.leader.offering import take_down
from aggregator.rounds import Effect, RoundEvent, RoundState, Step, step_round
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from models.wire.problems import ProblemError
from models.wire.rounds import sum_context
from models.wire.studies import APPROVAL_TYPE, Decision, Study
from privacy.crypto import CryptoError, verify_document
from privacy.secure_sum import SumContext

Result = TypeVar("Result")
_FIRST_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Course:
    """One approved study under way at the leader.

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

    def context(self, number: int, model_digest: bytes) -> SumContext:
        """What a round's reports, seals and answer are bound to."""
        return sum_context(self.study, number, model_digest)

    async def row(self, number: int) -> Record | None:
        """A round as it is stored; None before it was opened."""
        async with self.desk.database.reading() as connection:
            return await self.desk.store.round(connection, self.study.study_hash(), number)

    async def rows(self) -> list[Record]:
        """Every round of the study, in order."""
        async with self.desk.database.reading() as connection:
            return await self.desk.store.rounds(connection, self.study.study_hash())

    async def change(self, act: Callable[[Change], Awaitable[Result]]) -> Result:
        """A change of the round driver: nothing happens unless this worker has the duty, by the store's own word.

        Raises:
            LeaseLost: another worker runs the studies now.
        """

        async def fenced(change: Change) -> Result:
            await self.desk.duty.require(change.connection)
            return await act(change)

        return await self.desk.database.change(fenced)

    def take_down(self, context: bytes) -> None:
        """Take no more reports for a round and offer it to no device."""
        take_down(self.desk, context)

    async def abandon(self, row: Record, event: RoundEvent, detail: str) -> None:
        """End a round without a release: its reports and secrets go, what was charged stays."""
        current = await self.row(row.number)
        assert current is not None, "the round exists"
        step = step_round(RoundState(current.state), event)

        async def off_the_board(change: Change) -> None:
            change.then(lambda: self.take_down(row.context))

        await self.end(current, step, off_the_board, detail=detail)
        self.desk.log.warning("abandoned", study=self.study.study_id, round=row.number, reason=event.value)

    async def end(self, row: Record, step: Step, also: Callable[[Change], Awaitable[None]], **values: Any) -> None:
        """The one way out of a round: it keeps no report and no secret, whatever it came to.

        Args:
            row: the round as it is stored.
            step: how it ends.
            also: what belongs to the same transaction.
            values: what else is stored of the round.
        """
        assert Effect.DELETE_REPORTS in step.effects, "a round that is over leaves no report behind"

        async def act(change: Change) -> None:
            await self.desk.store.update_round(
                change.connection,
                row.round_id,
                state=step.state,
                wrapping=None,
                wrapped_noise=None,
                answer=None,
                **values,
            )
            if row.wrapping is not None:
                change.then(lambda: self.desk.vault.destroy_soon([row.wrapping]))
            await self.desk.store.drop_reports(change.connection, row.round_id)
            await also(change)

        await self.change(act)
        await self.desk.store.report_bytes.remove({row.round_id})
        await self.desk.database.scrub()
        self.desk.metrics.rounds.labels(step.state).inc()

    async def stop(self) -> str | None:
        """The officer's signed stop of this study; None if there is none, or the helper does not say.

        The helper's own refusal to answer is what stops a round, and devices ask it too: this look is for speed.
        """
        try:
            jws = await self.desk.helper.decision(self.study.study_hash())
        except ProblemError:
            return None
        return jws if is_stop(self.desk, jws, self.study.study_hash()) else None

    async def patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Repeat a call for as long as the helper does not answer; pauses double up to the setting.

        Raises:
            StudyStopped: the helper says that the privacy office said stop.
            StudyFailed: the study expired meanwhile.
            ProblemError: the helper answered with a problem that trying again does not mend.
        """
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


def is_stop(desk: Desk, jws: str | None, study_hash: bytes) -> bool:
    """Whether this is an officer's signed stop of this study."""
    try:
        decision = Decision.model_validate(verify_document(jws or "", APPROVAL_TYPE, desk.settings.officer_keys()))
    except (CryptoError, ValidationError):
        return False
    return (decision.decision, decision.study_hash) == ("stop", study_hash.hex())
