"""Rounds that take reports, by their context. The map says in one look-up what a report is for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.wire.problems import ProblemError
from models.wire.studies import Study
from privacy.secure_sum import SumContext, SumParameters


@dataclass
class OpenRound:
    """One open round. ``reported`` is how many reports it had when this worker last looked; the store decides."""

    round_id: int
    study: Study
    number: int
    context: SumContext
    params: SumParameters
    closes_at_ms: int
    reported: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class OpenRounds:
    """All open rounds, and the contexts of those that are over."""

    _open: dict[bytes, OpenRound] = field(default_factory=dict)
    _over: set[bytes] = field(default_factory=set)

    def __iter__(self) -> Iterator[OpenRound]:
        return iter(tuple(self._open.values()))

    def add(self, item: OpenRound) -> None:
        """Take reports for a round."""
        self._open[item.context.digest] = item

    def close(self, context: bytes) -> None:
        """Take no more reports for a round."""
        self._open.pop(context, None)
        self._over.add(context)

    def ended(self, context: bytes) -> None:
        """A round of this context was opened once; unless it is open here, it is over."""
        self._over.add(context)

    def knows(self, context: bytes) -> bool:
        """Whether a round of this context was ever opened, as far as this worker has heard."""
        return context in self._open or context in self._over

    def find(self, context: bytes) -> OpenRound | None:
        """An open round, if this context is one's."""
        return self._open.get(context)

    def require(self, context: bytes, now_ms: int) -> OpenRound:
        """The open round of a context.

        Raises:
            ProblemError: ``round-closed`` or ``unknown-round``.
        """
        found = self._open.get(context)
        if found is None:
            raise ProblemError("round-closed" if context in self._over else "unknown-round")
        if now_ms >= found.closes_at_ms:
            raise ProblemError("round-closed")
        return found
