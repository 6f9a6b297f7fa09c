"""Rows of a service's budget ledger, its monotonic count and the contract it was opened under."""

from __future__ import annotations

import json

from sqlalchemy import MetaData, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.budget import Budget, Charged
from aggregator.clock import Clock
from aggregator.errors import StoreCorrupt
from privacy.accounting import Contract, Elapsed

_CONTRACT, _ELAPSED = "contract", "elapsed"


class LedgerStore:
    """Reads and appends rows. ``metadata`` is the leader's or the helper's."""

    def __init__(self, metadata: MetaData) -> None:
        self._rows: Table = metadata.tables["ledger_rows"]
        self._facts: Table = metadata.tables["facts"]

    async def load(self, connection: AsyncConnection, contract: Contract, owner: str, clock: Clock) -> Budget:
        """Rebuild the budget; remembers the contract at the first start.

        Raises:
            StoreCorrupt: the rows do not verify, or the settings name another contract than the ledger's.
        """
        terms = [contract.epsilon, contract.delta, contract.order, contract.window_seconds]
        known = await self.fact(connection, _CONTRACT)
        if known is None:
            await self.set_fact(connection, _CONTRACT, json.dumps(terms).encode())
        elif json.loads(known) != terms:
            raise StoreCorrupt(
                f"the ledger was opened with (epsilon, delta, order, window) {json.loads(known)}, not {terms}"
            )
        rows = await connection.execute(select(self._rows.c.body).order_by(self._rows.c.row_index))
        elapsed = await self.fact(connection, _ELAPSED)
        return Budget(contract, owner, rows.scalars(), _elapsed(elapsed), clock)

    async def append(self, connection: AsyncConnection, charged: Charged, study_hash: bytes) -> None:
        """Store a charge, before anything that it pays for leaves."""
        row = charged.row
        await connection.execute(
            self._rows.insert().values(row_index=row.index, study_hash=study_hash, body=row.body())
        )
        elapsed = charged.elapsed
        value = json.dumps([elapsed.total_seconds, elapsed.boot, elapsed.reading_seconds]).encode()
        await self.set_fact(connection, _ELAPSED, value)

    async def bodies(self, connection: AsyncConnection, study_hash: bytes) -> list[bytes]:
        """A study's rows, in order."""
        rows = self._rows
        found = await connection.execute(
            select(rows.c.body).where(rows.c.study_hash == study_hash).order_by(rows.c.row_index)
        )
        return list(found.scalars())

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
