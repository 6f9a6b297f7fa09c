"""How the leader is: what its store says of studies, rounds, the log and the bundles, and whether studies are run."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.condition import Condition, show_budget
from aggregator.leader.desk import Desk
from aggregator.rounds import FINAL_ROUND_STATES, RoundState
from aggregator.storage.leader_tables import bundles, log_entries, rounds, studies
from aggregator.storage.leases import NOBODY, LeaseRow, read_lease
from aggregator.studies import StudyState
from models.wire.problems import ProblemError

LEASE, BEHIND = "lease", "behind"
"""Why a leader is not ready, beside ``aggregator.condition``'s: no worker runs the studies; this worker has not seen
the store for some seconds, and publishes nothing."""
_LIVES: Final = 3
"""A lease that was not renewed for so many of its lives has no holder: the first worker to look would take it."""


class LeaderCondition:
    """Reads the leader's store for its condition.

    Args:
        desk: the leader's.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: tuple[LeaseRow, float] = (LeaseRow(), -float("inf"))

    def attach(self, condition: Condition) -> None:
        """Have a condition ask here."""
        condition.probe, condition.reading = self.probe, self.reading
        condition.lag, condition.memory = lambda: self._desk.follower.lag_seconds, self.memory

    async def probe(self, connection: AsyncConnection) -> list[str]:
        """``lease``, where nobody runs the studies."""
        return [] if self._is_held(await read_lease(connection)) else [LEASE]

    def memory(self) -> list[str]:
        """``behind``, where this worker cannot follow the store: whether the store answers others or not."""
        return [BEHIND] if self._desk.follower.behind else []

    async def reading(self, connection: AsyncConnection) -> None:
        """Write what the store says into the metrics."""
        desk, metrics = self._desk, self._desk.metrics
        lease = await read_lease(connection)
        metrics.lease_held.set(self._is_held(lease))
        metrics.lease_fence.set(lease.fence)
        await self._count_studies(connection)
        await self._count_rounds(connection)
        metrics.devices.set(await desk.store.device_count(connection))
        metrics.log_entries.set((await connection.execute(select(func.count()).select_from(log_entries))).scalar_one())
        await desk.store.ledger.catch_up(connection, desk.budget)
        show_budget(metrics, desk.budget)
        for purpose, share in desk.settings.budget_quotas.items():
            metrics.quota_share.labels(purpose).set(share)
        await self._show_bundle(connection)

    def _is_held(self, row: LeaseRow) -> bool:
        now = self._desk.clock.monotonic()
        if row != self._seen[0]:
            self._seen = row, now
        return row.owner != NOBODY and now - self._seen[1] < _LIVES * self._desk.settings.lease_seconds

    async def _count_studies(self, connection: AsyncConnection) -> None:
        found = await connection.execute(select(studies.c.state, func.count()).group_by(studies.c.state))
        counts: dict[str, int] = {row[0]: row[1] for row in found}
        for state in StudyState:
            self._desk.metrics.studies.labels(state.value).set(counts.get(state.value, 0))

    async def _count_rounds(self, connection: AsyncConnection) -> None:
        metrics, now_ms = self._desk.metrics, self._desk.clock.now_ms()
        under_way = [state for state in RoundState if state not in FINAL_ROUND_STATES]
        here = rounds.c.state.in_([state.value for state in under_way])
        query = select(rounds.c.state, func.count(), func.min(rounds.c.closes_at_ms)).where(here)
        rows = {
            state: (count, oldest) for state, count, oldest in await connection.execute(query.group_by(rounds.c.state))
        }
        for state in under_way:
            count, oldest_ms = rows.get(state.value, (0, now_ms))
            metrics.rounds_in.labels(state.value).set(count)
            metrics.oldest_round.labels(state.value).set((now_ms - oldest_ms) / 1_000)
        metrics.open_rounds.set(rows.get(RoundState.OPEN.value, (0, 0))[0])

    async def _show_bundle(self, connection: AsyncConnection) -> None:
        metrics, clock = self._desk.metrics, self._desk.clock
        query = select(bundles).order_by(bundles.c.bundle_version.desc()).limit(1)
        row = (await connection.execute(query)).one_or_none()
        metrics.bundle_version.set(row.bundle_version if row else 0)
        if row:
            metrics.bundle_age.set((clock.now_ms() - row.published_at_ms) / 1_000)
        now = dt.datetime.fromtimestamp(clock.wall(), tz=dt.UTC)
        try:
            standing = await asyncio.to_thread(self._desk.publisher.distribution.standing)
        except (ProblemError, OSError):  # no repository yet, or one that does not verify: the daily look says so
            return
        for item in standing:
            metrics.repository_expiry.labels(item.role).set((item.expires - now).total_seconds())
