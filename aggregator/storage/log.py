"""Queries of the log's entries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import LogHeldBack
from aggregator.storage.leader_tables import facts, log_entries

_PAGE = 512
_HELD_BACK: Final = "log-held-back"


async def log_size(connection: AsyncConnection) -> int:
    """Number of entries, those of the change under way included: indexes have no gap."""
    newest = (await connection.execute(select(func.max(log_entries.c.entry_index)))).scalar_one()
    return 0 if newest is None else int(newest) + 1


async def log_pages(connection: AsyncConnection, start: int) -> AsyncIterator[list[bytes]]:
    """Entries from one on, in order, a page at a time: a long log is never in memory as a whole."""
    while True:
        query = select(log_entries.c.body).where(log_entries.c.entry_index >= start)
        page = (await connection.execute(query.order_by(log_entries.c.entry_index).limit(_PAGE))).scalars()
        entries = list(page)
        if not entries:
            return
        yield entries
        start += len(entries)


async def is_held_back(connection: AsyncConnection) -> bool:
    """Whether nothing may be appended, because others may have seen entries that are not here."""
    return (await connection.execute(select(facts.c.name).where(facts.c.name == _HELD_BACK))).first() is not None


async def hold_back(connection: AsyncConnection, *, held: bool) -> None:
    """Say, durably and for every worker, whether the log is held back."""
    await connection.execute(facts.delete().where(facts.c.name == _HELD_BACK))
    if held:
        await connection.execute(facts.insert().values(name=_HELD_BACK, value=b"1"))


async def require_continued(connection: AsyncConnection) -> None:
    """Insist, inside a change, that the log may grow.

    Raises:
        LogHeldBack: it may not.
    """
    if await is_held_back(connection):
        raise LogHeldBack
