"""The leader's store: studies, rounds, reports, the log, devices. Each query takes its change's connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.budget import Promised
from aggregator.clock import Clock
from aggregator.storage.database import Change
from aggregator.storage.devices import DeviceStore
from aggregator.storage.leader_tables import (
    METADATA,
    bundles,
    generations,
    log_entries,
    models,
    reports,
    rounds,
    studies,
    taken_back,
)
from aggregator.storage.ledger import LedgerStore
from aggregator.storage.report_bytes import PLACE, InRows, ReportBytes

Record = Row[Any]
_CHUNK = 256
_CHUNK_BYTES = 2 * 2**20
_OPEN = "open"
_SHORT = tuple(column for column in rounds.c if column.name not in {"answer", "total"})
_PLACE = tuple(reports.c[name] for name in PLACE)


class LeaderStore(DeviceStore):
    """Queries of the leader.

    Args:
        clock: says when something changed that every worker remembers; the operating system's unless given.
        report_bytes: where seals and masked vectors lie; in the rows unless given.
    """

    def __init__(self, clock: Clock | None = None, report_bytes: ReportBytes | None = None) -> None:
        self.ledger = LedgerStore(METADATA)
        self.report_bytes = report_bytes or InRows()
        self._clock = clock or Clock()

    # Generation

    async def generation(self, connection: AsyncConnection) -> tuple[int, int]:
        """How often rounds, studies, log or bundles have changed, and when they last did (Unix milliseconds)."""
        row = (await connection.execute(select(generations))).one()
        return int(row.value), int(row.at_ms)

    async def _rises(self, connection: AsyncConnection) -> None:
        """Say to every worker that what it remembers of rounds, studies, log or bundles is old."""
        await connection.execute(update(generations).values(value=generations.c.value + 1, at_ms=self._clock.now_ms()))

    # Studies

    async def studies(self, connection: AsyncConnection) -> list[Record]:
        """Every study, oldest first."""
        return list((await connection.execute(select(studies).order_by(studies.c.proposed_at_ms))).all())

    async def studies_in(self, connection: AsyncConnection, states: Sequence[str]) -> list[Record]:
        """The studies in these states, oldest first."""
        query = select(studies).where(studies.c.state.in_(states)).order_by(studies.c.proposed_at_ms)
        return list((await connection.execute(query)).all())

    async def study(self, connection: AsyncConnection, study_id: str) -> Record | None:
        """One study by name."""
        return (await connection.execute(select(studies).where(studies.c.study_id == study_id))).one_or_none()

    async def add_study(self, connection: AsyncConnection, **values: Any) -> None:
        """Store a study."""
        await self._rises(connection)
        await connection.execute(studies.insert().values(**values))

    async def update_study(self, connection: AsyncConnection, study_hash: bytes, **values: Any) -> None:
        """Change a study's state."""
        await self._rises(connection)
        await connection.execute(update(studies).where(studies.c.study_hash == study_hash).values(**values))

    async def add_model(self, connection: AsyncConnection, model_hash: bytes, body: bytes) -> None:
        """Store a model once."""
        if await self.model(connection, model_hash) is None:
            await connection.execute(models.insert().values(model_hash=model_hash, body=body))

    async def model(self, connection: AsyncConnection, model_hash: bytes) -> bytes | None:
        """One model's bytes."""
        found = await connection.execute(select(models.c.body).where(models.c.model_hash == model_hash))
        body: bytes | None = found.scalar_one_or_none()
        return body

    # Rounds

    async def add_round(self, connection: AsyncConnection, **values: Any) -> int:
        """Store an opened round; returns its id."""
        await self._rises(connection)
        result = await connection.execute(rounds.insert().values(detail="", **values))
        key = result.inserted_primary_key
        assert key is not None, "the table numbers its rows"
        return int(key[0])

    async def update_round(self, connection: AsyncConnection, round_id: int, **values: Any) -> None:
        """Change a round."""
        await self._rises(connection)
        await connection.execute(update(rounds).where(rounds.c.round_id == round_id).values(**values))

    async def round(self, connection: AsyncConnection, study_hash: bytes, number: int) -> Record | None:
        """One round, without what is as long as a model: ``round_bytes`` has that."""
        query = select(*_SHORT).where(rounds.c.study_hash == study_hash, rounds.c.number == number)
        return (await connection.execute(query)).one_or_none()

    async def round_bytes(self, connection: AsyncConnection, round_id: int, name: Literal["answer", "total"]) -> bytes:
        """The helper's answer, or the released sum, of a round that has it."""
        query = select(rounds.c[name]).where(rounds.c.round_id == round_id)
        body: bytes = (await connection.execute(query)).scalar_one()
        return body

    async def rounds(self, connection: AsyncConnection, study_hash: bytes) -> list[Record]:
        """A study's rounds, in order."""
        query = select(rounds).where(rounds.c.study_hash == study_hash).order_by(rounds.c.number)
        return list((await connection.execute(query)).all())

    async def unfinished_rounds(self, connection: AsyncConnection) -> list[Record]:
        """The rounds that neither were released nor are abandoned."""
        over = ("released", "abandoned")
        return list((await connection.execute(select(rounds).where(rounds.c.state.not_in(over)))).all())

    async def promised(self, connection: AsyncConnection) -> list[Promised]:
        """What rounds that take reports, or have just closed, will be charged."""
        joined = select(rounds.c.costs, studies.c.body).join(studies).where(rounds.c.state.in_(("open", "closed")))
        return [Promised.parse(row.costs, row.body) for row in await connection.execute(joined)]

    async def live_keys(self, connection: AsyncConnection) -> set[bytes]:
        """Wrapping keys of rounds under way."""
        query = select(rounds.c.wrapping).where(rounds.c.wrapping.is_not(None))
        return set((await connection.execute(query)).scalars())

    async def contexts(self, connection: AsyncConnection, after: int = 0) -> list[Record]:
        """Id and context of every round after one, in order."""
        query = select(*(rounds.c[name] for name in ("round_id", "context"))).where(rounds.c.round_id > after)
        return list((await connection.execute(query.order_by(rounds.c.round_id))).all())

    async def open_rounds(self, connection: AsyncConnection) -> list[Record]:
        """The rounds that take reports, in order, each with its study (``body``, ``decision``, ``log_index``)."""
        joined = select(rounds, studies.c.body, studies.c.decision, studies.c.log_index).join(studies)
        query = joined.where(rounds.c.state == _OPEN).order_by(rounds.c.round_id)
        return list((await connection.execute(query)).all())

    async def open_round(self, connection: AsyncConnection, round_id: int) -> Record:
        """One round that takes reports, as ``open_rounds`` has it."""
        joined = select(rounds, studies.c.body, studies.c.decision, studies.c.log_index).join(studies)
        return (await connection.execute(joined.where(rounds.c.round_id == round_id))).one()

    async def reported(self, connection: AsyncConnection) -> dict[int, int]:
        """How many reports each round has that still takes them."""
        query = select(rounds.c.round_id, rounds.c.reported).where(rounds.c.state == _OPEN)
        return {row.round_id: row.reported for row in await connection.execute(query)}

    async def count_in(self, connection: AsyncConnection, round_id: int, reports_more: int) -> None:
        """A round has so many reports more, or fewer."""
        more = rounds.c.reported + reports_more
        await connection.execute(update(rounds).where(rounds.c.round_id == round_id).values(reported=more))

    # Reports

    async def add_reports(self, change: Change, rows: Sequence[dict[str, Any]]) -> None:
        """Store reports in one statement; durable, with their bytes, once the change is."""
        if rows:
            await change.connection.execute(reports.insert(), await self.report_bytes.keep(change, rows))

    async def report_count(self, connection: AsyncConnection, round_id: int) -> int:
        """How many reports a round has."""
        query = select(func.count()).select_from(reports).where(reports.c.round_id == round_id)
        return int((await connection.execute(query)).scalar_one())

    async def known_reports(
        self, connection: AsyncConnection, round_id: int, device_ids: Sequence[bytes], report_ids: Sequence[bytes]
    ) -> list[Record]:
        """A round's reports (device id, report id, signature) of these devices, or with these ids."""
        same = reports.c.device_id.in_(device_ids) | reports.c.report_id.in_(report_ids)
        query = select(*(reports.c[name] for name in ("device_id", "report_id", "signature")))
        return list((await connection.execute(query.where(reports.c.round_id == round_id, same))).all())

    async def seal_chunks(self, connection: AsyncConnection, round_id: int) -> AsyncIterator[list[bytes]]:
        """A round's seals in strictly increasing order of their ids, in chunks."""
        query: Select[Any] = select(*_PLACE, reports.c.seal).where(reports.c.round_id == round_id)
        query = query.order_by(reports.c.report_id)
        result = await connection.stream(query.execution_options(yield_per=_CHUNK))
        async for part in result.partitions(_CHUNK):
            yield await self.report_bytes.seals(part)

    async def masked_chunks(
        self, connection: AsyncConnection, round_id: int, packed_bytes: int
    ) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """A round's (report id, masked vector) in strictly increasing order of ids, in chunks of at most a few MiB.

        Asked for chunk by chunk: the driver of PostgreSQL reads fifty rows ahead of a cursor, whatever their size.
        """
        chunk = max(1, min(_CHUNK, _CHUNK_BYTES // packed_bytes))
        query: Select[Any] = select(*_PLACE, reports.c.masked).where(reports.c.round_id == round_id)
        query = query.order_by(reports.c.report_id).limit(chunk)
        found = (await connection.execute(query)).all()
        while found:
            last = found[-1].report_id
            ids = [row.report_id for row in found]
            pairs = list(zip(ids, await self.report_bytes.masked(found), strict=True))
            del found
            yield pairs
            found = (await connection.execute(query.where(reports.c.report_id > last))).all()

    async def take_back(self, change: Change, round_id: int, device_id: bytes, *, expected: bool) -> bool:
        """Take a device out of a round: its report goes, and neither comes back. Says whether there was a report.

        ``expected``: a report that has not come may be on its way, so the device is kept out although it has none.
        """
        connection = change.connection
        here = (reports.c.round_id == round_id) & (reports.c.device_id == device_id)
        report = (await connection.execute(select(*_PLACE).where(here))).one_or_none()
        if report is None and not expected:
            return False
        report_id = None if report is None else report.report_id
        if report is not None:
            await connection.execute(delete(reports).where(here))
            change.then(lambda: self.report_bytes.overwrite(report))
            await self.count_in(connection, round_id, -1)
        gone = (taken_back.c.round_id == round_id) & (taken_back.c.device_id == device_id)
        if (await connection.execute(select(taken_back.c.device_id).where(gone))).first() is None:
            values = {"round_id": round_id, "device_id": device_id, "report_id": report_id}
            await connection.execute(taken_back.insert().values(**values))
        return report_id is not None

    async def taken_back(
        self, connection: AsyncConnection, round_id: int, device_ids: Sequence[bytes], report_ids: Sequence[bytes]
    ) -> list[Record]:
        """Which of these devices and report ids were taken out of a round."""
        same = taken_back.c.device_id.in_(device_ids) | taken_back.c.report_id.in_(report_ids)
        query = select(taken_back).where(taken_back.c.round_id == round_id, same)
        return list((await connection.execute(query)).all())

    async def count_reports(self, connection: AsyncConnection, round_id: int, report_ids: Sequence[bytes]) -> int:
        """How many of these ids are reports of a round."""
        found = 0
        for start in range(0, len(report_ids), _CHUNK):
            here = reports.c.report_id.in_(report_ids[start : start + _CHUNK])
            query = select(func.count()).select_from(reports).where(reports.c.round_id == round_id, here)
            found += int((await connection.execute(query)).scalar_one())
        return found

    async def drop_reports(self, connection: AsyncConnection, round_id: int) -> None:
        """Delete what a round has of its devices; the store overwrites the bytes, and files go after the commit."""
        await connection.execute(delete(reports).where(reports.c.round_id == round_id))
        await connection.execute(delete(taken_back).where(taken_back.c.round_id == round_id))

    # Log and bundles

    async def log_entries(self, connection: AsyncConnection, start: int = 0, count: int | None = None) -> list[bytes]:
        """Log entries in order."""
        query = select(log_entries.c.body).where(log_entries.c.entry_index >= start).order_by(log_entries.c.entry_index)
        return list((await connection.execute(query.limit(count) if count is not None else query)).scalars())

    async def add_log_entry(self, connection: AsyncConnection, index: int, body: bytes) -> None:
        """Append a log entry."""
        await self._rises(connection)
        await connection.execute(log_entries.insert().values(entry_index=index, body=body))

    async def bundle_version(self, connection: AsyncConnection) -> int:
        """The newest published version, 0 before the first."""
        return int((await connection.execute(select(func.max(bundles.c.bundle_version)))).scalar_one() or 0)

    async def add_bundle(self, connection: AsyncConnection, **values: Any) -> None:
        """Remember a published bundle."""
        await self._rises(connection)
        await connection.execute(bundles.insert().values(**values))
