"""What this version can do, and how an older and a newer end live together (``docs/decisions/0013``).

A study names what its answer needs (``Study.needs``). Leader and helper refuse a study with a need that they do not
know; a device that lacks one sends nulls for it. ``GET /v1/versions`` of either service says what it knows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

from pydantic import Field

from models.wire.message import Message

MASKED_SUM: Final = "masked-sum/1"
"""The one-shot two-server sum with masks, seals and both servers' noise."""
FEATURES: Final[frozenset[str]] = frozenset({MASKED_SUM})
"""What this version can do, as studies name it in ``needs``."""
STUDY_VERSIONS: Final = (1,)
"""Forms of a study that this version reads in full."""
QUESTIONS: Final = ("transitions", "coverage", "personas", "train")
"""Questions that this version can ask, encode and decode."""


class Versions(Message):
    """What a service knows; nothing that a device must have read to take part, and the same for everyone."""

    version: Annotated[int, Field(ge=1)] = 1
    studies: tuple[int, ...] = STUDY_VERSIONS
    questions: tuple[str, ...] = QUESTIONS
    features: tuple[str, ...] = tuple(sorted(FEATURES))


def missing(needs: Collection[str], known: Collection[str] = FEATURES) -> list[str]:
    """Of what a study needs, what is not known here."""
    return sorted(set(needs) - set(known))
