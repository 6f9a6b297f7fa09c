"""``hearthside bench aggregator``: what the leader holds under load, over a real PostgreSQL, the load beside it.

The leader runs by its own command, in as many processes as ``--workers`` says; the load comes from this process over
HTTP. Everything that devices sign, seal and mask was made before the clock starts, and every answer is looked at after
it has stopped. On two cores the load, PostgreSQL and the leader share them: figures are for the whole machine.

The bare loop beside it (``aggregator_bare``) is FastAPI and PostgreSQL alone; the floors are the library's Ed25519,
this disk's commits and COPY by itself, in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from models.wire.frames import REPORTS_MEDIA_TYPE, ReportFrame, encode_report, join_reports
from privacy.crypto import SigningKey
from privacy.secure_sum import Report
from simulations.bench.aggregator_bare import KEY, read_rows
from simulations.bench.aggregator_bare import Row as ReportRow
from simulations.bench.aggregator_crowd import Crowd, Reporting, batches, in_batches
from simulations.bench.aggregator_floor import Floor, floor
from simulations.bench.aggregator_house import BenchHouse, bench_house
from simulations.bench.aggregator_line import Answer, LoadFailed
from simulations.bench.aggregator_load import Latencies, Post, Pumped, Show, check_ins, pump
from simulations.bench.aggregator_sizes import QUICK, Sizes, measurement, training
from simulations.bench.rows import Measured, Row
from simulations.bench.secure_sum import Options as CommonOptions
from simulations.demo.processes import free_port

CHECK_INS_MS: Final = 100.0
ENROLMENTS_PER_SECOND: Final = 500.0
REPORTS_PER_SECOND: Final = 2_000.0
MODELS_OF_MEMORY: Final = 3.0
_FLOAT_BYTES: Final = 4


@dataclass(frozen=True)
class Options(CommonOptions):
    """Besides what every bench takes: how many processes the leader has, and where their profiles go.

    Attributes:
        quick: run every part with next to nothing.
        workers: processes of the leader.
        profile: folder for the leader's profiles; the figures of a profiled run are not to be quoted.
        show: is told how far each part is.
    """

    quick: bool = False
    workers: int = 2
    profile: Path | None = None
    show: Show = lambda *_: None


def run(options: Options | None = None) -> list[Row]:
    """Measure everything, one part after the other.

    Raises:
        LoadFailed: the leader refused what it has to accept.
        PostgresUnavailable: there is no PostgreSQL to start.
    """
    options = options or Options()
    sizes = QUICK if options.quick else Sizes()
    options.tell("starting PostgreSQL, leader and helper")
    with bench_house(options.workers, options.profile) as house:
        return asyncio.run(_Run(house, sizes, options).everything())


@dataclass
class _Run:
    """One run of the bench."""

    house: BenchHouse
    sizes: Sizes
    options: Options

    async def everything(self) -> list[Row]:
        sizes, crowd = self.sizes, self.house.crowd()
        load = f"load average {os.getloadavg()[0]:.1f} before the run, {os.cpu_count()} cores"
        gateway_devices, single_devices = crowd.devices(sizes.devices), crowd.devices(sizes.singles)
        enrolled = [await self._enrol(crowd, gateway_devices, sizes.batch, sizes.gateways)]
        enrolled.append(await self._enrol(crowd, single_devices, 1, sizes.connections))
        reporting = self.house.open(measurement(sizes))
        polled = await self._check_in()
        batched, sample = await self._report(reporting, gateway_devices, sizes.batch, sizes.gateways)
        singles, _ = await self._report(reporting, single_devices, 1, sizes.connections)
        released = self._release(reporting)
        if not self.options.quick:  # what a first training loads is no model's memory
            await self._memory(crowd, sizes.cohorts[0], "warm")
        memory = [await self._memory(crowd, cohort, str(cohort)) for cohort in sizes.cohorts]
        bare = await self._bare(sample)
        self.options.tell("the primitives alone")
        under = await floor(self.house.postgres.dsn("postgres"), sample, sizes.floor_seconds)
        rows = [*polled, *enrolled, *_beside(batched, singles, bare, under), released, *memory, *bare, *_floors(under)]
        return [replace(rows[0], note=f"{rows[0].note}; {load}"), *rows[1:]]

    # Check-ins

    async def _check_in(self) -> list[Row]:
        sizes = self.sizes
        cpu = self.house.cpu_seconds()
        took = await check_ins(
            self.house.url, sizes.agents, sizes.check_ins_per_second, sizes.check_in_seconds, self.options.show
        )
        cpu = self.house.cpu_seconds() - cpu
        note = (
            f"{len(took.milliseconds):,} polls of {sizes.agents:,} agents, each on its own connection, every second "
            f"one with If-None-Match; from the time that each was due; the leader took {cpu / took.seconds:.2f} cores"
        )
        return _check_in_rows(took, f"check-in at {sizes.check_ins_per_second:g} a second", note)

    # Enrolment

    async def _enrol(self, crowd: Crowd, devices: Sequence[SigningKey], batch: int, connections: int) -> Row:
        self.options.tell(f"{len(devices):,} devices sign their enrolment and consent")
        chains = []
        for part in batches(devices, batch):
            now_ms = time.time_ns() // 1_000_000
            enrolments = Post("/v1/enrolments", crowd.enrolments(part, now_ms))
            chains.append([enrolments, Post("/v1/receipts", crowd.receipts(part, now_ms // 1_000))])
        what = _how(batch, connections)
        pumped = await self._pump(chains, connections, f"enrolments, {what}")
        _require_all(pumped.answers, len(devices))
        target = ENROLMENTS_PER_SECOND if batch > 1 else None
        note = "a device's enrolment, then its receipt recorded and countersigned: two requests"
        return _rate(f"enrolments with consent a second, {what}", len(devices), pumped, note, target)

    # Reports

    async def _report(
        self, reporting: Reporting, devices: Sequence[SigningKey], batch: int, connections: int
    ) -> tuple[Row, ReportRow]:
        reports = []
        for number, report in enumerate(reporting.reports(devices), 1):
            reports.append(report)
            self.options.show("devices mask, seal and sign", number, len(devices))
        bodies = in_batches(reports, batch)
        chains = [[Post("/v1/reports", body, REPORTS_MEDIA_TYPE)] for body in bodies]
        what = _how(batch, connections)
        pumped = await self._pump(chains, connections, f"reports, {what}")
        codes = [code for answer in pumped.answers for code in json.loads(answer.body)["results"]]
        if codes != ["accepted"] * len(devices):
            raise LoadFailed(f"expected {len(devices)} accepted reports, got {sorted(set(codes))}")
        entries, size = reporting.study.plan.dimension, sum(map(len, bodies)) // len(reports)
        note = f"{entries:,} entries, {size:,} bytes a report, into an open round"
        target = REPORTS_PER_SECOND if batch > 1 else None
        sample = _signed_row(read_rows(in_batches(reports[:1], 1)[0])[0])
        return _rate(f"verified reports a second, {what}", len(devices), pumped, note, target), sample

    def _release(self, reporting: Reporting) -> Row:
        self.options.tell("waiting for the release")
        started = time.perf_counter()
        self.house.released(reporting.study)
        took = time.perf_counter() - started
        count = reporting.study.plan.maximum_cohort
        return Row("last report to release", "s", took, 0.0, note=f"{count:,} reports, through the real helper")

    # Memory

    async def _memory(self, crowd: Crowd, cohort: int, name: str) -> Row:
        """A training round of a large model: what the leader has at its fullest above what it had before."""
        sizes = self.sizes
        devices = crowd.devices(cohort)
        await self._enrol(crowd, devices, sizes.batch, sizes.gateways)
        reporting = self.house.open(training(sizes, cohort, f"training-{name}"))
        model_bytes = _FLOAT_BYTES * reporting.study.plan.dimension
        before, taking = self.house.forget_peak(), 0
        for number, report in enumerate(reporting.reports(devices), 1):
            post = Post("/v1/reports", in_batches([report], 1)[0], REPORTS_MEDIA_TYPE)
            answers = (await pump(self.house.url, [[post]], 1, lambda *_: None, "")).answers
            if json.loads(answers[0].body)["results"] != ["accepted"]:
                raise LoadFailed(f"expected an accepted report, got {answers[0].body!r}")
            if number == len(devices) - 1:
                taking = self.house.peak() - before
            self.options.show(f"reports of {reporting.study.plan.dimension:,} entries", number, cohort)
        self.options.tell("waiting for the release")
        self.house.released(reporting.study)
        peak = (self.house.peak() - before) / model_bytes
        note = (
            f"a model of {model_bytes / 1e6:.1f} MB; taking the reports in {taking / model_bytes:.1f} models, release "
            f"included {peak:.1f}, above {before / 2**20:.0f} MiB; one report a request, one after the other"
        )
        rounded = round(peak, 2)
        met = peak <= MODELS_OF_MEMORY or self.options.quick
        return Row(
            f"leader's memory, cohort of {cohort}", "models", rounded, 0.0, target=MODELS_OF_MEMORY, ok=met, note=note
        )

    # The bare loop

    async def _bare(self, sample: ReportRow) -> list[Row]:
        port, supervisor = free_port(), self.house.supervisor
        dsn = self.house.postgres.fresh().replace("+asyncpg", "")
        process = supervisor.start("bare", ["simulations.bench.aggregator_bare", dsn, str(port)])
        url = f"http://127.0.0.1:{port}"
        supervisor.wait_ready(process, f"{url}/ready")
        rows = []
        for path, name in (("/rows", "one INSERT and commit a request"), ("/grouped", "verify, COPY, group commit")):
            chains = [[Post(path, _framed(sample))]] * self.sizes.bare_rows
            show = f"bare loop: {name}"
            pumped = await pump(url, chains, self.sizes.connections, self.options.show, show)
            note = f"{self.sizes.connections} connections, one row of {sum(map(len, sample)):,} bytes a request"
            rows.append(_rate(f"bare FastAPI and PostgreSQL, rows a second: {name}", len(chains), pumped, note, None))
        return rows

    async def _pump(self, chains: Sequence[Sequence[Post]], connections: int, what: str) -> Pumped:
        return await pump(self.house.url, chains, connections, self.options.show, what)


# Rows


def _check_in_rows(took: Latencies, name: str, note: str) -> list[Row]:
    figures = [("median", 0.5, None), ("95th percentile", 0.95, None), ("99th percentile", 0.99, CHECK_INS_MS)]
    rows = []
    for words, share, target in (*figures, ("longest", 1.0, None)):
        value = took.at(share)
        ok = target is None or value <= target
        about = note if share == 0.5 else ""  # noqa: PLR2004 - the first of the four
        rows.append(Row(f"{name}, {words}", "ms", value, 0.0, target=target, ok=ok, note=about))
    return rows


def _rate(name: str, count: int, pumped: Pumped, note: str, target: float | None) -> Row:
    """A figure of which more is better, measured once over everything that was sent."""
    value = count / pumped.seconds
    return Row(name, "a second", value, 0.0, target=target, ok=target is None or value >= target, note=note)


def _beside(batched: Row, singles: Row, bare: Sequence[Row], under: Floor) -> list[Row]:
    """Our reports beside the bare loop's rows; the ratio is how many times as fast as it we are."""
    insert, grouped = bare
    ceiling = min(under.verifications.value, under.copied_rows.value)
    return [
        replace(row, peer=peer.ours, peer_name=peer.name, ratio=row.ours / peer.ours, floor=ceiling)
        for row, peer in ((batched, grouped), (singles, insert))
    ]


def _floors(under: Floor) -> list[Row]:
    def alone(name: str, measured: Measured, note: str = "") -> Row:
        return Row(name, "a second", measured.value, measured.spread, note=note)

    megabytes = under.copied_rows.value * under.row_bytes / 1e6
    return [
        alone("floor: Ed25519 verifications by the library, one core", under.verifications),
        alone("floor: PostgreSQL commits of one small row, one connection", under.commits, "fsync on, this disk"),
        alone(
            "floor: rows by COPY, 256 a commit, one connection",
            under.copied_rows,
            f"{under.row_bytes:,} bytes a row: {megabytes:,.0f} MB a second",
        ),
    ]


def _how(batch: int, connections: int) -> str:
    return f"batches of {batch}, {connections} gateways" if batch > 1 else f"one a request, {connections} connections"


def _require_all(answers: Sequence[Answer], devices: int) -> None:
    """Every device has its id and its countersigned receipt."""
    results = [item for answer in answers for item in json.loads(answer.body)["results"]]
    good = [item for item in results if item.get("device_id") or item.get("countersignature")]
    if len(good) != 2 * devices:
        bad = next(item for item in results if item not in good)
        raise LoadFailed(f"expected {devices} devices enrolled with consent, got for one of them {bad['problem']}")


def _signed_row(row: ReportRow) -> ReportRow:
    """A real report's row under the bare loop's own key, so that it has something to verify."""
    device_id, report_id, _, seal, masked = row
    return device_id, report_id, KEY.sign(report_id), seal, masked


def _framed(row: ReportRow) -> bytes:
    device_id, _, signature, seal, masked = row
    return join_reports([encode_report(ReportFrame(device_id, 1, Report(bytes(32), seal, masked, signature)))])
