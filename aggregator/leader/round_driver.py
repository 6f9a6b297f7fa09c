"""A round's walk down its table: each arrow one durable change, so that a restart goes on where the last one ended."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.errors import KeyGone, StudyFailed
from aggregator.leader import closed_rounds, collecting, turns
from aggregator.leader.course import Course
from aggregator.leader.totals import Total, from_stored
from aggregator.rounds import FINAL_ROUND_STATES, RoundEvent, RoundState
from models.wire.rounds import model_hash
from privacy.secure_sum import BatchRefused


@dataclass(frozen=True)
class Released:
    """A stored release: the noisy sum on the grid and the helper's signed count of opened seals."""

    total: Total
    opened: int


async def drive(course: Course, number: int, model: bytes) -> Released | None:
    """Bring a round to its end and return its release; None for an abandoned one. Resumes at any state.

    Raises:
        StudyStopped: the privacy office said stop.
        StudyFailed: the stored round was opened for another model, or the helper's answer does not verify.
    """
    digest = model_hash(model)
    if await course.row(number) is None:
        await turns.await_turn(course, number)
        await collecting.open_round(course, number, model)
    del model  # it may be large, and is in the store
    while True:
        row = await course.row(number)
        assert row is not None, "a round that was opened stays"
        if row.model_hash != digest:
            raise StudyFailed(f"round {number} was opened for another model than this study's steps lead to")
        state = RoundState(row.state)
        if state is RoundState.RELEASED:
            async with course.desk.database.reading() as connection:
                total = await course.desk.store.round_bytes(connection, row.round_id, "total")
            return Released(from_stored(total, course.study.plan.dimension), row.opened)
        if state in FINAL_ROUND_STATES:
            return None
        step = {
            RoundState.OPEN: collecting.collect,
            RoundState.CLOSED: closed_rounds.charge,
            RoundState.CHARGED: closed_rounds.ask_helper,
            RoundState.ANSWERED: closed_rounds.release,
        }[state]
        try:
            await step(course, row)
        except (BatchRefused, KeyGone) as error:  # this round cannot be summed; the study's next one may
            await course.abandon(row, RoundEvent.SPOILED, str(error))


async def give_up(course: Course, event: RoundEvent, detail: str) -> None:
    """Abandon every round of the study that is under way: its reports and secrets do not outlive the study."""
    for row in await course.rows():
        if RoundState(row.state) not in FINAL_ROUND_STATES:
            await course.abandon(row, event, detail)
