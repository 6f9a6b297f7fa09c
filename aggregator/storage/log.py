"""Queries of the log's entries."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.leader_tables import log_entries

_PAGE = 512


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
