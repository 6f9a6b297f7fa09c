"""What processes of one service do one after another, and who may not be there meanwhile: locks on files of its folder.

They keep apart processes on one machine, or behind one network file system that has POSIX locks. A process that is
killed lets go of its own.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aggregator.errors import SettingsInvalid

_STARTING, _RUNNING = "starting.lock", "running.lock"
_LOOK_SECONDS = 0.02


@asynccontextmanager
async def starting(directory: Path) -> AsyncIterator[None]:
    """One process at a time looks at the store for the first time, mends what a crash left, and settles the mirrors.

    Args:
        directory: the service's folder.
    """
    descriptor = _open(directory / _STARTING)
    try:
        while True:
            if _taken(descriptor, fcntl.LOCK_EX):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def running(directory: Path) -> Iterator[None]:
    """The service is at work on its store. Any number of processes at a time.

    Raises:
        SettingsInvalid: the store is being replaced right now.
    """
    descriptor = _open(directory / _RUNNING)
    try:
        if not _taken(descriptor, fcntl.LOCK_SH):
            raise SettingsInvalid(f"the store in {directory} is being restored; start the service when that is done")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def at_rest(directory: Path) -> Iterator[None]:
    """No process of the service runs, and none starts.

    Raises:
        SettingsInvalid: one is running.
    """
    descriptor = _open(directory / _RUNNING)
    try:
        if not _taken(descriptor, fcntl.LOCK_EX):
            raise SettingsInvalid(f"the service in {directory} is running; stop it first")
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None where there is no file to be asked."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
