"""What the privacy office says of a study reaches the leader's log, whether or not anybody starts the study.

The worker that has the duty asks the helper about every study that still waits for a word: soon after a change, then
ever more slowly, and never about many at once. What a request brings along (a start, a schedule) is taken in here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from aggregator.leader.continuity import may_append
from aggregator.leader.desk import Desk
from aggregator.leader.study_steps import require_in, take_decided_step
from aggregator.logs import failure
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import FINAL_STUDY_STATES, UNDER_WAY, StudyEvent, StudyState
from models.wire.problems import ProblemError
from models.wire.studies import APPROVAL_TYPE, Decision
from privacy.crypto import SignatureInvalid, verify_document

SLOWEST_SECONDS: Final = 60.0
"""A decision on a study that nothing else happens to reaches the log within about so long."""
_AT_ONCE: Final = 20
_WAITING: Final = (StudyState.PROPOSED, StudyState.APPROVED, StudyState.SCHEDULED, StudyState.PAUSED)
_EVENTS: Final = {"approve": StudyEvent.APPROVE, "refuse": StudyEvent.REFUSE, "stop": StudyEvent.STOP}


async def hear(desk: Desk, row: Record) -> tuple[str, Decision] | None:
    """The privacy office's newest decision on a study, as signed and as read; None before the first.

    Raises:
        ProblemError: ``bad-signature``, ``helper-unavailable``.
    """
    jws = await desk.helper.decision(row.study_hash)
    if jws is None:
        return None
    try:
        decision = Decision.model_validate(verify_document(jws, APPROVAL_TYPE, desk.settings.officer_keys()))
    except (SignatureInvalid, ValidationError) as error:
        raise ProblemError("bad-signature", "the decision is not signed by a known officer") from error
    if decision.study_hash != row.study_hash.hex():
        raise ProblemError("bad-signature", "the decision is about another study")
    return jws, decision


async def take_in(desk: Desk, change: Change, row: Record, jws: str, decision: Decision) -> StudyState:
    """Log a decision, once, and take the step that it brings about; returns the study's state."""
    state, event = StudyState(row.state), _EVENTS[decision.decision]
    if row.decision == jws:
        return state
    again = event is StudyEvent.APPROVE and (state is StudyState.APPROVED or state in UNDER_WAY)
    unshown = event is StudyEvent.STOP and state is StudyState.STOPPED
    if not again and not unshown:
        if state in FINAL_STUDY_STATES:
            return state
        return await take_decided_step(desk, change, row, event, jws)
    # A helper that was restored has officers approve anew; an old leader may have believed a stop that it had not seen.
    await desk.ledger_log.append(change, "decision", jws.encode())
    await desk.store.update_study(change.connection, row.study_hash, decision=jws)
    if unshown:
        change.then(lambda: desk.board.stop(jws))
    return state


@dataclass
class Paces:
    """When each study is asked about next: pauses double up to the slowest, and begin anew in a new state.

    Args:
        shortest_seconds: the first pause.
    """

    shortest_seconds: float
    _next: dict[tuple[bytes, str], tuple[float, float]] = field(default_factory=dict)

    def due(self, rows: Sequence[Record], now: float) -> list[Record]:
        """The studies to ask about now, those that have waited longest first; ``now`` in monotonic seconds."""
        keys = {(row.study_hash, row.state): row for row in rows}
        self._next = {key: self._next.get(key, (now, self.shortest_seconds)) for key in keys}
        waited = sorted((at, key) for key, (at, _) in self._next.items() if at <= now)[:_AT_ONCE]
        for _, key in waited:
            pause = self._next[key][1]
            self._next[key] = (now + pause, min(2 * pause, max(SLOWEST_SECONDS, self.shortest_seconds)))
        return [keys[key] for _, key in waited]


async def watch(desk: Desk) -> None:
    """Hear what was decided, for as long as the service is up; the worker that has the duty does it."""
    paces, failing = Paces(desk.settings.decision_poll_seconds), False
    while True:
        await asyncio.sleep(desk.settings.decision_poll_seconds)
        try:
            if desk.duty.held and await may_append(desk):
                await _look(desk, paces)
        except Exception as error:  # noqa: BLE001 - a store or helper that fails now is asked again
            if not failing:
                desk.log.error("not hearing decisions", **failure(error))  # noqa: TRY400 - texts may quote input
            failing = True
        else:
            failing = False


async def _look(desk: Desk, paces: Paces) -> None:
    async with desk.database.reading() as connection:
        rows = await desk.store.studies_in(connection, (*_WAITING, StudyState.STOPPED))
    waiting = [row for row in rows if row.state != StudyState.STOPPED or not desk.board.tells(row.decision)]
    for row in paces.due(waiting, desk.clock.monotonic()):
        try:
            heard = await hear(desk, row)
        except ProblemError as problem:
            if problem.problem_type.retry:
                return  # the helper is away: the next look is soon enough
            desk.log.warning("decision not heard", study=row.study_id, meaning=problem.detail)
            continue
        if heard is not None and heard[0] != row.decision:
            await _record(desk, row, *heard)


async def _record(desk: Desk, row: Record, jws: str, decision: Decision) -> None:
    async def act(change: Change) -> StudyState:
        await desk.duty.require(change.connection)
        return await take_in(desk, change, await require_in(desk, change, row.study_id), jws, decision)

    state = await desk.database.change(act)
    desk.log.info("decision heard", study=row.study_id, decision=decision.decision, outcome=state.value)
