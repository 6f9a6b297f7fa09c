"""The helper's store: proposals, decisions, rounds with their keys, withdrawals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.helper_tables import METADATA, decisions, proposals, rounds, withdrawals
from aggregator.storage.ledger import LedgerStore

Record = Row[Any]


class HelperStore:
    """Queries of the helper; each takes the connection of the change or reading it belongs to."""

    def __init__(self) -> None:
        self.ledger = LedgerStore(METADATA)

    async def proposal(self, connection: AsyncConnection, study_hash: bytes) -> Record | None:
        """One proposal."""
        return (await connection.execute(select(proposals).where(proposals.c.study_hash == study_hash))).one_or_none()

    async def proposal_named(self, connection: AsyncConnection, study_id: str) -> Record | None:
        """One proposal by its name."""
        return (await connection.execute(select(proposals).where(proposals.c.study_id == study_id))).one_or_none()

    async def proposals(self, connection: AsyncConnection) -> list[Record]:
        """All proposals, newest first."""
        return list((await connection.execute(select(proposals).order_by(proposals.c.proposed_at_ms.desc()))).all())

    async def add_proposal(self, connection: AsyncConnection, **values: Any) -> None:
        """Store a proposal."""
        await connection.execute(proposals.insert().values(**values))

    async def decide(self, connection: AsyncConnection, study_hash: bytes, state: str, **decision: Any) -> None:
        """Store an officer's decision and the state that follows."""
        await connection.execute(decisions.insert().values(study_hash=study_hash, **decision))
        await connection.execute(update(proposals).where(proposals.c.study_hash == study_hash).values(state=state))

    async def decisions(self, connection: AsyncConnection, study_hash: bytes) -> list[Record]:
        """A study's decisions, oldest first."""
        query = select(decisions).where(decisions.c.study_hash == study_hash).order_by(decisions.c.decision_id)
        return list((await connection.execute(query)).all())

    async def round(self, connection: AsyncConnection, study_hash: bytes, number: int) -> Record | None:
        """One round, bucket 0."""
        query = select(rounds).where(rounds.c.study_hash == study_hash, rounds.c.number == number, rounds.c.bucket == 0)
        return (await connection.execute(query)).one_or_none()

    async def rounds(self, connection: AsyncConnection, study_hash: bytes) -> list[Record]:
        """A study's rounds, in order."""
        query = select(rounds).where(rounds.c.study_hash == study_hash).order_by(rounds.c.number)
        return list((await connection.execute(query)).all())

    async def add_round(self, connection: AsyncConnection, **values: Any) -> None:
        """Store an opening with its private key."""
        await connection.execute(rounds.insert().values(bucket=0, **values))

    async def update_round(self, connection: AsyncConnection, round_id: int, **values: Any) -> None:
        """Change a round."""
        await connection.execute(update(rounds).where(rounds.c.round_id == round_id).values(**values))

    async def expire_rounds(self, connection: AsyncConnection, before_ms: int, state: str) -> int:
        """Destroy keys and noise secrets of unanswered rounds whose window ended before a time; returns how many."""
        over = rounds.c.private_key.is_not(None) & rounds.c.state.in_(("open", "marked"))
        query = update(rounds).where(over, rounds.c.closes_at_ms < before_ms)
        return int((await connection.execute(query.values(state=state, private_key=None, noise_secret=None))).rowcount)

    async def destroy_keys(self, connection: AsyncConnection, study_hash: bytes) -> None:
        """Destroy the keys and noise secrets of every round of a study."""
        query = update(rounds).where(rounds.c.study_hash == study_hash)
        await connection.execute(query.values(private_key=None, noise_secret=None))

    async def add_withdrawal(self, connection: AsyncConnection, report_id: bytes, token: bytes, at_ms: int) -> bool:
        """Store a notice once; says whether it was new."""
        here = (withdrawals.c.report_id == report_id) & (withdrawals.c.token == token)
        if (await connection.execute(select(withdrawals.c.withdrawal_id).where(here))).first() is not None:
            return False
        await connection.execute(withdrawals.insert().values(report_id=report_id, token=token, at_ms=at_ms))
        return True

    async def drop_old_withdrawals(self, connection: AsyncConnection, before_ms: int) -> int:
        """Drop notices older than every report that they could concern; returns how many are left."""
        await connection.execute(withdrawals.delete().where(withdrawals.c.at_ms < before_ms))
        return int((await connection.execute(select(func.count()).select_from(withdrawals))).scalar_one())

    async def withdrawal_horizon(self, connection: AsyncConnection) -> int:
        """The number of the last notice so far."""
        newest = (await connection.execute(select(func.max(withdrawals.c.withdrawal_id)))).scalar_one()
        return int(newest or 0)

    async def noticed(
        self, connection: AsyncConnection, horizon: int, first: bytes, last: bytes, after: bytes, limit: int
    ) -> list[bytes]:
        """Report ids of a range that a notice names, in order, a page at a time: those above ``after``.

        Only notices up to the horizon count: those that were there when the batch was marked.
        """
        named = withdrawals.c.report_id
        query = select(named).where(withdrawals.c.withdrawal_id <= horizon, named >= first, named <= last)
        paged = query.where(named > after).distinct().order_by(named).limit(limit)
        return list((await connection.execute(paged)).scalars())

    async def token_of(
        self, connection: AsyncConnection, horizon: int, report_id: bytes, right: Callable[[bytes], bool]
    ) -> bytes | None:
        """The right one of a report's tokens; anyone may have posted guesses beside it."""
        query = select(withdrawals.c.token).where(
            withdrawals.c.withdrawal_id <= horizon, withdrawals.c.report_id == report_id
        )
        tokens = await connection.stream(query)
        async for (token,) in tokens:
            if right(token):
                return bytes(token)
        return None
