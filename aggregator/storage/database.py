"""One store: a writer that does one change at a time, and readers.

A change is one durable transaction followed by its in-memory consequences. Both happen under one lock and, once begun,
are finished even if the request that asked goes away: memory and disk never disagree. Where several processes share a
store, one writes at a time: SQLite and an advisory lock of PostgreSQL see to it. What a process remembers of the store
is brought up to date inside each change, before it acts (``Following``).

Small changes that wait for the lock together (``join``) share one transaction and its one wait for the disk, each in a
savepoint of its own: one that fails is rolled back alone, and none is answered before the commit. Where the store gives
up the whole transaction with one of them (``engines``), each is done again alone.

``scrub`` empties SQLite's write-ahead log, so that deleted reports are gone from the files. It is tidiness, and no
secret rests on it (``vault`` says what does): a reader that is under way, a file system that copies on write or an SSD
may keep old blocks, and PostgreSQL keeps dead rows until it vacuums.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import SettingsInvalid, StoreCorrupt
from aggregator.storage.engines import BUSY, PATIENCE, Patience, TransactionLost, begun, gone, reader, writer
from aggregator.storage.migration import upgrade

Result = TypeVar("Result")

_ONE_WRITER = "SELECT pg_advisory_xact_lock(5208294321)"
"""Held by every change on PostgreSQL until its commit; the number is ours and arbitrary."""
_READERS: Final = 8
"""A batch that is streamed to the helper or summed keeps one for as long as it takes; requests need one for moments."""
_GROUP: Final = 64
"""Most small changes in one transaction: a change that must run alone waits for no more than these."""


class Change:
    """A transaction under way. ``then`` says what follows in memory once it is durable."""

    __slots__ = ("_after", "awaited", "connection", "log_pending")

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.log_pending = 0
        """Log entries appended in this change so far."""
        self._after: list[Callable[[], None]] = []
        self.awaited: list[Callable[[], Awaitable[None]]] = []
        """What must come before the commit."""

    def ahead(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do this before the commit, once for all changes of a transaction that ask for it; if it fails, so do they."""
        self.awaited.append(act)

    def then(self, act: Callable[[], None]) -> None:
        """Do this after the commit, in the order of the calls."""
        self._after.append(act)

    def first(self, act: Callable[[], None]) -> None:
        """Do this after the commit, before anything else."""
        self._after.insert(0, act)

    async def prepare(self, *others: Change) -> None:
        """Run what must come before the commit. Called once, at the end of the transaction."""
        for act in dict.fromkeys(act for change in (self, *others) for act in change.awaited):
            await act()

    def settle(self) -> None:
        """Run what was asked for. Called once, after the commit."""
        for act in self._after:
            act()


class Following(Protocol):
    """Keeps what a process remembers of the store in step with it."""

    async def begin(self, change: Change) -> None:
        """Learn what others have changed. Run inside each transaction, first."""

    async def finish(self, change: Change) -> None:
        """See what this change has changed. Run inside it, last; not for small changes, which need no memory."""


class Observer(Protocol):
    """Is told of each commit, for the metrics."""

    def committed(self, seconds: float, changes: int) -> None:
        """So many changes have become durable together; the wait for the lock is not in the time."""


@dataclass(frozen=True)
class _Small:
    """A small change that waits, and who waits for it."""

    act: Callable[[Change], Awaitable[Any]]
    answer: asyncio.Future[Any]

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True)
class _Outcome:
    """What became of a small change, before it is known whether it is durable."""

    small: _Small
    change: Change
    result: Any = None
    error: Exception | None = None

    def tell(self) -> None:
        """What follows in memory, then the answer. Run once it is known."""
        if self.error is not None:
            self.small.fail(self.error)
            return
        try:
            self.change.settle()
        except Exception as error:  # noqa: BLE001 - the others of the group are durable too and have their own answers
            self.small.fail(error)
        else:
            self.small.answer.set_result(self.result)


class Database:
    """An opened store.

    Args:
        url: SQLAlchemy's.
        patience: with PostgreSQL.
    """

    def __init__(self, url: str, patience: Patience = PATIENCE) -> None:
        try:
            self._sqlite = make_url(url).get_backend_name() == "sqlite"
            self._writer = writer(url, sqlite=self._sqlite, patience=patience)
            self._reader = reader(url, sqlite=self._sqlite, patience=patience, connections=_READERS)
        except (SQLAlchemyError, ModuleNotFoundError) as error:
            raise SettingsInvalid(f"database_url cannot be used: {type(error).__name__}") from error
        self._url = url
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._waiting: list[_Small] = []
        self._conducting = False
        self.following: Following | None = None
        """Told of every change from now on; set once, when the store is open."""
        self.observer: Observer | None = None
        """Told of every commit from now on."""
        self.scrub_owed = False
        """The last scrub met a reader or a writer; whoever tidies up tries again."""

    async def open(self, schema: str) -> None:
        """Bring the schema up to date (Alembic), check the file, and fold in what a crash left of its log.

        Raises:
            StoreCorrupt: the file is no database, is damaged or cannot be reached.
        """
        try:
            await self._upgrade(schema)
            await self._checkpoint()
        except (SQLAlchemyError, OSError) as error:
            raise StoreCorrupt(f"the store cannot be opened ({type(error).__name__})") from error

    async def _upgrade(self, schema: str) -> None:
        engine = writer(self._url, sqlite=self._sqlite, patience=None)  # a change of schema takes as long as it takes
        try:
            async with engine.begin() as connection:
                if self._sqlite:
                    verdict = (await connection.execute(text("PRAGMA quick_check(1)"))).scalar_one()
                    if verdict != "ok":
                        raise StoreCorrupt(f"the store is damaged ({verdict}); restore it from a back-up")
                else:
                    await connection.execute(text(_ONE_WRITER))
                await connection.run_sync(upgrade, schema)
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Let changes finish, then close."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._writer.dispose()
        await self._reader.dispose()

    async def change(self, act: Callable[[Change], Awaitable[Result]]) -> Result:
        """Run one change; it is completed or rolled back whole, even when the caller is cancelled."""
        return await self._finished(self._run(act))

    async def join(self, act: Callable[[Change], Awaitable[Result]]) -> Result:
        """Run one small change, which may share its transaction with others that wait at the same time.

        Its outcome is that of running it alone, at its place in the order of the calls. It must need nothing of this
        process's memory that another small change alters, and raise no generation.
        """
        small = _Small(act, asyncio.get_running_loop().create_future())
        small.answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may be gone
        self._waiting.append(small)
        if not self._conducting:
            self._conducting = True
            self._keep(asyncio.ensure_future(self._conduct()))
        result: Result = await asyncio.shield(small.answer)
        return result

    async def _run(self, act: Callable[[Change], Awaitable[Result]]) -> Result:
        async with self._lock:
            began = time.perf_counter()
            async with self._transaction() as change:
                result = await act(change)
                if self.following is not None:
                    await self.following.finish(change)
                await change.prepare()
            self._observe(began, 1)
            change.settle()
            return result

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Change]:
        async with begun(self._writer) as connection:
            if not self._sqlite:
                await connection.execute(text(_ONE_WRITER))
            change = Change(connection)
            if self.following is not None:
                await self.following.begin(change)
            yield change

    async def _conduct(self) -> None:
        """Group after group, until nobody waits; a change that must run alone gets its turn in between."""
        try:
            while self._waiting:
                async with self._lock:
                    group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
                    await self._run_group(group)
        finally:
            self._conducting = False

    async def _run_group(self, group: list[_Small]) -> None:
        began, committing = time.perf_counter(), False
        try:
            async with self._transaction() as shared:
                outcomes = [await _attempt(shared.connection, small) for small in group]
                done = [outcome for outcome in outcomes if outcome.error is None]
                await shared.prepare(*(outcome.change for outcome in done))
                committing = True
        except TransactionLost as error:
            if committing or len(group) == 1:
                _fail_all(group, error)
                return
            for small in group:  # the one that does not fit fails alone, the others as they would have without it
                await self._run_group([small])
            return
        except BaseException as error:
            _fail_all(group, error)
            if not isinstance(error, Exception):
                raise
            return
        self._observe(began, len(done))
        for outcome in outcomes:
            outcome.tell()

    def _observe(self, began: float, changes: int) -> None:
        if self.observer is not None:
            self.observer.committed(time.perf_counter() - began, changes)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A consistent read that never waits for a change."""
        async with begun(self._reader) as connection:
            yield connection

    async def size_bytes(self, connection: AsyncConnection) -> int:
        """How large the store is, what SQLite's write-ahead log holds apart."""
        pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        query = pages if self._sqlite else "SELECT pg_database_size(current_database())"
        return int((await connection.execute(text(query))).scalar_one())

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
                await driver.execute(BUSY)
        self.scrub_owed = bool(busy)
        return not busy

    async def _finished(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do this to its end, whatever becomes of the caller."""
        return await asyncio.shield(self._keep(asyncio.ensure_future(work)))

    def _keep(self, task: asyncio.Task[Result]) -> asyncio.Task[Result]:
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


async def _attempt(connection: AsyncConnection, small: _Small) -> _Outcome:
    """Run a small change in a savepoint of its own. What a savepoint itself raises is the end of the whole group."""
    change, savepoint = Change(connection), await connection.begin_nested()
    try:
        result = await small.act(change)
    except Exception as error:
        if connection.invalidated:
            raise gone(connection, error) from error  # nobody's act is in the transaction any more
        await savepoint.rollback()
        return _Outcome(small, change, error=error)
    await savepoint.commit()
    return _Outcome(small, change, result)


def _fail_all(group: list[_Small], error: BaseException) -> None:
    for small in group:
        small.fail(error)
