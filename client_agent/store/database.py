"""One encrypted SQLite file: opening it, migrating it, and transactions over it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2

from client_agent.errors import StoreUnreadable, StoreVersionUnknown
from client_agent.files import sync_folder
from client_agent.store.schema import MIGRATIONS

STORE_KEY_BYTES = 32
_BUSY_MS = 10_000
_OPENING_MS = 60_000
"""How long who opens the file waits: the copy of a large store under another key is made in that time."""
_HASTY_MS = 250
_ZEROS_BYTES = 1_048_576
SCRUBBED_BYTES_MAXIMUM = 67_108_864
"""The largest file that is written anew under other connections: they wait for it, and may for ``_BUSY_MS``."""


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
        self._reading = False
        self.before_commit: Callable[[], None] = _nothing
        self.after_commit: Callable[[], None] = _nothing
        self.after_rollback: Callable[[], None] = _nothing
        self._connect(key)
        path.chmod(0o600)
        self._migrate()
        clear_copies(path)  # of a crash: whoever has the file open knows that nobody is making one

    @property
    def key(self) -> bytes:
        """The key that opens the file now (32 secret bytes)."""
        return self._key

    @property
    def is_large(self) -> bool:
        """Whether writing the file anew would keep other connections waiting for longer than they may."""
        return self.path.stat().st_size > SCRUBBED_BYTES_MAXIMUM

    def _connect(self, key: bytes) -> None:
        try:
            self._connection = dbapi2.connect(str(self.path), isolation_level=None, check_same_thread=False)
            self._unlock(key)
        except dbapi2.Error as error:
            raise StoreUnreadable(f"{self.path}: expected a store that opens with this key, got: {error}") from None
        self._key = key

    def _unlock(self, key: bytes) -> None:
        for pragma in (
            "cipher_log_level = NONE",  # the library would write to stderr what the error says anyway
            f"key = \"x'{key.hex()}'\"",
            f"busy_timeout = {_OPENING_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "temp_store = MEMORY",
            "cache_size = -16384",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

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
            if self._reading:
                raise RuntimeError("expected no transaction inside a snapshot")
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

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several queries that see the same state of the store; inside a transaction, what it sees.

        Raises:
            RuntimeError: something is written in between (local misuse).
        """
        with self._lock:
            if self._inside:
                yield
                return
            self.run("BEGIN")
            self._inside = self._reading = True
            try:
                yield
            finally:
                self._inside = self._reading = False
                self._connection.rollback()

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

    def scrub(self) -> bool:
        """Write the file anew without a trace of what was deleted, and empty its log; False if another is in the way.

        Deleted content is overwritten as it is deleted (``secure_delete``), but not the copies that SQLite leaves in
        the gaps of a page when it moves rows to another one, nor those in the log: see docs/decisions/0012. Other
        connections may be open; what they read at this moment may keep the log from being emptied, and a later call
        does it. Needs as much memory as what is left in the store. A file that ``is_large`` is left as it is:
        ``change_key`` leaves no traces either.
        """
        with self._lock:
            if self._inside or self.is_large:
                return False
            with self._hasty():
                try:
                    self._connection.execute("VACUUM")
                    return bool(self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
                except dbapi2.OperationalError:
                    return False

    def change_key(self, draw: Callable[[], bytes]) -> bool:
        """Put a copy under another key in the place of the file; False if another connection has the file open.

        The copy holds live content only. Until it is whole and on the disk the file is as it was, whatever fails (a
        full disk, a crash); a crash after that leaves the copy in its place. A copy that was given up is overwritten
        and deleted at once, after a crash by the next one who opens the store. ``PRAGMA rekey`` would write the file in
        place, and a full disk then destroys it.

        Args:
            draw: returns a key (32 secret bytes) that no copy had before, and has put it, and the present one, where
                they survive a crash. Asked when this is the only connection.

        Raises:
            OSError: the copy could not be put in the place of the file.
            StoreUnreadable: it could not be opened there.
        """
        with self._lock:
            if self._inside:
                return False
            with self._hasty(), self._alone() as alone:
                if not alone:
                    return False
                clear_copies(self.path)
                try:
                    key = draw()
                    if not self._copy(key):
                        return False
                    self._replace(key)
                finally:
                    clear_copies(self.path)
            return True

    def _copy(self, key: bytes) -> bool:
        """Write everything that is live into a file of its own under another key; False if it cannot be written."""
        fresh = fresh_path(self.path)
        try:
            self._connection.execute(f"ATTACH DATABASE ? AS fresh KEY \"x'{key.hex()}'\"", (str(fresh),))
            try:
                self._connection.execute("PRAGMA fresh.journal_mode = MEMORY")  # one file less: it is whole, or useless
                self._connection.execute("SELECT sqlcipher_export('fresh')")
                version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
                self._connection.execute(f"PRAGMA fresh.user_version = {version}")
            finally:
                self._connection.execute("DETACH DATABASE fresh")
            fresh.chmod(0o600)
        except (dbapi2.Error, OSError):
            return False
        return True

    def _replace(self, key: bytes) -> None:
        """Give the copy the file's name, make the old content unreadable for who waits to open it, and go on with it.

        Who waits holds the old file, whose lock is ours until it is closed; that it finds no store in it sends it back
        to the name. The handle must stay open so long: closing any handle of a file gives up a process's locks on it.
        Nothing is overwritten before the new name is on the disk.
        """
        old, opens = os.open(self.path, os.O_WRONLY), self._key
        try:
            fresh_path(self.path).replace(self.path)
            opens = key
            sync_folder(self.path.parent)
            _overwrite(old)
        finally:
            self._connection.close()
            os.close(old)
            self._connect(opens)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other connection, of any process, has the file open; none opens it meanwhile.

        Every connection in WAL mode holds a lock for as long as it is open, so leaving that mode succeeds for the only
        one; exclusive locking keeps the lock that this took.
        """
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            try:
                self._connection.execute("PRAGMA journal_mode = DELETE")
                self._connection.execute("BEGIN EXCLUSIVE")
                self._connection.execute("COMMIT")
            except dbapi2.OperationalError:
                yield False
            else:
                yield True
        finally:
            self._connection.execute("PRAGMA locking_mode = NORMAL")
            with suppress(dbapi2.OperationalError):  # a full disk, or somebody who came first and sets it too
                self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # which lets go of the lock
                self._connection.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def _hasty(self) -> Iterator[None]:
        """Wait for other connections only briefly: what cannot be done now is done later."""
        self._connection.execute(f"PRAGMA busy_timeout = {_HASTY_MS}")
        try:
            yield
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with self._lock:
            self._connection.close()


def fresh_path(path: Path) -> Path:
    """Where a store is written anew before it takes the place of the one that is there."""
    return path.with_suffix(".new")


def clear_copies(path: Path) -> None:
    """Overwrite and delete a copy that has not taken the place of its store, and what SQLite put beside it.

    Only for who has the store open or to themselves: then no other process is making a copy.
    """
    fresh = fresh_path(path)
    for suffix in ("", "-journal", "-wal", "-shm"):
        left = fresh.with_name(fresh.name + suffix)
        with suppress(OSError):  # what cannot be deleted now is tried again, and its key is forgotten in any case
            handle = os.open(left, os.O_WRONLY)
            try:
                _overwrite(handle)
            finally:
                os.close(handle)
                left.unlink()


def _overwrite(handle: int) -> None:
    """Write zeros over a file that nobody is to read any more."""
    left = os.fstat(handle).st_size
    while left > 0:
        left -= os.write(handle, bytes(min(left, _ZEROS_BYTES)))
    os.fsync(handle)


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
