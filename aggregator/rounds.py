"""A round as a state machine: a table as data, no I/O. A study's own life is in ``aggregator.studies``.

A round walks straight down its table:

    awaited -> open -> closed -> charged -> answered -> released

Each arrow is one durable transaction of the leader, so a restart resumes at the arrow it had not finished. The order
is the promise: the ledger is charged and the noise's secret stored (``charged``) before a batch leaves for the helper,
and the helper's answer is stored before anything is released. ``abandoned`` is the way out of a round whose cohort was
too small, whose batch cannot be summed, whose answer is a day old or whose study was stopped; what was charged stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from aggregator.errors import StepForbidden


class RoundState(StrEnum):
    """Where a round stands."""

    AWAITED = "awaited"
    OPEN = "open"
    CLOSED = "closed"
    CHARGED = "charged"
    ANSWERED = "answered"
    RELEASED = "released"
    ABANDONED = "abandoned"


class RoundEvent(StrEnum):
    """What can happen to a round."""

    OPENED = "opened"
    WINDOW_OVER = "window over"
    ALL_REPORTED = "all reported"
    COHORT_TOO_SMALL = "cohort too small"
    BUDGET_EXHAUSTED = "budget exhausted"
    CHARGED = "charged"
    ANSWERED = "answered"
    REFUSED = "refused by the helper"
    STALE = "its answer is too old"
    SPOILED = "batch or secret spoiled"
    RELEASED = "released"
    STOPPED = "stopped"
    FAILED = "the study failed"


class Effect(StrEnum):
    """What the shell does in the same transaction as the step, or right after it."""

    PUBLISH_WORK = "publish work"
    TAKE_WORK_DOWN = "take work down"
    DELETE_REPORTS = "delete reports"
    DESTROY_NOISE_SECRET = "destroy the noise's secret"  # noqa: S105  # an effect's name, not a secret
    APPEND_LOG = "append to the log"


class Step(NamedTuple):
    """The next state and what goes with it."""

    state: RoundState
    effects: tuple[Effect, ...]


_GIVE_UP: Final = (Effect.TAKE_WORK_DOWN, Effect.DELETE_REPORTS, Effect.DESTROY_NOISE_SECRET)

ROUND_TABLE: Final[Mapping[tuple[RoundState, RoundEvent], Step]] = {
    (RoundState.AWAITED, RoundEvent.OPENED): Step(RoundState.OPEN, (Effect.APPEND_LOG, Effect.PUBLISH_WORK)),
    (RoundState.OPEN, RoundEvent.WINDOW_OVER): Step(RoundState.CLOSED, (Effect.TAKE_WORK_DOWN,)),
    (RoundState.OPEN, RoundEvent.ALL_REPORTED): Step(RoundState.CLOSED, (Effect.TAKE_WORK_DOWN,)),
    (RoundState.CLOSED, RoundEvent.CHARGED): Step(RoundState.CHARGED, ()),
    (RoundState.CHARGED, RoundEvent.ANSWERED): Step(RoundState.ANSWERED, ()),
    (RoundState.ANSWERED, RoundEvent.RELEASED): Step(
        RoundState.RELEASED, (Effect.APPEND_LOG, Effect.DELETE_REPORTS, Effect.DESTROY_NOISE_SECRET)
    ),
    (RoundState.CLOSED, RoundEvent.COHORT_TOO_SMALL): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CLOSED, RoundEvent.BUDGET_EXHAUSTED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CHARGED, RoundEvent.REFUSED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CHARGED, RoundEvent.SPOILED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.ANSWERED, RoundEvent.SPOILED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.ANSWERED, RoundEvent.STALE): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.OPEN, RoundEvent.STOPPED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CLOSED, RoundEvent.STOPPED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CHARGED, RoundEvent.STOPPED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.ANSWERED, RoundEvent.STOPPED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.OPEN, RoundEvent.FAILED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CLOSED, RoundEvent.FAILED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.CHARGED, RoundEvent.FAILED): Step(RoundState.ABANDONED, _GIVE_UP),
    (RoundState.ANSWERED, RoundEvent.FAILED): Step(RoundState.ABANDONED, _GIVE_UP),
}

FINAL_ROUND_STATES: Final = frozenset({RoundState.RELEASED, RoundState.ABANDONED})


def step_round(state: RoundState, event: RoundEvent) -> Step:
    """The round's next state and effects.

    Raises:
        StepForbidden: the table has no such step.
    """
    try:
        return ROUND_TABLE[state, event]
    except KeyError:
        raise StepForbidden(state, event) from None
