"""Connections to a store, and what their errors mean. Theory of operation.

SQLite gives up the *whole* transaction, and not the statement or the savepoint, when the disk is full, when it cannot
be read or written, or when memory runs out; the next savepoint would then begin a transaction of its own and commit it
by itself. SQLAlchemy does not notice. So the driver is asked after every error, and a connection whose transaction is
gone is given up with it: nothing more can be done on it, and its commit cannot succeed.

On PostgreSQL one writer at a time holds an advisory lock. A worker that stops or vanishes inside a change would hold
it for ever; so the server ends a change that pauses (``Patience``), and no answer of the server is waited for without
end: a connection that was silent for too long is given up, because its next answer would belong to an older question.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY: Final = "PRAGMA busy_timeout=10000"
_PRAGMAS: Final = (
    BUSY,
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA foreign_keys=ON",
)
_AWAY: Final = ("08", "57P", "55P03", "25P03", "57014")
"""PostgreSQL's states, or their classes, that say that the server is gone, going or not there yet, that a lock was not
to be had in time, that the change paused for too long, or that a statement was cancelled."""
_ENDED: Final = ("57P", "25P03")
"""Those after which the server closes the connection."""
_CONNECT_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS, _KEEPALIVES = 10, 3


@dataclass(frozen=True)
class Patience:
    """How long PostgreSQL is waited for, and waits itself.

    Attributes:
        idle_seconds: the longest pause inside a change, after which the server ends it.
        lock_seconds: the longest wait for another worker's change.
        command_seconds: the longest wait for the answer to one statement.
    """

    idle_seconds: float = 10.0
    lock_seconds: float = 30.0
    command_seconds: float = 120.0


PATIENCE: Final = Patience()


class StoreAway(OperationalError):
    """The database cannot be reached, or went away in the middle; nothing is known to have changed, and it may return.

    A change whose commit was under way may be durable all the same: whoever asks again must get the same answer.
    """

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__(None, None, cause or OSError("the transaction is gone"))


class TransactionLost(StoreAway):
    """SQLite has rolled the whole transaction back: the disk is full, say. Nothing of it is stored."""


def writer(url: str, *, sqlite: bool, patience: Patience | None) -> AsyncEngine:
    """The one connection that changes a store; None waits without end, as a change of schema must."""
    if sqlite:
        return _sqlite_engine(url, "BEGIN IMMEDIATE", connections=1)
    limits = {} if patience is None else {
        "idle_in_transaction_session_timeout": _ms(patience.idle_seconds),
        "lock_timeout": _ms(patience.lock_seconds),
    }  # fmt: skip
    return _postgresql_engine(url, limits, patience, connections=1)


def reader(url: str, *, sqlite: bool, patience: Patience, connections: int) -> AsyncEngine:
    """Connections that see one moment of a store each. They may pause: a batch goes out as fast as it is taken."""
    if sqlite:
        return _sqlite_engine(url, "BEGIN", connections=connections)
    engine = _postgresql_engine(url, {}, patience, connections=connections)
    return engine.execution_options(isolation_level="REPEATABLE READ")


@asynccontextmanager
async def begun(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction, whose errors say whether the database was away.

    Raises:
        StoreAway: it was, or the transaction is gone (``TransactionLost``): also where whoever was in it saw no error.
    """
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(engine.connect())
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not _is_away(error):
                raise
            raise StoreAway(error) from error  # the driver's own errors, or the operating system's
        try:
            async with connection.begin():
                yield connection
                await _require_open(connection)
        except (SQLAlchemyError, TimeoutError) as error:
            if isinstance(error, StoreAway) or not (connection.invalidated or _is_away(error)):
                raise
            kind = gone(connection, error)
            await connection.invalidate()  # the next one asks for a new connection
            raise kind from error


def gone(connection: AsyncConnection, cause: BaseException | None = None) -> StoreAway:
    """What to raise where a connection is given up and its transaction with it."""
    lost = connection.invalidated and connection.dialect.name == "sqlite"
    return TransactionLost(cause) if lost else StoreAway(cause)


async def _require_open(connection: AsyncConnection) -> None:
    """Ask the driver itself whether there is anything to commit."""
    if connection.invalidated:
        raise gone(connection)
    if connection.dialect.name == "sqlite":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if not driver.in_transaction:
            await connection.invalidate()
            raise gone(connection)


def _is_away(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | StoreAway):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or _state(error.orig).startswith(_AWAY)


def _state(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _ms(seconds: float) -> str:
    return str(max(1, round(1_000 * seconds)))


def _postgresql_engine(
    url: str, limits: Mapping[str, str], patience: Patience | None, *, connections: int
) -> AsyncEngine:
    keepalives = {
        "tcp_keepalives_idle": str(_KEEPALIVE_SECONDS),
        "tcp_keepalives_interval": str(_KEEPALIVE_SECONDS),
        "tcp_keepalives_count": str(_KEEPALIVES),
    }
    arguments = {
        "timeout": _CONNECT_SECONDS,
        "command_timeout": None if patience is None else patience.command_seconds,
        "server_settings": {**keepalives, **limits},
    }
    engine = create_async_engine(url, pool_size=connections, max_overflow=0, pool_timeout=60, connect_args=arguments)
    event.listen(engine.sync_engine, "handle_error", _give_up_silent)
    return engine


def _give_up_silent(context: ExceptionContext) -> None:
    """A connection whose answer did not come in time, or that the server has ended, answers nothing any more."""
    error = context.original_exception
    if isinstance(error, TimeoutError) or _state(error).startswith(_ENDED):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _sqlite_engine(url: str, begin: str, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=connections, max_overflow=0, pool_timeout=60)

    def give_up_lost(context: ExceptionContext) -> None:
        if context.connection is None or context.connection.invalidated or context.statement == begin:
            return
        driver: Any = context.connection.connection.driver_connection
        if not driver.in_transaction:
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False

    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    event.listen(engine.sync_engine, "handle_error", give_up_lost)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own implicit transactions are switched off: the "begin" hook starts exactly what is asked for.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
