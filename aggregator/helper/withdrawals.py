"""Withdrawals that reach the helper directly. The token is the proof, checked against the seal when it is opened."""

from __future__ import annotations

from aggregator.helper.office import Office
from aggregator.storage.database import Change
from models.wire.problems import ProblemError
from models.wire.rounds import WithdrawalNotice


async def withdraw(office: Office, notice: WithdrawalNotice) -> None:
    """Keep a notice until every batch that could hold its report is over.

    Raises:
        ProblemError: ``too-many-requests`` when the list is full.
    """
    now_ms = office.clock.now_ms()

    async def act(change: Change) -> None:
        oldest_ms = now_ms - office.settings.withdrawal_retention_seconds * 1_000
        left = await office.store.drop_old_withdrawals(change.connection, oldest_ms)
        if left >= office.settings.maximum_withdrawals:
            raise ProblemError("too-many-requests", "too many notices are waiting; send it again later")
        await office.store.add_withdrawal(
            change.connection, bytes.fromhex(notice.report_id), bytes.fromhex(notice.token), now_ms
        )

    await office.database.change(act)
