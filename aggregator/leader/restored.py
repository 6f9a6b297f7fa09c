"""What a leader does whose store is not the one last used: nothing that was under way then is released from it.

The ledger's own head shows that charges are missing; then the whole budget counts as spent for a window. The mark that
``hearthside-aggregator restore`` leaves shows it where none are. Either way the rounds that the store has under way are
over: since they were stored, their devices may have withdrawn, and their sums may have been released.
"""

from __future__ import annotations

from pathlib import Path

from aggregator.budget import Budget
from aggregator.rounds import RoundEvent, RoundState, step_round
from aggregator.service import Log
from aggregator.storage import backup
from aggregator.storage.database import Change
from aggregator.storage.leader import LeaderStore
from aggregator.storage.log import hold_back


async def check(store: LeaderStore, change: Change, directory: Path, budget: Budget, log: Log) -> None:
    """Abandon what a restored store has under way; run once, at the start, when the budget is loaded.

    Reports and the names of wrapping keys go in this change; the keys themselves, which nothing names any more, go when
    the leader tidies up, right after.
    """
    if budget.lost:
        log.error("ledger lost", meaning="the store is not the one last used: the whole budget counts as spent")
    if not budget.lost and not backup.is_marked(directory):
        return
    await hold_back(change.connection, held=True)  # until the helper has said what it knows of the log
    rows = await store.unfinished_rounds(change.connection)
    for row in rows:
        step = step_round(RoundState(row.state), RoundEvent.FAILED)
        await store.update_round(
            change.connection,
            row.round_id,
            state=step.state,
            wrapping=None,
            wrapped_noise=None,
            answer=None,
            detail="the leader's store was restored from a back-up",
        )
        await store.drop_reports(change.connection, row.round_id)
    change.then(lambda: backup.unmark(directory))
    log.error("store restored", meaning="it is not the one last used: rounds under way are abandoned", rounds=len(rows))
