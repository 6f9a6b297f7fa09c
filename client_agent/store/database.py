"""One encrypted SQLite file: opening it, migrating it, and transactions over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2

from client_agent.errors import StoreUnreadable, StoreVersionUnknown
from client_agent.store.schema import MIGRATIONS

STORE_KEY_BYTES = 32
_BUSY_MS = 10_000


class Database:
    """A connection to one SQLCipher file, shared by threads under a lock.

    The key is raw (no pass-phrase stretching: it is random), pages are authenticated, deleted content is overwritten,
    and a commit is on the disk when it returns (WAL with ``synchronous=FULL``).

    Args:
        path: the file; made if it does not exist.
        key: 32 secret bytes.

    Raises:
        StoreUnreadable: wrong key, damaged, or not a store.
        StoreVersionUnknown: written by a newer agent.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        if len(key) != STORE_KEY_BYTES:
            raise StoreUnreadable(f"expected a store key of {STORE_KEY_BYTES} bytes, got {len(key)}")
        self.path = path
        self._lock = threading.RLock()
        self._inside = False
        self.before_commit: Callable[[], None] = _nothing
        self.after_commit: Callable[[], None] = _nothing
        self.after_rollback: Callable[[], None] = _nothing
        try:
            self._connection = dbapi2.connect(str(path), isolation_level=None, check_same_thread=False)
            self._unlock(key)
        except dbapi2.Error as error:
            raise StoreUnreadable(f"{path}: expected a store that opens with this key, got: {error}") from None
        path.chmod(0o600)
        self._migrate()

    def _unlock(self, key: bytes) -> None:
        for pragma in (
            "cipher_log_level = NONE",  # the library would write to stderr what the error says anyway
            f"key = \"x'{key.hex()}'\"",
            f"busy_timeout = {_BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "temp_store = MEMORY",
            "cache_size = -16384",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def _migrate(self) -> None:
        with self.transaction():
            version = int(self.fetch("PRAGMA user_version")[0][0])
            if version > len(MIGRATIONS):
                raise StoreVersionUnknown(f"expected a store of version {len(MIGRATIONS)} or older, got {version}")
            for number, block in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in filter(str.strip, block.split(";")):
                    self.run(statement)
                self.run(f"PRAGMA user_version = {number}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable at the end; a transaction inside another one joins it."""
        with self._lock:
            if self._inside:
                yield
                return
            self.run("BEGIN IMMEDIATE")
            self._inside = True
            try:
                yield
                self.before_commit()
                self.run("COMMIT")
            except BaseException:
                self._inside = False
                if self._connection.in_transaction:
                    self._connection.rollback()
                self.after_rollback()
                raise
            self._inside = False
            self.after_commit()

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute one statement; returns the number of rows it changed."""
        with self._lock, _readable(self.path):
            return int(self._connection.execute(statement, values).rowcount)

    def run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement for many rows."""
        with self._lock, _readable(self.path):
            self._connection.executemany(statement, rows)

    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a query and return all rows."""
        with self._lock, _readable(self.path):
            return list(self._connection.execute(statement, values).fetchall())

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with self._lock:
            self._connection.close()


def _nothing() -> None:
    """What happens around a commit unless the store says otherwise."""


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except dbapi2.IntegrityError:
        raise
    except dbapi2.DatabaseError as error:
        raise StoreUnreadable(f"{path}: {error}") from None
