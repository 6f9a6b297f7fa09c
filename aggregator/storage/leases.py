"""A lease: one worker at a time runs studies, whatever clocks, pauses and deaths do. Theory of operation.

The store has one row: who holds the lease, a *fencing number* that rises at every take-over, and a *beat* that rises at
every renewal. The holder renews at a third of the lease's life. Another worker takes it when the row has not changed
for one life *by its own monotonic clock*, or when it knows that the holder is gone. No clock is compared with another
machine's, and none that can be set is read.

Who may write does not depend on any of that: the holder's every change looks, inside its own transaction, whether the
row still names it and its fencing number. A worker that was paused, and wakes up after its lease was taken, finds
another number there and changes nothing. Time decides only how soon a dead worker's studies go on.

The core is sans-I/O: ``step`` takes what a worker remembers and what the row says, and returns what to remember and
what to write. The shell reads and writes the row inside one change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import LeaseLost
from aggregator.storage.leader_tables import leases

NOBODY: Final = ""
RENEWALS_IN_A_LIFE: Final = 3
_NAME: Final = "studies"


class LeaseRow(NamedTuple):
    """What the store says.

    Attributes:
        owner: names a worker's run; ``NOBODY`` after it was handed back.
        fence: rises at every take-over.
        beat: rises at every renewal.
    """

    owner: str = NOBODY
    fence: int = 0
    beat: int = 0


@dataclass(frozen=True)
class Watch:
    """What one worker remembers.

    Attributes:
        me: this worker's name; another one at every start.
        life_seconds: how long a row may stay as it is before somebody else takes it.
        held: the fencing number under which this worker holds the lease; None if it does not.
        seen: the row as it was last seen.
        since: monotonic seconds at which it was first seen like that.
    """

    me: str
    life_seconds: float
    held: int | None = None
    seen: LeaseRow | None = None
    since: float = 0.0

    @property
    def renewal_seconds(self) -> float:
        """How often the holder renews."""
        return self.life_seconds / RENEWALS_IN_A_LIFE


def step(watch: Watch, row: LeaseRow, now: float, *, gone: bool = False) -> tuple[Watch, LeaseRow | None]:
    """What a worker does about the row that it has just read; run in the transaction that writes the answer.

    Args:
        watch: what it remembers.
        row: what the store says.
        now: its own monotonic seconds.
        gone: it is known that the row's owner is no more.

    Returns:
        What it remembers, and the row to write; None for nothing to write.
    """
    if row.owner == watch.me and row.fence == watch.held:
        after = row._replace(beat=row.beat + 1)
        return replace(watch, seen=after, since=now), after
    watch = replace(watch, held=None)
    if row != watch.seen:
        watch = replace(watch, seen=row, since=now)
    if row.owner == NOBODY or gone or now - watch.since >= watch.life_seconds:
        after = LeaseRow(watch.me, row.fence + 1, 0)
        return replace(watch, held=after.fence, seen=after, since=now), after
    return watch, None


def may_write(watch: Watch, row: LeaseRow) -> bool:
    """Whether this worker holds the lease by the row that its own transaction reads."""
    return watch.held is not None and (row.owner, row.fence) == (watch.me, watch.held)


def require_lease(watch: Watch, row: LeaseRow) -> None:
    """Insist that this worker holds the lease by the row that its own transaction reads.

    Raises:
        LeaseLost: it does not; it changes nothing and leaves its studies to whoever does.
    """
    if not may_write(watch, row):
        raise LeaseLost(f"expected to run studies under number {watch.held}, the store says {row.fence}")


def hand_back(watch: Watch, row: LeaseRow) -> tuple[Watch, LeaseRow | None]:
    """Give the lease up, so that nobody has to wait for it to run out; the row to write, if it is still ours."""
    after = row._replace(owner=NOBODY) if may_write(watch, row) else None
    return replace(watch, held=None), after


async def read_lease(connection: AsyncConnection) -> LeaseRow:
    """The row; before anybody took it, one that nobody holds."""
    found = (await connection.execute(select(leases).where(leases.c.name == _NAME))).one_or_none()
    return LeaseRow() if found is None else LeaseRow(found.owner, found.fence, found.beat)


async def write_lease(connection: AsyncConnection, row: LeaseRow) -> None:
    """Store the row."""
    await connection.execute(delete(leases).where(leases.c.name == _NAME))
    await connection.execute(leases.insert().values(name=_NAME, **row._asdict()))
