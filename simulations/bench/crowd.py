"""A large round on disk: real reports made in parallel, then each server's part of the round in a process of its own.

What is measured is what the services do between the close and the release, with their own modules: the leader's pass
over the seals, the helper's spool, opening and share, the leader's sum of masked vectors and the unmasking. HTTP and
the store are left out, and so is the verification of signatures, which is done at arrival.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregator.helper.ranges import Job
from aggregator.helper.spool import Spool, SpoolFolder
from aggregator.helper.unsealing import Unsealing
from aggregator.leader.releases import Measuring
from models.wire.frames import join_seals, read_seals, seals_head, seals_size
from privacy.crypto import SealPrivateKey, SealPublicKey, SigningKey
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import LeaderSpan, SumContext, SumParameters, make_report, noised_share, unmask
from privacy.secure_sum.reports import SEAL_BYTES

Role = Callable[[Path, SumParameters, int, int], None]
CONTEXT = SumContext(bytes(32), 1, bytes(32), bytes(32), bytes(32), bytes(32))
_TASK_REPORTS = 10_000
_CHUNK = 256
_ID_BYTES = 32
_PIECE_BYTES = 2**20
_REAL_EVERY = 100
"""One report in a hundred is real, the others null: they cost the same, and the released sum shows that they are."""


@dataclass(frozen=True)
class Used:
    """What a role took: wall seconds, CPU seconds (its worker processes included), peak resident memory."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    worker_peak_bytes: int = 0


def crowd_parameters(entries: int, reports: int) -> SumParameters:
    """What a study of that size would choose: rounding is far below the noise, so 2^13 grid steps are plenty."""
    return SumParameters(entries, 1.0, 2**13, 1.0, maximum_cohort=reports, minimum_cohort=2)


def prepare(folder: Path, params: SumParameters, reports: int, workers: int, tell: Callable[[str], None]) -> None:
    """Make the reports and put them in the order of their ids: ``seals``, ``masked``, ``truth.npy``, ``key``."""
    key = SealPrivateKey.generate()
    (folder / "key").write_bytes(key.private_bytes())
    sizes = [min(_TASK_REPORTS, reports - start) for start in range(0, reports, _TASK_REPORTS)]
    tasks = [(str(folder / f"run-{at}"), size, key.public.raw, _fields(params)) for at, size in enumerate(sizes)]
    truth = np.zeros(params.dimension, dtype=np.int64)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, part in enumerate(pool.map(_make, tasks), 1):
            truth += np.frombuffer(part, dtype=np.int64)
            tell(f"{sum(sizes[:done]):,} of {reports:,} reports made")
    np.save(folder / "truth.npy", truth)
    _merge(folder, [Path(task[0]) for task in tasks], params, reports)


def run_round(folder: Path, params: SumParameters, reports: int, workers: int) -> tuple[Used, Used]:
    """Each server's part, one after the other, in processes of their own: what leader and helper took.

    Raises:
        RuntimeError: the released sum, less the noise, is not the sum of what was encoded.
    """
    leader = _in_process(_measure_batch, folder, params, reports, workers)
    helper = _in_process(_answer, folder, params, reports, workers)
    release = _in_process(_release, folder, params, reports, workers)
    both = Used(
        leader.wall_seconds + release.wall_seconds,
        leader.cpu_seconds + release.cpu_seconds,
        max(leader.peak_bytes, release.peak_bytes),
    )
    return both, helper


# The devices


def _make(task: tuple[str, int, bytes, str]) -> bytes:
    path, count, public, fields = task
    params, round_key = SumParameters(**json.loads(fields)), SealPublicKey(public)
    signer, truth = SigningKey.generate(), np.zeros(params.dimension, dtype=np.int64)
    null = np.zeros(params.dimension, dtype=np.int64)
    real = np.arange(params.dimension, dtype=np.int64) % 7 - 3
    made = []
    for index in range(count):
        values = null if index % _REAL_EVERY else real
        truth += values
        report = make_report(
            values,
            params,
            CONTEXT,
            round_key,
            seed=os.urandom(32),
            withdrawal_token=os.urandom(32),
            expires_at=2**40,
            signer=signer,
        )
        made.append(report.report_id + report.seal + report.masked)
    made.sort()
    Path(path).write_bytes(b"".join(made))
    return truth.tobytes()


def _merge(folder: Path, runs: list[Path], params: SumParameters, reports: int) -> None:
    size = _ID_BYTES + SEAL_BYTES + params.packed_bytes
    with (folder / "seals").open("wb") as seals, (folder / "masked").open("wb") as masked:
        seals.write(seals_head(reports))
        for record in heapq.merge(*(_records(run, size) for run in runs)):
            seals.write(join_seals((record[_ID_BYTES : _ID_BYTES + SEAL_BYTES],)))
            masked.write(record[:_ID_BYTES] + record[_ID_BYTES + SEAL_BYTES :])
    for run in runs:
        run.unlink()


def _records(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as source:
        while record := source.read(size):
            yield record


# The roles


def _measure_batch(folder: Path, params: SumParameters, reports: int, workers: int) -> None:
    """The leader, after the close: what the helper will be sent."""
    del params, workers
    measuring = Measuring(CONTEXT, reports)
    with (folder / "seals").open("rb") as source:
        source.seek(len(seals_head(reports)))
        left = reports
        while left:
            measuring.add(list(read_seals(source, min(_CHUNK, left))))
            left -= min(_CHUNK, left)
    (folder / "batch").write_bytes(measuring.finish().batch)


def _answer(folder: Path, params: SumParameters, reports: int, workers: int) -> None:
    """The helper: the batch arrives, is spooled, opened, and answered."""
    spools = SpoolFolder(folder / "spool")
    with spools.file() as path, (folder / "seals").open("rb") as arriving:
        spool = Spool(path, CONTEXT, seals_size(reports, SEAL_BYTES))
        while piece := arriving.read(_PIECE_BYTES):
            spool.write(piece)
        spooled, _ = spool.finish()
        spool.close()
        opening = Unsealing(params, CONTEXT, spooled.spans)
        jobs = (
            Job(params, CONTEXT, span, path, offset, 0, (folder / "key").read_bytes(), {})
            for span, offset in zip(spooled.spans, spooled.offsets, strict=True)
        )
        opening.run(jobs, workers)
        noise = discrete_gaussian(params.noise_sigma, params.dimension, RandomStream(_noise_key("helper")))
        (folder / "share").write_bytes(noised_share(opening.total, noise, params))
        if spooled.batch != (folder / "batch").read_bytes() or opening.opened != reports:
            raise RuntimeError(f"expected {reports} seals opened, got {opening.opened}")


def _release(folder: Path, params: SumParameters, reports: int, workers: int) -> None:
    """The leader, with the helper's share: masked vectors summed, masks and noise taken into account."""
    del workers
    total = LeaderSpan(params, CONTEXT)
    size = _ID_BYTES + params.packed_bytes
    run = max(1, min(_CHUNK, 2 * _PIECE_BYTES // size))
    with (folder / "masked").open("rb") as source:
        while chunk := source.read(run * size):
            records = (chunk[at : at + size] for at in range(0, len(chunk), size))
            total.add([(record[:_ID_BYTES], record[_ID_BYTES:]) for record in records])
    if total.counted != reports or total.batch != (folder / "batch").read_bytes():
        raise RuntimeError(f"expected {reports} masked vectors of the closed batch, got {total.counted}")
    noise = discrete_gaussian(params.noise_sigma, params.dimension, RandomStream(_noise_key("leader")))
    released = unmask(total.total, (folder / "share").read_bytes(), noise, params)
    for role in ("leader", "helper"):
        released -= discrete_gaussian(params.noise_sigma, params.dimension, RandomStream(_noise_key(role)))
    _check(released, np.load(folder / "truth.npy"))


def _check(released: NDArray[np.int64], truth: NDArray[np.int64]) -> None:
    if not np.array_equal(released, truth):
        raise RuntimeError("the released sum, less the noise, is not the sum of what was encoded")


def _noise_key(role: str) -> bytes:
    return hashlib.sha256(role.encode()).digest()


# A process a role


def _in_process(
    role: Callable[[Path, SumParameters, int, int], None],
    folder: Path,
    params: SumParameters,
    reports: int,
    workers: int,
) -> Used:
    ours, theirs = get_context("spawn").Pipe()
    arguments = (theirs, role.__name__, str(folder), _fields(params), reports, workers)
    process = get_context("spawn").Process(target=_play, args=arguments)
    process.start()
    theirs.close()
    try:
        return Used(**json.loads(ours.recv_bytes()))
    except EOFError:
        raise RuntimeError(f"{role.__name__} ended without an answer") from None
    finally:
        process.join()


def _play(pipe: Connection, role: str, folder: str, fields: str, reports: int, workers: int) -> None:
    play = {item.__name__: item for item in (_measure_batch, _answer, _release)}[role]
    params = SumParameters(**json.loads(fields))
    watched = _Peak()
    watched.start()
    started, cpu = time.perf_counter(), time.process_time()
    play(Path(folder), params, reports, workers)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    watched.over.set()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = Used(wall, cpu + children.ru_utime + children.ru_stime, resident("VmHWM"), watched.worker_bytes)
    pipe.send_bytes(json.dumps(asdict(used)).encode())


class _Peak(threading.Thread):
    """Watches the resident memory of this process's children: they are gone when the role is done."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.worker_bytes = 0

    def run(self) -> None:
        """Look ten times a second."""
        while not self.over.wait(0.1):
            for task in Path("/proc/self/task").glob("*/children"):
                for child in _text(task).split():
                    self.worker_bytes = max(self.worker_bytes, resident("VmHWM", child))


def resident(what: str = "VmHWM", process: str = "self") -> int:
    """Bytes of ``/proc/PID/status``: VmHWM is the peak, VmRSS what is resident now. 0 where there is no such file."""
    for line in _text(Path("/proc") / process / "status").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1_024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _fields(params: SumParameters) -> str:
    names = ("dimension", "clip_norm", "sensitivity", "noise_multiplier", "maximum_cohort", "minimum_cohort")
    return json.dumps({name: getattr(params, name) for name in names})
