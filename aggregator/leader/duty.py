"""One worker at a time has the duty: it runs studies, closes rounds and tidies up. Shell around ``storage.leases``.

A worker holds a lock on a small file of its own for as long as it lives. Another worker of the same folder that finds
the file unlocked knows that its owner is gone, however it died, and takes the duty at once; workers on other machines,
which see no such file, wait for one life of the lease.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.database import Change
from aggregator.storage.leases import (
    LeaseRow,
    Watch,
    hand_back,
    may_write,
    read_lease,
    require_lease,
    step,
    write_lease,
)
from aggregator.storage.processes import is_held

if TYPE_CHECKING:
    from aggregator.leader.desk import Desk

WORKERS_FOLDER: Final = "workers"
_NAME: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class SignOfLife:
    """A file that stays locked for as long as a worker lives.

    Args:
        folder: shared by the workers of one machine; made if it is missing.
        name: of this worker.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        self._descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_gone(self, owner: str) -> bool:
        """Whether the worker of this name has ended; False where nobody here can know."""
        known = owner != self._name and _NAME.fullmatch(owner) is not None
        return known and is_held(self._folder / owner) is False

    def bury(self, owner: str) -> None:
        """Remove what a worker that is gone has left."""
        if self.is_gone(owner):
            (self._folder / owner).unlink(missing_ok=True)

    def end(self) -> None:
        """This worker ends in good order."""
        (self._folder / self._name).unlink(missing_ok=True)
        os.close(self._descriptor)


class Duty:
    """A worker's part in holding the lease.

    Args:
        desk: the leader's.
        name: of this run of this worker, 32 hexadecimal digits; another one at every start.
    """

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self._watch = Watch(name, desk.settings.lease_seconds)
        self._sign = SignOfLife(desk.settings.directory / WORKERS_FOLDER, name)

    @property
    def held(self) -> bool:
        """Whether this worker believes that it has the duty; what it may write, ``require`` says."""
        return self._watch.held is not None

    async def require(self, connection: AsyncConnection) -> None:
        """Insist, inside a change, that this worker has the duty. Every change of the round driver asks first.

        Raises:
            LeaseLost: another worker has it.
        """
        require_lease(self._watch, await read_lease(connection))

    async def attend(self, row: LeaseRow) -> None:
        """Renew, take over, or stop what runs here; run a few times a second with the row as it was just read."""
        if self.held and not may_write(self._watch, row):
            await self._stand_down()
        now = self._desk.clock.monotonic()
        if self.held and now - self._watch.since < self._watch.renewal_seconds:
            return
        watch, wanted = step(self._watch, row, now, gone=self._is_gone(row))
        if wanted is None:
            self._watch = watch
            return
        await self._desk.database.change(self._write)

    async def _write(self, change: Change) -> None:
        before, row = self._watch, await read_lease(change.connection)
        watch, wanted = step(before, row, self._desk.clock.monotonic(), gone=self._is_gone(row))
        if wanted is not None:
            await write_lease(change.connection, wanted)
        change.then(lambda: self._adopt(watch, taken_from=row.owner if wanted and before.held is None else None))

    def _adopt(self, watch: Watch, taken_from: str | None) -> None:
        self._watch = watch
        if taken_from is not None:
            self._desk.opening.clear()
            self._desk.metrics.duties.labels("taken").inc()
            self._desk.log.info("this worker runs the studies", number=watch.held)
            self._sign.bury(taken_from)
            self._desk.follower.read_again()

    async def _stand_down(self) -> None:
        self._desk.log.warning("another worker runs the studies")
        self._desk.metrics.duties.labels("lost").inc()
        watch, _ = hand_back(self._watch, LeaseRow())
        self._watch = watch
        await self._desk.running.pause()
        self._desk.opening.clear()

    async def end(self) -> None:
        """Hand the duty back, so that the next worker need not wait. Run at shutdown, after the studies have paused."""

        async def act(change: Change) -> None:
            watch, wanted = hand_back(self._watch, await read_lease(change.connection))
            if wanted is not None:
                await write_lease(change.connection, wanted)
            self._watch = watch

        with suppress(SQLAlchemyError, OSError):  # a store that is gone hands nothing back; the lease runs out
            await self._desk.database.change(act)
        self._sign.end()

    def _is_gone(self, row: LeaseRow) -> bool:
        return self._sign.is_gone(row.owner)
