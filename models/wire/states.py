"""What the leader signs about a study's life, and when its rounds open. Officers' decisions are in ``studies``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from models.wire.message import Hex32, Message, Milliseconds, Slug, Text

STATE_TYPE = "hearthside-state+jwt"
"""JWS type of the leader's word on a step of a study (``StateChange``); in the log under the kind ``state``."""
LONGEST_INTERVAL_SECONDS = 30 * 86_400
"""The longest time between two rounds."""
Word = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,32}$")]
Caller = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,16}(:[0-9a-f]{16})?$")]
"""A role, and behind the colon the first 16 hexadecimal digits of the SHA-256 of a token's label where it has one."""


class StateChange(Message):
    """One step of a study's table (``docs/studies.md``), as the leader signs it.

    Attributes:
        study_id: the study's name.
        study_hash: its digest.
        before: the state that it was in.
        event: what happened.
        after: the state that it is in now.
        who: who asked for it; ``leader`` where nobody did.
        at_ms: when, by the leader's clock.
        detail: why, where there is more to say; never of any device.
    """

    version: Literal[1] = 1
    study_id: Slug
    study_hash: Hex32
    before: Word
    event: Word
    after: Word
    who: Caller
    at_ms: Milliseconds
    detail: Text = ""


class Schedule(Message):
    """When a study's rounds open: nothing in it depends on anybody's data.

    The rounds stand on a grid that begins at ``starts_at_ms``; each opens up to ``jitter_seconds`` after its point of
    the grid, by a share that follows from the study's digest and the round's number alone.
    """

    version: Literal[1] = 1
    starts_at_ms: Milliseconds
    interval_seconds: Annotated[float, Field(ge=0, le=LONGEST_INTERVAL_SECONDS)] = 0.0
    jitter_seconds: Annotated[float, Field(ge=0, le=LONGEST_INTERVAL_SECONDS)] = 0.0

    @model_validator(mode="after")
    def _jitter_within_interval(self) -> Schedule:
        if self.interval_seconds and self.jitter_seconds > self.interval_seconds:
            raise ValueError("expected a jitter of at most the interval: rounds would overtake each other")
        return self
