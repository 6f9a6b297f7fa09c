"""The yardstick: FastAPI and PostgreSQL with next to nothing between them, on rows as large as reports.

``/rows`` inserts one row a request and commits it. ``/grouped`` verifies the row's signature and waits for a COPY that
takes in every row which has arrived meanwhile. Neither checks consent, rounds, repetitions or the packing: no service
that keeps the same promises can be as fast. Run as ``python -m simulations.bench.aggregator_bare DSN PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from models.wire.frames import decode_batch
from privacy.crypto import SigningKey, VerifyKey

TABLE: Final = "bare_reports"
COLUMNS: Final = ("device_id", "report_id", "signature", "seal", "masked")
CREATE: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    number bigserial PRIMARY KEY, device_id bytea, report_id bytea, signature bytea, seal bytea, masked bytea
)"""
_INSERT: Final = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ($1, $2, $3, $4, $5)"  # noqa: S608 - constants
KEY: Final = SigningKey(bytes(range(32)))
"""Signs what ``/grouped`` verifies: the row's seal."""
_POOL: Final = 8
Row = tuple[bytes, ...]


class Grouped:
    """Rows that wait together share one COPY and one commit."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._some = asyncio.Event()

    async def add(self, row: Row) -> None:
        """Return once the row is durable."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        self._some.set()
        await done

    async def write(self) -> None:
        """Write group after group, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            group, self._waiting = self._waiting, []
            async with self._pool.acquire() as connection:
                await connection.copy_records_to_table(TABLE, records=[row for row, _ in group], columns=COLUMNS)
            for _, done in group:
                done.set_result(None)


def create_app(dsn: str) -> FastAPI:
    """The bare service over a database of its own."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        import asyncpg

        async with asyncpg.create_pool(dsn, min_size=_POOL, max_size=_POOL) as pool:
            await pool.execute(CREATE)
            app.state.pool, app.state.grouped = pool, Grouped(pool)
            writing = asyncio.create_task(app.state.grouped.write())
            yield
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing

    app = FastAPI(lifespan=lifespan)

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/rows")
    async def insert(request: Request) -> Response:
        (row,) = read_rows(await request.body())
        await request.app.state.pool.execute(_INSERT, *row)
        return Response(status_code=201)

    @app.post("/grouped")
    async def group(request: Request) -> Response:
        (row,) = read_rows(await request.body())
        check(row, KEY.verify_key)
        await request.app.state.grouped.add(row)
        return Response(status_code=201)

    return app


def read_rows(body: bytes) -> list[Row]:
    """A batch of reports as rows."""
    return [
        (frame.device_id, frame.report.report_id, frame.report.signature, frame.report.seal, frame.report.masked)
        for frame in decode_batch(body)
    ]


def check(row: Row, key: VerifyKey) -> None:
    """One Ed25519 verification a row."""
    key.verify(row[2], row[1])


def main() -> None:
    """Serve on the loopback interface."""
    import uvicorn

    dsn, port = sys.argv[1:]
    uvicorn.run(create_app(dsn), host="127.0.0.1", port=int(port), log_level="critical", access_log=False)


if __name__ == "__main__":
    main()
