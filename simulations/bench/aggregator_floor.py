"""What no leader can beat here: the library's Ed25519, this disk's commits, and how fast rows can be copied in."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from privacy.crypto import SigningKey
from simulations.bench.aggregator_bare import COLUMNS, CREATE, TABLE, Row
from simulations.bench.rows import Measured

_RUNS: Final = 5
_BATCH: Final = 256


@dataclass(frozen=True)
class Floor:
    """Per second, by themselves, on one core or one connection."""

    verifications: Measured
    commits: Measured
    copied_rows: Measured
    row_bytes: int


async def floor(dsn: str, row: Row, seconds: float) -> Floor:
    """Measure them, each in five runs.

    Args:
        dsn: of a database that nobody uses.
        row: what is copied, of a report's size.
        seconds: of each run.
    """
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(CREATE)
        await connection.execute("CREATE TABLE IF NOT EXISTS bare_commits (number bigserial PRIMARY KEY)")
        commits = await _rate(lambda: connection.execute("INSERT INTO bare_commits DEFAULT VALUES"), seconds)
        records = [row] * _BATCH
        copied = await _rate(lambda: _copy(connection, records), seconds)
    finally:
        await connection.close()
    size = sum(len(value) for value in row)
    return Floor(_verifications(seconds), commits, copied.times(_BATCH), size)


async def _copy(connection: Any, records: list[Row]) -> None:
    await connection.copy_records_to_table(TABLE, records=records, columns=COLUMNS)


async def _rate(act: Callable[[], Awaitable[object]], seconds: float) -> Measured:
    rates = []
    for _ in range(_RUNS):
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            await act()
            done += 1
        rates.append(done / (time.perf_counter() - started))
    return _median(rates)


def _verifications(seconds: float) -> Measured:
    key, message = SigningKey(bytes(32)), os.urandom(32)
    signature, public, rates = key.sign(message), key.verify_key.public_key(), []
    for _ in range(_RUNS):
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            public.verify(signature, message)
            done += 1
        rates.append(done / (time.perf_counter() - started))
    return _median(rates)


def _median(rates: list[float]) -> Measured:
    return Measured(statistics.median(rates), max(rates) - min(rates))
