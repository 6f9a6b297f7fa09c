"""What a worker remembers of the store, kept in step with it: the work board, open rounds, the log's tree, the studies.

Workers are many and the store is one. A generation number in it rises with every change of rounds, studies, log or
bundles. Each worker compares it inside every change, before the change acts, and a few times a second for those who
only read; where it has risen, everything below is read again. A worker that misses a step is therefore wrong for a
quarter of a second at most, and never inside a change. One that cannot look for longer says so, and publishes nothing
under a fresh signature until it can.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.leader.course import is_stop
from aggregator.leader.offering import put_up, take_down
from aggregator.logs import failure
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.storage.leases import LeaseRow, read_lease
from aggregator.studies import UNDER_WAY, StudyState
from models.wire.problems import ProblemError

if TYPE_CHECKING:
    from aggregator.leader.desk import Desk

_LOOK_SECONDS: Final = 4.0
"""The longest that one look may take; then the next one asks anew, on another connection."""
BEHIND_SECONDS: Final = 5.0
"""A worker that has not seen the store for so long publishes nothing: a study that it shows may have been stopped."""
POLL_SECONDS: Final = 0.2
"""How often a worker that changes nothing looks: an officer's stop reaches every worker's board within it."""


@dataclass(frozen=True)
class View:
    """The store at one generation, as far as a worker remembers it."""

    generation: int
    at_ms: int
    rounds: list[Record]
    contexts: list[Record]
    studies: list[Record]
    entries_from: int
    entries: list[bytes]
    bundle_version: int


class Follower:
    """Keeps a desk in step with the store (``storage.database.Following``).

    Args:
        desk: the leader's.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._taken_in = -1
        """The generation that memory was last read from."""
        self._own = -1
        """The last generation that this worker brought about: memory is not older than that."""
        self._begun = -1
        self._last_round = 0
        self._looked_at = desk.clock.monotonic()
        self._attending: asyncio.Task[None] | None = None

    @property
    def lag_seconds(self) -> float:
        """Since this worker last looked at the store."""
        return self._desk.clock.monotonic() - self._looked_at

    @property
    def behind(self) -> bool:
        """Whether what this worker remembers is too old to be shown as how things are."""
        return self.lag_seconds > BEHIND_SECONDS

    def require_up_to_date(self) -> None:
        """Insist that what this worker publishes is how things are, give or take some seconds.

        Raises:
            ProblemError: ``store-unavailable``.
        """
        if self.behind:
            raise ProblemError("store-unavailable", "this worker has not seen the store for some seconds; ask again")

    async def begin(self, change: Change) -> None:
        """Learn what others have changed. Run inside each change, first."""
        self._begun, _ = await self._catch_up(change.connection)

    async def finish(self, change: Change) -> None:
        """See whether this change raised the generation: what is read from before it counts no more."""
        generation, at_ms = await self._desk.store.generation(change.connection)
        if generation != self._begun:
            change.first(lambda: self._settle(generation, at_ms))

    async def look(self) -> LeaseRow:
        """Bring memory up to date outside of a change; returns the lease as it stands."""
        began = self._desk.clock.monotonic()
        async with self._desk.database.reading() as connection:
            await self._catch_up(connection)
            if any(True for _ in self._desk.open_rounds):
                self._recount(await self._desk.store.reported(connection))
            row = await read_lease(connection)
        self._looked_at = max(self._looked_at, began)
        return row

    async def follow(self) -> None:
        """Look, and attend to the lease, for as long as the service is up."""
        following = True
        try:
            while True:
                try:
                    await self._look_and_attend()
                except Exception as error:  # noqa: BLE001 - a store that fails now is asked again; the service goes on
                    if following:  # once, and not five times a second for as long as the store is away
                        self._desk.log.error("not following the store", **failure(error))  # noqa: TRY400 - texts may quote input
                    following = False
                else:
                    if not following:
                        self._desk.log.info("following the store again")
                    following = True
                await asyncio.sleep(POLL_SECONDS)
        finally:
            if self._attending is not None:
                self._attending.cancel()
                await asyncio.gather(self._attending, return_exceptions=True)

    async def _look_and_attend(self) -> None:
        """The lease is attended to apart: its change may have to wait for a long one, and looking must not."""
        attending = self._attending
        free = attending is None or attending.done()  # asked first: a row from before its change would mislead it
        async with asyncio.timeout(_LOOK_SECONDS):
            row = await self.look()
        if not free:
            return
        self._attending = asyncio.create_task(self._desk.duty.attend(row), name="attending to the lease")
        await asyncio.wait({self._attending}, timeout=POLL_SECONDS)
        if attending is not None:
            attending.result()  # what it failed with is what this worker says

    def read_again(self) -> None:
        """Take everything in anew at the next look, also where nothing has changed: the duty is this worker's now."""
        self._taken_in = -1

    async def _catch_up(self, connection: AsyncConnection) -> tuple[int, int]:
        generation, at_ms = await self._desk.store.generation(connection)
        if generation != self._taken_in and generation >= self._own:
            self._take_in(await self._read(connection, generation, at_ms))
        return generation, at_ms

    def _settle(self, generation: int, at_ms: int) -> None:
        self._own = max(self._own, generation)
        self._desk.board.at_ms = at_ms

    async def _read(self, connection: AsyncConnection, generation: int, at_ms: int) -> View:
        store, size = self._desk.store, self._desk.ledger_log.size
        return View(
            generation=generation,
            at_ms=at_ms,
            rounds=await store.open_rounds(connection),
            contexts=await store.contexts(connection, self._last_round),
            studies=await store.studies_in(connection, (*UNDER_WAY, StudyState.STOPPED)),
            entries_from=size,
            entries=await store.log_entries(connection, size),
            bundle_version=await store.bundle_version(connection),
        )

    def _take_in(self, view: View) -> None:
        """No pause in here: whoever looks sees one generation. An older view than memory's is passed over."""
        if view.generation < max(self._own, self._taken_in):
            return
        desk = self._desk
        desk.board.at_ms = view.at_ms
        desk.board.bundle_version = view.bundle_version
        desk.ledger_log.take(view.entries, view.entries_from)
        for row in view.contexts:
            self._last_round = max(self._last_round, row.round_id)
            desk.open_rounds.ended(row.context)
        open_now = {row.context for row in view.rounds}
        for item in desk.open_rounds:
            if item.context.digest not in open_now:
                take_down(desk, item.context.digest)
        for row in view.rounds:
            put_up(desk, row)
        for row in view.studies:
            unheard = row.state == StudyState.STOPPED and not desk.board.tells(row.decision)
            if unheard and is_stop(desk, row.decision, row.study_hash):
                desk.board.stop(row.decision)
        desk.board.refresh()
        self._taken_in = view.generation
        desk.running.follow(desk, view.studies)

    def _recount(self, reported: dict[int, int]) -> None:
        for item in self._desk.open_rounds:
            count = reported.get(item.round_id, item.reported)
            if count != item.reported:
                item.reported = count
                item.changed.set()
