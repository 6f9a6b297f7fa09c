"""The helper's store: proposals, decisions, rounds with their keys, withdrawals."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.budget import Promised
from aggregator.storage.helper_tables import MARKED, METADATA, OPEN, decisions, nonces, proposals, rounds, withdrawals
from aggregator.storage.ledger import LedgerStore

Record = Row[Any]
NO_SECRETS: Final = {
    "wrapping": None,
    "wrapped_key": None,
    "wrapped_noise": None,
    "answering": None,
    "answering_until_ms": None,
}
"""A round whose secrets are over: the row names no wrapping key, and the key itself is destroyed after the commit."""
_LIVE = rounds.c.wrapping.is_not(None)
_APPROVALS_FROM = "approvals_from"


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

    async def set_state(self, connection: AsyncConnection, study_hash: bytes, state: str) -> None:
        """What became of a proposal without a decision."""
        await connection.execute(update(proposals).where(proposals.c.study_hash == study_hash).values(state=state))

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
        """Store an opening with its wrapped key."""
        await connection.execute(rounds.insert().values(bucket=0, **values))

    async def update_round(self, connection: AsyncConnection, round_id: int, **values: Any) -> None:
        """Change a round."""
        await connection.execute(update(rounds).where(rounds.c.round_id == round_id).values(**values))

    async def let_go(self, connection: AsyncConnection, round_id: int, worker: bytes) -> None:
        """A process stops answering a round; another one may begin at once."""
        mine = (rounds.c.round_id == round_id) & (rounds.c.answering == worker)
        await connection.execute(update(rounds).where(mine).values(answering=None, answering_until_ms=None))

    async def hold(self, connection: AsyncConnection, round_id: int, worker: bytes, until_ms: int) -> None:
        """A process goes on answering a round."""
        mine = (rounds.c.round_id == round_id) & (rounds.c.answering == worker)
        await connection.execute(update(rounds).where(mine).values(answering_until_ms=until_ms))

    async def use_nonce(self, connection: AsyncConnection, nonce: bytes, now_ms: int, forget_before_ms: int) -> bool:
        """Remember a nonce, and forget old ones; says whether it was new."""
        await connection.execute(nonces.delete().where(nonces.c.used_at_ms < forget_before_ms))
        if (await connection.execute(select(nonces.c.nonce).where(nonces.c.nonce == nonce))).first() is not None:
            return False
        await connection.execute(nonces.insert().values(nonce=nonce, used_at_ms=now_ms))
        return True

    async def promised(self, connection: AsyncConnection) -> list[Promised]:
        """What rounds that are open will be charged when their batches come."""
        joined = select(rounds.c.costs, proposals.c.body).join(proposals).where(_LIVE, rounds.c.state == OPEN)
        return [Promised.parse(row.costs, row.body) for row in await connection.execute(joined)]

    async def live_keys(self, connection: AsyncConnection) -> set[bytes]:
        """Wrapping keys of rounds under way."""
        return set((await connection.execute(select(rounds.c.wrapping).where(_LIVE))).scalars())

    async def expire_rounds(
        self, connection: AsyncConnection, before_ms: int, state: str, wrapping: Collection[bytes] | None = None
    ) -> list[bytes]:
        """End unanswered rounds whose window was over before a time; returns their wrapping keys, to be destroyed.

        Args:
            connection: of a change.
            before_ms: the time.
            state: what they become.
            wrapping: only those with these wrapping keys.
        """
        over = rounds.c.state.in_((OPEN, MARKED)) & (rounds.c.closes_at_ms < before_ms)
        return await self._forget(
            connection, over if wrapping is None else over & rounds.c.wrapping.in_(wrapping), state
        )

    async def end_round(self, connection: AsyncConnection, round_id: int, state: str) -> list[bytes]:
        """End one round without an answer; returns its wrapping key, to be destroyed."""
        return await self._forget(connection, rounds.c.round_id == round_id, state)

    async def forget_study(self, connection: AsyncConnection, study_hash: bytes) -> list[bytes]:
        """Forget the secrets of every round of a study; returns their wrapping keys, to be destroyed."""
        return await self._forget(connection, rounds.c.study_hash == study_hash)

    async def _forget(
        self, connection: AsyncConnection, which: ColumnElement[bool], state: str | None = None
    ) -> list[bytes]:
        here = _LIVE & which
        names = list((await connection.execute(select(rounds.c.wrapping).where(here))).scalars())
        change = {} if state is None else {"state": state}
        await connection.execute(update(rounds).where(here).values(**change, **NO_SECRETS))
        return names

    # Restored stores

    async def approvals_from_ms(self, connection: AsyncConnection) -> int:
        """Approvals that were signed before this time do not count any more; 0 unless the store was once restored."""
        return int.from_bytes(await self.ledger.fact(connection, _APPROVALS_FROM) or b"", "big")

    async def withdraw_approvals(self, connection: AsyncConnection, from_ms: int) -> int:
        """Put every approved study before an officer again; returns how many."""
        await self.ledger.set_fact(connection, _APPROVALS_FROM, from_ms.to_bytes(8, "big"))
        query = update(proposals).where(proposals.c.state == "approved").values(state="proposed")
        return int((await connection.execute(query)).rowcount)

    # Withdrawals

    async def add_withdrawal(
        self, connection: AsyncConnection, report_id: bytes, token: bytes, at_ms: int, round_id: int | None
    ) -> bool:
        """Store a notice once; says whether it was new. ``round_id`` is None for the old form, which names no round."""
        here = (withdrawals.c.report_id == report_id) & (withdrawals.c.token == token)
        if (await connection.execute(select(withdrawals.c.withdrawal_id).where(here))).first() is not None:
            return False
        await connection.execute(
            withdrawals.insert().values(report_id=report_id, token=token, at_ms=at_ms, round_id=round_id)
        )
        return True

    async def was_noticed(self, connection: AsyncConnection, horizon: int, report_id: bytes, token: bytes) -> bool:
        """Whether a notice with this token counted: it was there when the batch was marked."""
        here = (withdrawals.c.report_id == report_id) & (withdrawals.c.token == token)
        query = select(withdrawals.c.withdrawal_id).where(here, withdrawals.c.withdrawal_id <= horizon)
        return (await connection.execute(query)).first() is not None

    async def withdrawal_count(self, connection: AsyncConnection, round_id: int | None) -> int:
        """Notices of a round, or of the old form."""
        query = select(func.count()).select_from(withdrawals).where(withdrawals.c.round_id == round_id)
        return int((await connection.execute(query)).scalar_one())

    async def drop_old_withdrawals(self, connection: AsyncConnection, before_ms: int) -> None:
        """Drop notices that are older than this and of no round under way."""
        over = withdrawals.c.round_id.is_(None) | withdrawals.c.round_id.not_in(select(rounds.c.round_id).where(_LIVE))
        await connection.execute(withdrawals.delete().where(withdrawals.c.at_ms < before_ms, over))

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
