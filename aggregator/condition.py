"""How a service is: ready or not and why, and what its store says, for the metrics' page."""

from __future__ import annotations

import asyncio
import hmac
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.budget import Budget
from aggregator.clock import Clock
from aggregator.exposition import METRICS_FOLDER, Exposition
from aggregator.key_files import certificate_expiry, load_secret
from aggregator.metrics import Metrics
from aggregator.settings import ServiceSettings
from aggregator.storage.database import Database
from aggregator.storage.migration import newest_revisions
from models.wire.problems import ProblemError

STORE, SCHEMA, DISK = "store", "schema", "disk"
"""Why a service is not ready: what is said to strangers is one of these words."""
_STORE_SECONDS: Final = 5.0
_STATE_SECONDS: Final = 1.0
"""What the store says is read so often at most, however often the page is asked for."""
_WRITE_SECONDS: Final = 1.0
_BEARER: Final = "Bearer "

Probe = Callable[[AsyncConnection], Awaitable[list[str]]]
Reading = Callable[[AsyncConnection], Awaitable[None]]


class Condition:
    """How one worker's service is.

    Args:
        schema: ``leader`` or ``helper``.
        settings: the service's.
        database: its store.
        metrics: where what the store says is written.
        clock: the time.
    """

    def __init__(
        self, schema: str, settings: ServiceSettings, database: Database, metrics: Metrics, clock: Clock
    ) -> None:
        self._settings, self._database, self._metrics, self._clock = settings, database, metrics, clock
        self._schema = newest_revisions(schema)
        self._token = None if settings.metrics_token_file is None else load_secret(settings.metrics_token_file)
        self._exposition: Exposition | None = None
        self._read_at = -_STATE_SECONDS
        self.probe: Probe | None = None
        """More reasons that the service is not ready for."""
        self.reading: Reading | None = None
        """Writes what the store says of this kind of service."""
        self.memory: Callable[[], list[str]] | None = None
        """More reasons, which are known without asking the store."""
        self.lag: Callable[[], float] | None = None
        """Seconds since this worker's memory was last held against the store."""
        database.observer = self

    def committed(self, seconds: float, changes: int) -> None:
        """So many changes have become durable together (``storage.database.Observer``)."""
        self._metrics.commit_seconds.observe(seconds)
        self._metrics.commit_changes.observe(changes)

    async def require(self) -> None:
        """Return if the service is ready.

        Raises:
            ProblemError: ``not-ready``, with one word for each reason.
        """
        reasons = await self.reasons()
        if reasons:
            raise ProblemError("not-ready", ", ".join(reasons))

    async def reasons(self) -> list[str]:
        """Why the service is not ready, a word each; empty if it is."""
        free = await asyncio.to_thread(self._free_bytes)
        found = [DISK] if free < self._settings.disk_least_bytes else []
        try:
            async with asyncio.timeout(_STORE_SECONDS), self._database.reading() as connection:
                versions = await connection.execute(text("SELECT version_num FROM alembic_version"))
                if set(versions.scalars()) != self._schema:
                    found.append(SCHEMA)
                if self.probe is not None:
                    found += await self.probe(connection)
        except (SQLAlchemyError, OSError, TimeoutError):
            found.append(STORE)
        return found if self.memory is None else found + self.memory()

    def admit(self, authorization: str) -> None:
        """Return if the metrics may be shown to whoever asks like this.

        Raises:
            ProblemError: ``unauthenticated``.
        """
        if self._token is None:
            return
        given = authorization.removeprefix(_BEARER) if authorization.startswith(_BEARER) else ""
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise ProblemError("unauthenticated", "expected the operator's token for metrics")

    async def page(self) -> bytes:
        """The metrics of all workers, with what the store says; without that where the store does not answer."""
        now = self._clock.monotonic()
        if now - self._read_at >= _STATE_SECONDS:
            self._read_at = now
            await self._measure()
        exposition = self._exposition
        assert exposition is not None, "a service answers while it is followed"
        return await asyncio.to_thread(exposition.page)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Leave this worker's counts for the others, as long as the service is up."""
        exposition = self._exposition = Exposition(self._settings.directory / METRICS_FOLDER, self._metrics)
        task = asyncio.create_task(self._follow(exposition), name="metrics")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._exposition = None
            exposition.close()

    async def _follow(self, exposition: Exposition) -> None:
        while True:
            if self.lag is not None:
                self._metrics.follower_lag.set(self.lag())
            with suppress(OSError):  # a full disk: the others see this worker's last counts
                await asyncio.to_thread(exposition.write)
            await asyncio.sleep(_WRITE_SECONDS)

    async def _measure(self) -> None:
        metrics = self._metrics
        metrics.clock_seconds.set(self._clock.wall())
        if self._settings.tls_certificate is not None:
            with suppress(OSError, ValueError):  # a new one that is half written: the next page has it
                until = certificate_expiry(self._settings.tls_certificate)
                metrics.certificate_expiry.set(until.timestamp() - self._clock.wall())
        metrics.disk_free_bytes.set(await asyncio.to_thread(self._free_bytes))
        try:
            async with asyncio.timeout(_STORE_SECONDS), self._database.reading() as connection:
                metrics.store_bytes.set(await self._database.size_bytes(connection))
                if self.reading is not None:
                    await self.reading(connection)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            metrics.store_failures.labels(type(error).__name__).inc()

    def _free_bytes(self) -> int:
        return min(shutil.disk_usage(folder).free for folder in self._settings.data_folders() if folder.exists())


def show_budget(metrics: Metrics, budget: Budget) -> None:
    """Write what of a budget counts now."""
    metrics.epsilon.set(budget.spent_epsilon())
    metrics.epsilon_limit.set(budget.state.contract.epsilon)
    for purpose, share in budget.spent_shares().items():
        metrics.spent_share.labels(purpose).set(share)
