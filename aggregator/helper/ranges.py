"""One range of a batch: opened, summed, handed back. The same code in the service and in its worker processes.

A worker is ``python -m aggregator.helper.ranges FD``. It inherits one end of a private pipe and nothing else: no store,
no configuration, no signing key. A job arrives as bytes that name the range, where its seals lie, and the round's key;
the answer is the failures, in pieces, and then the range's partial sum. The worker ends with the pipe.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models.wire.frames import read_seals
from privacy.crypto import SealPrivateKey
from privacy.secure_sum import Failure, HelperSum, PartialSum, SealFailure, Span, SumContext, SumParameters

FAILURES, SUM, REFUSED = b"F", b"S", b"R"
"""First byte of a worker's message: failures of the range, its sum (the last message), or why there is none."""

_FAILURES_A_MESSAGE = 1_024
_REASONS = tuple(SealFailure)
_LENGTH = struct.Struct(">I")
_PAIR_BYTES = 64
_KEY_BYTES = 96
_HASHES = ("study_hash", "model_hash", "leader_key", "helper_key", "policy_hash")
_PARAMETERS = ("dimension", "clip_norm", "sensitivity", "noise_multiplier", "maximum_cohort", "minimum_cohort")


@dataclass(frozen=True)
class Job:
    """A range to open, and everything that its sum is a function of.

    Attributes:
        params: the study's parameters.
        context: the round's context.
        span: which ids the range must turn out to have.
        path: the spooled batch.
        offset: where in it the range begins.
        now: Unix seconds, for expiry.
        key: the round's private key, 96 bytes.
        withdrawn: right tokens by report id, of this range.
    """

    params: SumParameters
    context: SumContext
    span: Span
    path: Path
    offset: int
    now: int
    key: bytes = field(repr=False)
    withdrawn: dict[bytes, bytes] = field(repr=False)

    def to_bytes(self) -> bytes:
        """For the private pipe to a worker: what is public as JSON, then key and tokens."""
        head = json.dumps(
            {
                "params": {name: getattr(self.params, name) for name in _PARAMETERS},
                "context": {name: getattr(self.context, name).hex() for name in _HASHES},
                "round": self.context.round,
                "bucket": self.context.bucket,
                "span": [self.span.start, self.span.count],
                "ids": [part.hex() for part in (self.span.first, self.span.last, self.span.digest)],
                "path": str(self.path),
                "offset": self.offset,
                "now": self.now,
            }
        ).encode()
        tokens = b"".join(report_id + token for report_id, token in self.withdrawn.items())
        return _LENGTH.pack(len(head)) + head + self.key + tokens

    @classmethod
    def parse(cls, data: bytes) -> Job:
        """Undo :meth:`to_bytes`."""
        at = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        head: dict[str, Any] = json.loads(data[_LENGTH.size : at])
        hashes = {name: bytes.fromhex(value) for name, value in head["context"].items()}
        tokens = data[at + _KEY_BYTES :]
        return cls(
            params=SumParameters(**head["params"]),
            context=SumContext(round=head["round"], bucket=head["bucket"], **hashes),
            span=Span(*head["span"], *(bytes.fromhex(part) for part in head["ids"])),
            path=Path(head["path"]),
            offset=head["offset"],
            now=head["now"],
            key=data[at : at + _KEY_BYTES],
            withdrawn={
                tokens[i : i + _PAIR_BYTES // 2]: tokens[i + _PAIR_BYTES // 2 : i + _PAIR_BYTES]
                for i in range(0, len(tokens), _PAIR_BYTES)
            },
        )

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a job holds a round's key and is not pickled; send to_bytes() over a private pipe")


def open_range(job: Job, on_failure: Callable[[Failure], object]) -> PartialSum:
    """Open a range's seals and sum their masks.

    Args:
        job: the range.
        on_failure: is handed each seal that was left out, in increasing order of ids.

    Raises:
        SecureSumError, ProblemError: the file does not hold what was spooled.
    """
    total = HelperSum(
        job.params,
        job.context,
        SealPrivateKey(job.key),
        now=job.now,
        withdrawn=job.withdrawn,
        on_failure=on_failure,
        start=job.span.start,
    )
    with job.path.open("rb") as source:
        source.seek(job.offset)
        for seal in read_seals(source, job.span.count):
            total.add(seal)
    return total.partial()


def pack_failures(failures: list[Failure]) -> bytes:
    """Failures as a worker sends them: 33 bytes each."""
    return b"".join(item.report_id + bytes([_REASONS.index(item.reason)]) for item in failures)


def unpack_failures(data: bytes) -> Iterator[Failure]:
    """Undo :func:`pack_failures`."""
    for at in range(0, len(data), 33):
        yield Failure(data[at : at + 32], _REASONS[data[at + 32]])


def serve(pipe: Connection) -> None:
    """Do jobs until the pipe ends. Run by a worker process."""
    while True:
        try:
            job = Job.parse(pipe.recv_bytes())
        except EOFError:
            return
        _answer(pipe, job)


def _answer(pipe: Connection, job: Job) -> None:
    waiting: list[Failure] = []

    def hand_out(failure: Failure) -> None:
        waiting.append(failure)
        if len(waiting) == _FAILURES_A_MESSAGE:
            pipe.send_bytes(FAILURES + pack_failures(waiting))
            waiting.clear()

    try:
        part = open_range(job, hand_out)
    except Exception as error:  # noqa: BLE001 - whatever it is, the service must hear of it; its text could quote input
        pipe.send_bytes(REFUSED + type(error).__name__.encode())
        return
    pipe.send_bytes(FAILURES + pack_failures(waiting))
    pipe.send_bytes(SUM + part.to_bytes())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides; its end closes the pipe
    serve(Connection(int(sys.argv[1])))
