"""Rows of a service's budget ledger, its monotonic count and the contract it was opened under."""

from __future__ import annotations

import json

from sqlalchemy import MetaData, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.budget import Budget, Charged, check_last_row
from aggregator.clock import Clock
from aggregator.errors import StoreCorrupt
from aggregator.storage.database import Change
from aggregator.storage.mirror import HeadMirror
from privacy.accounting import NO_QUOTAS, Contract, Elapsed, Quotas, open_ledger, row_digest

_CONTRACT, _ELAPSED = "contract", "elapsed"
_CLOSED = "ledger:"


class LedgerStore:
    """Reads and appends rows. ``metadata`` is the leader's or the helper's."""

    def __init__(self, metadata: MetaData) -> None:
        self.mirror: HeadMirror | None = None
        self._rows: Table = metadata.tables["ledger_rows"]
        self._facts: Table = metadata.tables["facts"]

    async def load(
        self,
        change: Change,
        contract: Contract,
        owner: str,
        clock: Clock,
        mirror: HeadMirror,
        quotas: Quotas = NO_QUOTAS,
    ) -> Budget:
        """Rebuild the budget; remembers the contract at the first start.

        A ledger that is not the one that the mirror names has lost rows: everything that is left counts as spent.

        Under another contract than the ledger's (``contracts`` says which may be) it is opened anew, with its spend.

        Raises:
            StoreCorrupt: the rows do not verify, the row and byte named where they can be, or what was spent cannot be
                stated under the contract.
        """
        known = await known_contract(self, change.connection)
        if known is None or known == contract:
            await self.set_fact(change.connection, _CONTRACT, _terms(contract))
            return await self._load(change, contract, owner, clock, mirror, quotas)
        budget = await self._load(change, known, owner, clock, mirror, quotas)
        return await self._reopen(change, budget, contract, owner, quotas)

    async def _reopen(self, change: Change, budget: Budget, contract: Contract, owner: str, quotas: Quotas) -> Budget:
        """Close the ledger as it is, keep its rows as they are, and go on under another contract."""
        connection, before = change.connection, budget.state.head
        following, carried = budget.reopened(contract, owner, quotas)
        following.lost = budget.lost
        await self._put_away(connection)
        await self.set_fact(connection, _CONTRACT, _terms(contract))
        head = following.state.head
        for charged in carried:
            await self._insert(change, charged, bytes(32))
            following.settle(charged)
            head = charged.row.digest
        mirror = self.mirror
        assert mirror is not None, "a ledger is loaded before it is opened anew"
        if not budget.lost:  # else the file keeps naming what was lost until the loss is durable
            mirror.announce(before, head)
        change.then(lambda: mirror.begin_again(head))
        return following

    async def _put_away(self, connection: AsyncConnection) -> None:
        """The rows of a ledger that is over, as one value: nothing of them is ever lost."""
        found = await connection.execute(select(self._rows).order_by(self._rows.c.row_index))
        rows = [[row.study_hash.hex(), row.body.hex()] for row in found]
        if rows:
            count = len(await self._closed(connection))
            await self.set_fact(connection, f"{_CLOSED}{count + 1:06d}", json.dumps(rows).encode())
            await connection.execute(self._rows.delete())

    async def _closed(self, connection: AsyncConnection) -> list[bytes]:
        name = self._facts.c.name
        found = await connection.execute(select(self._facts.c.value).where(name.like(f"{_CLOSED}%")).order_by(name))
        return list(found.scalars())

    async def _load(
        self, change: Change, contract: Contract, owner: str, clock: Clock, mirror: HeadMirror, quotas: Quotas
    ) -> Budget:
        connection = change.connection
        found = await connection.execute(select(self._rows.c.body).order_by(self._rows.c.row_index))
        rows = list(found.scalars())
        elapsed = await self.fact(connection, _ELAPSED)
        budget = Budget(contract, owner, rows, _elapsed(elapsed), clock, quotas)
        self.mirror = mirror
        heads = mirror.named(open_ledger(contract, owner).head)
        if budget.state.head not in heads:
            check_last_row(rows, heads)
            lost = budget.forfeit("ledger lost")
            # Not announced: until the loss is durable the mirror must not name the head that shows it.
            await self._insert(change, lost, bytes(32))
            head = lost.row.digest
            change.then(lambda: mirror.begin_again(head))
            budget.settle(lost)
        else:
            known = budget.state.head
            change.then(lambda: mirror.settle(known))
        return budget

    async def catch_up(self, connection: AsyncConnection, budget: Budget) -> None:
        """Bring a budget up to date with what other processes have charged; inside a change before it charges.

        In a change nothing can be added behind its back. In a reading it serves figures that are shown, and comes
        first: a reading that is under way may be older than what this process has charged since.

        Raises:
            StoreCorrupt: the store is not the one that this process has been working with.
        """
        known, head = budget.state.length, budget.state.head
        query = select(self._rows.c.row_index, self._rows.c.body).where(self._rows.c.row_index >= known - 1)
        rows = [(row.row_index, row.body) for row in await connection.execute(query.order_by(self._rows.c.row_index))]
        if known and (not rows or rows[0][0] != known - 1 or row_digest(rows[0][1]) != head):
            raise StoreCorrupt("the store was replaced under a running service; start the service again")
        budget.follow(rows, _elapsed(await self.fact(connection, _ELAPSED)))

    async def append(self, change: Change, charged: Charged, study_hash: bytes) -> None:
        """Store a charge, before anything that it pays for leaves."""
        assert self.mirror is not None, "a ledger is loaded before it is charged"
        row, mirror = charged.row, self.mirror
        mirror.announce(row.previous, row.digest)
        change.then(lambda: mirror.settle(row.digest))
        await self._insert(change, charged, study_hash)

    async def _insert(self, change: Change, charged: Charged, study_hash: bytes) -> None:
        row, connection = charged.row, change.connection
        await connection.execute(
            self._rows.insert().values(row_index=row.index, study_hash=study_hash, body=row.body())
        )
        elapsed = charged.elapsed
        value = json.dumps([elapsed.total_seconds, elapsed.boot, elapsed.reading_seconds]).encode()
        await self.set_fact(connection, _ELAPSED, value)

    async def bodies(self, connection: AsyncConnection, study_hash: bytes) -> list[bytes]:
        """A study's rows, in order, also those of ledgers that a changed contract has closed."""
        rows, name = self._rows, study_hash.hex()
        closed = [
            bytes.fromhex(body)
            for value in await self._closed(connection)
            for whose, body in json.loads(value)
            if whose == name
        ]
        found = await connection.execute(
            select(rows.c.body).where(rows.c.study_hash == study_hash).order_by(rows.c.row_index)
        )
        return [*closed, *found.scalars()]

    async def fact(self, connection: AsyncConnection, name: str) -> bytes | None:
        """One remembered value."""
        found = await connection.execute(select(self._facts.c.value).where(self._facts.c.name == name))
        value: bytes | None = found.scalar_one_or_none()
        return value

    async def set_fact(self, connection: AsyncConnection, name: str, value: bytes) -> None:
        """Remember a value."""
        await connection.execute(self._facts.delete().where(self._facts.c.name == name))
        await connection.execute(self._facts.insert().values(name=name, value=value))


def _elapsed(stored: bytes | None) -> Elapsed | None:
    return Elapsed(*json.loads(stored)) if stored is not None else None


async def known_contract(store: LedgerStore, connection: AsyncConnection) -> Contract | None:
    """The contract that the ledger is kept under; None before the first start."""
    known = await store.fact(connection, _CONTRACT)
    if known is None:
        return None
    epsilon, delta, order, window_seconds = json.loads(known)
    return Contract(epsilon, delta, tuple(order) if isinstance(order, list) else order, window_seconds)


def _terms(contract: Contract) -> bytes:
    order = list(contract.order) if isinstance(contract.order, tuple) else contract.order
    return json.dumps([contract.epsilon, contract.delta, order, contract.window_seconds]).encode()
