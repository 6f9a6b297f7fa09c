"""The worker's end of the process that computes answers: jobs go in, and what is there at the slot comes out."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from client_agent.errors import AnswerFailed
from client_agent.federation.answering import FAILED, VECTOR, Job, read_frame, write_frame
from client_agent.federation.contribution import Reservation
from client_agent.federation.trust import VerifiedRound
from client_agent.store import RoundKey
from client_agent.streaming import watched

COMMAND: Final = (sys.executable, "-m", "client_agent.federation.answering")
Events = Callable[[str], Sequence[str]]
"""A participant's raw events as JSON texts, by participant id."""
Stands = Callable[[RoundKey, str], bool]
"""Whether a participant's place in a round still stands. Asked from several threads."""


def _always(*_: object) -> bool:
    return True


class Computing(Protocol):
    """Where answers are computed."""

    def submit(self, reservation: Reservation) -> None:
        """Have the answer of a reservation computed; its coin was not flipped yet."""
        ...

    def take(self, found: VerifiedRound, participant_id: str) -> NDArray[np.float64] | None:
        """The answer that is ready now, once; None where there is none.

        Raises:
            AnswerFailed: computing it failed.
        """
        ...

    def forget(self, key: RoundKey, participant_id: str) -> None:
        """A participant withdrew: nothing is computed for it any more, and what was computed is dropped."""
        ...

    def end(self, key: RoundKey) -> None:
        """A round's last slot is past: whatever is still computed for it is late."""
        ...

    def close(self) -> None:
        """Compute nothing more."""
        ...


class AnswerProcess:
    """A child that computes one answer after the other. It is told of no coin: nobody has flipped one yet.

    A thread writes jobs and reads answers, so that the loop that polls and sends never waits for either. A child that
    crashed is started again with the next job; one that still computes when a round's last slot is past is ended, and
    so is one that computes on the data of somebody who withdrew.

    Args:
        events: a participant's own raw events.
        now_ms: the present, in Unix milliseconds.
        command: the program.
        stands: asked before a person's data is read, and while it is computed on.
    """

    def __init__(
        self, events: Events, now_ms: Callable[[], int], command: Sequence[str] = COMMAND, stands: Stands | None = None
    ) -> None:
        self._events = events
        self._now_ms = now_ms
        self._command = tuple(command)
        self._stands = stands or _always
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")
        self._jobs: dict[tuple[RoundKey, str], Future[NDArray[np.float64] | None]] = {}
        self._late: dict[RoundKey, Future[NDArray[np.float64] | None]] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; None before the first job."""
        return None if self._child is None else self._child.pid

    def submit(self, reservation: Reservation) -> None:
        """Start the child if there is none, and queue the job."""
        found, who = reservation.found, reservation.participant.participant_id
        with contextlib.suppress(OSError):  # the job itself tries again, and fails on its own
            self._running()
        self._jobs[found.key, who] = self._thread.submit(self._ask, found, who, reservation.granted)

    def take(self, found: VerifiedRound, participant_id: str) -> NDArray[np.float64] | None:
        """What is ready; a job that was not begun yet is not begun any more.

        Raises:
            AnswerFailed: computing it failed, or the child ended.
        """
        job = self._jobs.pop((found.key, participant_id), None)
        if job is None or job.cancel():
            return None
        if not job.done():
            self._late[found.key] = job
            return None
        return job.result()

    def forget(self, key: RoundKey, participant_id: str) -> None:
        """Begin no job of a participant who withdrew; one that is under way has ended the child by itself."""
        job = self._jobs.pop((key, participant_id), None)
        if job is not None:
            job.cancel()

    def end(self, key: RoundKey) -> None:
        """End a child that hangs in a round that is over; the next job starts another."""
        job = self._late.pop(key, None)
        if job is not None and not job.done():
            self._kill()

    def close(self) -> None:
        """End the child, whatever it computes."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._kill()
        self._thread.shutdown()  # its read has just ended
        self._let_go()

    def _ask(self, found: VerifiedRound, participant_id: str, granted: Sequence[str]) -> NDArray[np.float64] | None:
        """On the thread: one job, one answer; none for somebody who withdrew, whose data is not even read."""
        if not self._stands(found.key, participant_id):
            return None
        study, now_ms = found.study, self._now_ms()
        job = Job(study.query, study.plan.dimension, found.model, now_ms, self._events(participant_id), granted)
        child = self._running()
        assert child.stdin is not None, "the child was started with pipes"
        assert child.stdout is not None, "the child was started with pipes"
        try:
            with watched(self._kill, lambda: self._stands(found.key, participant_id)):
                write_frame(child.stdin, job.encode())  # type: ignore[arg-type]  # typeshed: IO[bytes] is a BinaryIO here
                body = read_frame(child.stdout, job.answer_bytes)  # type: ignore[arg-type]  # the same
        except (OSError, ValueError):
            body = None
        if body is None:
            self._kill()  # it is gone, or what it would say next is no answer to the next job
        if body is None or body[:1] == FAILED:
            raise AnswerFailed("the answer could not be computed")
        return np.frombuffer(body, dtype="<f8", offset=1) if body[:1] == VECTOR else None

    def _running(self) -> subprocess.Popen[bytes]:
        with self._starting:
            if self._closed:
                raise AnswerFailed("the worker is ending")
            if self._child is None or self._child.poll() is not None:
                self._let_go()
                self._child = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # a traceback may quote what it worked on
                    env={**os.environ, "OMP_NUM_THREADS": "1"},  # one core is enough, and leaves the others alone
                )
            return self._child

    def _kill(self) -> None:
        with self._starting:
            if self._child is not None:
                self._child.kill()
                self._child.wait()

    def _let_go(self) -> None:
        if self._child is not None:
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not written yet has nobody to read it
                        pipe.close()
