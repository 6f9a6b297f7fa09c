"""How the helper is: what its store says of proposals, rounds and notices."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.condition import Condition, show_budget
from aggregator.helper.office import Office
from aggregator.storage.helper_tables import MARKED, OPEN, proposals, rounds, withdrawals


class HelperCondition:
    """Reads the helper's store for its condition.

    Args:
        office: the helper.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    def attach(self, condition: Condition) -> None:
        """Have a condition ask here."""
        condition.reading = self.reading

    async def reading(self, connection: AsyncConnection) -> None:
        """Write what the store says into the metrics."""
        office, metrics = self._office, self._office.metrics
        for state, count in await connection.execute(
            select(proposals.c.state, func.count()).group_by(proposals.c.state)
        ):
            metrics.studies.labels(state).set(count)
        here = rounds.c.state.in_((OPEN, MARKED))
        query = select(rounds.c.state, func.count(), func.min(rounds.c.closes_at_ms)).where(here)
        found = {
            state: (count, oldest) for state, count, oldest in await connection.execute(query.group_by(rounds.c.state))
        }
        now_ms = office.clock.now_ms()
        for state in (OPEN, MARKED):
            count, oldest_ms = found.get(state, (0, now_ms))
            metrics.rounds_in.labels(state).set(count)
            metrics.oldest_round.labels(state).set((now_ms - oldest_ms) / 1_000)
        metrics.open_rounds.set(found.get(OPEN, (0, 0))[0])
        metrics.kept_notices.set((await connection.execute(select(func.count()).select_from(withdrawals))).scalar_one())
        await office.store.ledger.catch_up(connection, office.budget)
        show_budget(metrics, office.budget)
        for purpose, share in office.settings.budget_quotas.items():
            metrics.quota_share.labels(purpose).set(share)
