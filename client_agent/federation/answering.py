"""Computing a device's plain answer, in a process of its own: it knows a question and a person's events, and no coin.

The worker that talks to the network starts this program for every round that a device has paid for, heads or tails
alike, because the coin is not flipped until the answer is due: what computing costs, in time, in processor and in
memory, is the same whatever the coin will say. It runs at the lowest priority there is, so that the worker's polls and
send slots do not wait for it, and it alone loads torch and Opacus.

Jobs come in on standard input and answers go out on standard output, each a length and that many bytes. An answer is of
one size for all devices of a study: a word, and as many float64 as the study has dimensions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import struct
import sys
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from client_agent.profiles import EventData, read_events
from models.queries.answers import DeviceData, answer, from_model_bytes
from models.queries.errors import QueryError
from models.wire.message import from_base64, to_base64
from models.wire.studies import Query, TrainQuery
from privacy.mechanisms import RandomStream

VECTOR: Final = b"v"
NOTHING: Final = b"n"
FAILED: Final = b"f"
"""What an answer's first byte says: a vector, nothing to report, or an error. The zeros that follow are no answer."""
_LENGTH: Final = struct.Struct(">Q")
_LEAST_NICE: Final = 19
_QUERY: TypeAdapter[Query] = TypeAdapter(Query)


@dataclass(frozen=True)
class Job:
    """One question to one person's events.

    Attributes:
        query: what is asked.
        dimension: length of the answer.
        model: the round's model, flat little-endian float32.
        now_ms: the present; profiles look back from here.
        events: raw events as JSON texts, in order of arrival.
        granted: the purposes allowed when the device took its place in the round, of those that the question is about.
    """

    query: Query
    dimension: int
    model: bytes = field(repr=False)
    now_ms: int
    events: Sequence[str] = field(repr=False)
    granted: Sequence[str] = field(default=(), repr=False)

    @property
    def answer_bytes(self) -> int:
        """Length of the answer, whatever it says."""
        return 1 + 8 * self.dimension

    def encode(self) -> bytes:
        """As it goes over the pipe."""
        document = {
            "query": self.query.document(),
            "dimension": self.dimension,
            "model": to_base64(self.model),
            "now_ms": self.now_ms,
            "events": list(self.events),
            "granted": list(self.granted),
        }
        return json.dumps(document).encode()

    @classmethod
    def decode(cls, data: bytes) -> Job:
        """As it came over the pipe."""
        found = json.loads(data)
        query = _QUERY.validate_json(json.dumps(found["query"]))
        model = from_base64(found["model"])
        return cls(query, found["dimension"], model, found["now_ms"], found["events"], found["granted"])


def answer_question(
    query: Query, model: bytes, data: DeviceData, granted: Collection[str] = ()
) -> NDArray[np.float64] | None:
    """One device's plain answer to a question, float64[d]; None where it has nothing to say (device)."""
    try:
        flat = from_model_bytes(model)
        return _train(query, flat, data) if isinstance(query, TrainQuery) else answer(query, data, flat, granted)
    except QueryError:
        return None


def _train(query: TrainQuery, model: NDArray[np.float32], data: DeviceData) -> NDArray[np.float64] | None:
    from models.learning.errors import LearningError
    from models.learning.local_training import train
    from models.learning.steps import local_plan_of, net_of

    rows, labels = _rows(query, data)
    try:
        return train(net_of(query), local_plan_of(query), model, rows, labels, RandomStream(os.urandom(32)))
    except LearningError:
        return None


def _rows(query: TrainQuery, data: DeviceData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The device's rows. With local noise a device that has none trains on noise alone: a null would tell that."""
    try:
        return data.rows(query.features)
    except QueryError:
        if not query.local.noise_multiplier:
            raise
        return np.zeros((0, len(query.features.names))), np.zeros(0)


def compute(job: Job) -> bytes:
    """A job's answer, ``answer_bytes`` long whatever becomes of it."""
    word, vector = NOTHING, np.zeros(job.dimension)
    try:
        data = EventData(read_events(job.events), job.now_ms)
        found = answer_question(job.query, job.model, data, job.granted)
        if found is not None:
            word, vector = VECTOR, np.asarray(found, dtype=np.float64).reshape(job.dimension)
    except Exception:  # noqa: BLE001 - whatever fails on a device, the network sees a null like any other
        word = FAILED
    return word + vector.astype("<f8").tobytes()


def read_frame(source: BinaryIO, expected_bytes: int | None = None) -> bytes | None:
    """The next frame; None at the end, also in the middle of a frame, and for one of another length than expected."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (count,) = _LENGTH.unpack(head)
    if expected_bytes not in (None, count):
        return None
    body = source.read(count)
    return body if len(body) == count else None


def write_frame(sink: BinaryIO, body: bytes) -> None:
    """Write one frame and let it go."""
    sink.write(_LENGTH.pack(len(body)) + body)
    sink.flush()


def step_back() -> None:
    """Give way to everything else on this machine, as far as it knows how."""
    if hasattr(os, "nice"):
        os.nice(_LEAST_NICE)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main(arguments: list[str] | None = None) -> None:
    """Answer jobs until standard input ends, and then end at once, whatever is being computed."""
    parser = argparse.ArgumentParser(prog="client_agent.federation.answering")
    parser.add_argument("--priority", choices=("idle", "normal"), default="idle")
    if parser.parse_args(arguments).priority == "idle":
        step_back()
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    while True:
        write_frame(sink, compute(Job.decode(jobs.get())))


def _read(jobs: queue.SimpleQueue[bytes]) -> None:
    while (body := read_frame(sys.stdin.buffer)) is not None:
        jobs.put(body)
    os._exit(0)  # the worker is gone: nobody waits for an answer


if __name__ == "__main__":
    main()
