"""Back-ups of a store in one SQLite file, and their return. PostgreSQL has its own programs; ``docs/storage.md``.

A back-up is taken through SQLite's online interface, never by copying a live file, and holds no secret of a round and
no report: a round that is under way could not go on from it, so in the copy it is over. Beside the store, and never in
one place with its back-ups, lie the heads of the ledger and of what stands (``mirror``) and the wrapping keys
(``vault``): a head that is restored together with its store would hide what the store has lost, and a wrapping key
would undo the destruction of every secret that it wraps.

A store that was put back is marked as such, durably, before it is put in place. The service ends what the back-up had
under way and removes the mark when that is durable.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from aggregator.errors import SettingsInvalid, StoreCorrupt
from aggregator.storage.migration import check_schema
from aggregator.storage.mirror import sync_folder
from aggregator.storage.processes import at_rest

_MARK: Final = "restored"
_PAGES: Final = 4_096
"""Pages that are copied at a time; the service's changes go in between."""
_OVER: Final = {
    "leader": (
        "DELETE FROM reports",
        "DELETE FROM taken_back",
        (
            "UPDATE rounds SET state = 'abandoned', detail = 'under way when the back-up was taken', wrapping = NULL,"
            " wrapped_noise = NULL, answer = NULL WHERE state NOT IN ('released', 'abandoned')"
        ),
    ),
    "helper": (
        (
            "UPDATE rounds SET state = 'expired', wrapping = NULL, wrapped_key = NULL, wrapped_noise = NULL"
            " WHERE state IN ('open', 'marked')"
        ),
    ),
}


def back_up(url: str, schema: str, to: Path) -> None:
    """Write a back-up of a store, running or not, into a file of its own: mode 0600, whole or not there.

    Args:
        url: the store's SQLAlchemy URL.
        schema: ``leader`` or ``helper``.
        to: the file; must not exist.

    Raises:
        SettingsInvalid: not SQLite, no store there, or a file that exists.
        StoreCorrupt: the store does not read.
    """
    live = _file(url)
    if to.exists():
        raise SettingsInvalid(f"{to} exists; a back-up is never overwritten")
    draft = to.with_name(to.name + ".part")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(_read_only(live)) as source, closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            source.backup(copy, pages=_PAGES, sleep=0.001)
            _end_rounds(copy, schema)
        _check(draft, schema)
    except sqlite3.Error as error:
        draft.unlink(missing_ok=True)
        raise StoreCorrupt(f"the store cannot be backed up ({error})") from None
    _place(draft, to)


def put_back(url: str, directory: Path, schema: str, source: Path) -> Path | None:
    """Put a back-up in the place of a store, for a service that does not run.

    Args:
        url: the store's SQLAlchemy URL.
        directory: the service's folder.
        schema: ``leader`` or ``helper``.
        source: the back-up.

    Returns:
        Where the store that was there lies now, for the operator to remove; None if there was none.

    Raises:
        SettingsInvalid: not SQLite, the service runs, or the back-up belongs to a newer version or the other service.
        StoreCorrupt: the back-up does not read.
    """
    live = _file(url, exists=False)
    draft, before = live.with_name(live.name + ".incoming"), live.with_name(live.name + ".before")
    with at_rest(directory):
        try:
            _check(source, schema)
        except sqlite3.Error as error:
            raise StoreCorrupt(f"{source} is no back-up ({error})") from None
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        shutil.copyfile(source, draft)
        mark(directory)
        there = live.exists()
        if there:
            _set_aside(live, before)
        _place(draft, live)
    return before if there else None


def mark(directory: Path) -> None:
    """Say, durably, that the store is not the one last used; also for one that other programs put back."""
    path = directory / _MARK
    path.touch(mode=0o600)
    sync_folder(directory)


def is_marked(directory: Path) -> bool:
    """Whether the store was put back since the service last ran."""
    return (directory / _MARK).exists()


def unmark(directory: Path) -> None:
    """What follows from a store that was put back is durable."""
    (directory / _MARK).unlink(missing_ok=True)
    sync_folder(directory)


def _file(url: str, *, exists: bool = True) -> Path:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database is None:
        raise SettingsInvalid("the store is not SQLite; use pg_dump and pg_restore as docs/storage.md shows")
    live = Path(parsed.database)
    if exists and not live.exists():
        raise SettingsInvalid(f"there is no store at {live}")
    return live


def _end_rounds(copy: sqlite3.Connection, schema: str) -> None:
    copy.execute("PRAGMA journal_mode=DELETE")
    copy.execute("PRAGMA secure_delete=ON")
    for statement in _OVER[schema]:
        copy.execute(statement)
    copy.execute("VACUUM")  # pages that were free when they were copied may still hold what was deleted


def _check(path: Path, schema: str) -> None:
    with closing(_read_only(path)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(f"{path} is damaged ({verdict})")
    engine = create_engine("sqlite://", creator=lambda: _read_only(path))
    try:
        with engine.connect() as connection:
            check_schema(connection, schema)
    finally:
        engine.dispose()


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def _set_aside(live: Path, before: Path) -> None:
    """The old store under another name, its write-ahead log folded in where it still reads."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(live)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before.unlink(missing_ok=True)
    before.hardlink_to(live)
    for tail in ("-wal", "-shm"):  # a log of the old file must not be read into the new one
        live.with_name(live.name + tail).unlink(missing_ok=True)


def _place(draft: Path, final: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(final)
    sync_folder(final.parent)
