"""Small requests that come at the same time are done together: one look-up, one insert, one commit for all of them.

While one lot is being done the next one gathers, so that a quiet leader answers each request at once, and a busy one
does larger lots: what a lot costs hangs on its queries far more than on its size. Each request gets the results of its
own items. A lot that fails is done again request by request: one that cannot be done fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Act = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]

LOT: Final = 256
"""Most items of a lot that is made of several requests; as many as one request may bring by itself."""


@dataclass(frozen=True)
class _Part(Generic[Item]):
    """A request's items, and who waits for their results."""

    items: Sequence[Item]
    answer: asyncio.Future[Sequence[Any]]


class Gathering(Generic[Item, Result]):
    """Requests of one kind. Each call passes the same act; it must be one that may be done again if it failed."""

    def __init__(self) -> None:
        self._waiting: list[_Part[Item]] = []
        self._work: asyncio.Task[None] | None = None

    async def do(self, items: Sequence[Item], act: Act[Item, Result]) -> Sequence[Result]:
        """The results of these items, in order; begun is finished, also if the caller goes away."""
        part = _Part(items, asyncio.get_running_loop().create_future())
        part.answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may be gone
        self._waiting.append(part)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._do_all(act), name="gathered requests")
        return await asyncio.shield(part.answer)

    async def _do_all(self, act: Act[Item, Result]) -> None:
        try:
            while self._waiting:
                await self._do(self._next_lot(), act)
        except BaseException as error:
            for part in self._waiting:  # the loop ends: nobody would answer them
                part.answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            self._waiting = []
            raise

    def _next_lot(self) -> list[_Part[Item]]:
        size, count = len(self._waiting[0].items), 1
        while count < len(self._waiting) and size + len(self._waiting[count].items) <= LOT:
            size += len(self._waiting[count].items)
            count += 1
        lot, self._waiting = self._waiting[:count], self._waiting[count:]
        return lot

    async def _do(self, lot: Sequence[_Part[Item]], act: Act[Item, Result]) -> None:
        try:
            results = await act([item for part in lot for item in part.items])
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            if len(lot) == 1:
                lot[0].answer.set_exception(error)
                return
            for part in lot:
                await self._do([part], act)
            return
        at = 0
        for part in lot:
            part.answer.set_result(results[at : at + len(part.items)])
            at += len(part.items)
