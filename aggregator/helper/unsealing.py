"""A spooled batch is opened: in this process when it is small, over several when it is large, the bytes the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import aggregator
from aggregator.errors import WorkerLost
from aggregator.helper.ranges import FAILURES, REFUSED, SUM, Job, open_range, unpack_failures
from privacy.secure_sum import Failure, MergedSum, PartialSum, Role, Span, SumContext, SumParameters

_END_SECONDS = 5.0


class Unsealing:
    """A batch while it is opened: the sum of what came back, and what failed, by range.

    Args:
        params: the study's parameters.
        context: the round's context.
        spans: the batch's ranges, from the pass that spooled it.

    Raises:
        PartialRefused, CohortExceeded: the ranges are no batch of this study.
    """

    def __init__(self, params: SumParameters, context: SumContext, spans: tuple[Span, ...]) -> None:
        self._sum = MergedSum(Role.HELPER, params, context, spans)
        self._failures: dict[int, list[Failure]] = {}

    def run(self, jobs: Iterable[Job], workers: int) -> None:
        """Do every job, in this process where ``workers`` is 1.

        Raises:
            WorkerLost: a process ended, or could not do its range. What was marked stays, so a retry is safe.
            SecureSumError: a range is not what was spooled.
        """
        if workers == 1:
            for job in jobs:
                self._sum.add(open_range(job, self._keep(job)))
            return
        with _crew(workers) as pipes:
            self._hand_out(iter(jobs), pipes)

    @property
    def opened(self) -> int:
        """Seals opened and counted."""
        return self._sum.counted

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum of the masks (uint64[d]).

        Raises:
            CohortTooSmall: fewer were opened than the minimum cohort.
            PartialRefused: a range is missing.
        """
        return self._sum.total

    def failures(self) -> Iterator[Failure]:
        """Seals that were left out, in increasing order of their ids. The answer names each of them."""
        for start in sorted(self._failures):
            yield from self._failures[start]

    def _hand_out(self, jobs: Iterator[Job], pipes: list[Connection]) -> None:
        busy: dict[Connection, Job] = {}
        for pipe in pipes:
            _next_job(jobs, pipe, busy)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection), "only pipes are waited for"
                if self._take(ready, busy[ready]):
                    del busy[ready]
                    _next_job(jobs, ready, busy)

    def _take(self, pipe: Connection, job: Job) -> bool:
        """One message of a worker; says whether its job is done."""
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerLost(
                "a process that opened seals ended early; the batch is marked, so a retry is safe"
            ) from error
        kind, rest = message[:1], message[1:]
        if kind == FAILURES:
            for failure in unpack_failures(rest):
                self._keep(job)(failure)
            return False
        if kind != SUM:
            reason = rest.decode("ascii", "replace") if kind == REFUSED else "no answer of a worker"
            raise WorkerLost(f"a process could not open its range: {reason}")
        self._sum.add(PartialSum.parse(rest))
        return True

    def _keep(self, job: Job) -> Callable[[Failure], None]:
        def keep(failure: Failure) -> None:
            self._failures.setdefault(job.span.start, []).append(failure)

        return keep


def _next_job(jobs: Iterator[Job], pipe: Connection, busy: dict[Connection, Job]) -> None:
    job = next(jobs, None)
    if job is not None:
        try:
            pipe.send_bytes(job.to_bytes())
        except OSError as error:
            raise WorkerLost("a process that opens seals could not be reached") from error
        busy[pipe] = job


@contextmanager
def _crew(workers: int) -> Iterator[list[Connection]]:
    """Worker processes for one batch: they hold its key no longer than the batch takes."""
    started = [_start() for _ in range(workers)]
    try:
        yield [pipe for pipe, _ in started]
    finally:
        for pipe, _ in started:
            pipe.close()
        for _, process in started:
            _end(process)


def _start() -> tuple[Connection, subprocess.Popen[bytes]]:
    ours, theirs = Pipe()
    # Our own interpreter and module, an environment without this service's settings, and the one inherited pipe.
    command = [sys.executable, "-P", "-m", "aggregator.helper.ranges", str(theirs.fileno())]
    environment = {"PYTHONPATH": str(Path(aggregator.__file__).parents[1]), "PATH": os.defpath}
    process = subprocess.Popen(  # noqa: S603 - every part of the command is ours
        command,
        env=environment,
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    return ours, process


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
