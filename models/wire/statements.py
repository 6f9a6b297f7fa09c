"""What the helper publishes of its own signatures, so that anybody can hold the leader's log against it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.wire.message import CompactJws, Hex32, Message, Milliseconds

STATEMENTS_MAXIMUM = 500
"""So many are in an answer at most; the next ones are asked for by the number of the last."""


class DecisionStatement(Message):
    """An officer's decision that the helper took in.

    Attributes:
        number: rises with time.
        study_hash: which study it is about.
        jws: as the officer signed it.
        recorded_at_ms: when the helper took it in.
    """

    number: int
    study_hash: Hex32
    jws: CompactJws
    recorded_at_ms: Milliseconds


class RoundStatement(Message):
    """A round that the helper opened.

    Attributes:
        number: rises with time.
        study_hash: of which study.
        round: which of its rounds.
        opening: as the helper signed it.
        batch: digest of the one batch that it gave, or gives, its share for; None where there was none.
    """

    number: int
    study_hash: Hex32
    round: Annotated[int, Field(ge=1)]
    opening: CompactJws
    batch: Hex32 | None


class DecisionStatements(Message):
    """Decisions, oldest first."""

    version: Literal[1] = 1
    decisions: tuple[DecisionStatement, ...]


class RoundStatements(Message):
    """Rounds, oldest first."""

    version: Literal[1] = 1
    rounds: tuple[RoundStatement, ...]
