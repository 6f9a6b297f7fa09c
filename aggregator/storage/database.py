"""One store: a writer that does one change at a time, and readers.

A change is one durable transaction followed by its in-memory consequences. Both happen under one lock and, once begun,
are finished even if the request that asked goes away: memory and disk never disagree. Where several processes share a
store, one writes at a time: SQLite and an advisory lock of PostgreSQL see to it.

``scrub`` empties SQLite's write-ahead log, so that deleted reports are gone from the files. It is tidiness, and no
secret rests on it (``vault`` says what does): a reader that is under way, a file system that copies on write or an SSD
may keep old blocks, and PostgreSQL keeps dead rows until it vacuums.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aggregator.errors import SettingsInvalid, StoreCorrupt
from aggregator.storage.migration import upgrade

Result = TypeVar("Result")

_ONE_WRITER = "SELECT pg_advisory_xact_lock(5208294321)"
"""Held by every change on PostgreSQL until its commit; the number is ours and arbitrary."""
_BUSY = "PRAGMA busy_timeout=10000"
_PRAGMAS = (
    _BUSY,
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA foreign_keys=ON",
)


class Change:
    """A transaction under way. ``then`` says what follows in memory once it is durable."""

    __slots__ = ("_after", "connection", "log_pending")

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.log_pending = 0
        """Log entries appended in this change so far."""
        self._after: list[Callable[[], None]] = []

    def then(self, act: Callable[[], None]) -> None:
        """Do this after the commit, in the order of the calls."""
        self._after.append(act)

    def settle(self) -> None:
        """Run what was asked for. Called once, after the commit."""
        for act in self._after:
            act()


class Database:
    """An opened store."""

    def __init__(self, url: str) -> None:
        try:
            self._sqlite = make_url(url).get_backend_name() == "sqlite"
            self._writer = _engine(url, "BEGIN IMMEDIATE" if self._sqlite else None, connections=1)
            self._reader = _engine(url, "BEGIN" if self._sqlite else None, connections=4)
        except (SQLAlchemyError, ModuleNotFoundError) as error:
            raise SettingsInvalid(f"database_url cannot be used: {type(error).__name__}") from error
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self.scrub_owed = False
        """The last scrub met a reader or a writer; whoever tidies up tries again."""

    async def open(self, schema: str) -> None:
        """Bring the schema up to date (Alembic), check the file, and fold in what a crash left of its log.

        Raises:
            StoreCorrupt: the file is no database, is damaged or cannot be reached.
        """
        try:
            async with self._writer.begin() as connection:
                if self._sqlite:
                    verdict = (await connection.execute(text("PRAGMA quick_check(1)"))).scalar_one()
                    if verdict != "ok":
                        raise StoreCorrupt(f"the store is damaged ({verdict}); restore it from a back-up")
                else:
                    await connection.execute(text(_ONE_WRITER))
                await connection.run_sync(upgrade, schema)
            await self._checkpoint()
        except (SQLAlchemyError, OSError) as error:
            raise StoreCorrupt(f"the store cannot be opened ({type(error).__name__})") from error

    async def close(self) -> None:
        """Let changes finish, then close."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._writer.dispose()
        await self._reader.dispose()

    async def change(self, act: Callable[[Change], Awaitable[Result]]) -> Result:
        """Run one change; it is completed or rolled back whole, even when the caller is cancelled."""
        return await self._finished(self._run(act))

    async def _run(self, act: Callable[[Change], Awaitable[Result]]) -> Result:
        async with self._lock:
            async with self._writer.begin() as connection:
                if not self._sqlite:
                    await connection.execute(text(_ONE_WRITER))
                change = Change(connection)
                result = await act(change)
            change.settle()
            return result

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A consistent read that never waits for a change."""
        async with self._reader.begin() as connection:
            yield connection

    async def scrub(self) -> bool:
        """Fold the write-ahead log into the file and empty it, so that what was deleted is gone from both.

        Finished even if the caller goes away. A reader that is under way is not waited for: changes would wait with it.

        Returns:
            Whether it is done; if not, ``scrub_owed`` is set until a later call succeeds.
        """
        return await self._finished(self._scrub())

    async def _scrub(self) -> bool:
        async with self._lock:
            return await self._checkpoint()

    async def _checkpoint(self) -> bool:
        if not self._sqlite:
            return True
        async with self._writer.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                await driver.execute("PRAGMA busy_timeout=0")
                cursor = await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy, *_ = await cursor.fetchone()
                await cursor.close()
            finally:
                await driver.execute(_BUSY)
        self.scrub_owed = bool(busy)
        return not busy

    async def _finished(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do this to its end, whatever becomes of the caller."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)


def _engine(url: str, begin: str | None, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=connections, max_overflow=0, pool_timeout=60)
    if begin is not None:
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own implicit transactions are switched off: the "begin" hook starts exactly what is asked for.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
