"""Several processes of one service on one listening socket, and somebody who starts them again.

The supervisor does nothing else: it opens no store and answers no request. It forks the workers, so they share what was
imported. A worker that ends is started again, after a pause that doubles while workers end soon after their start. On
SIGTERM or SIGINT every worker ends in good order. A worker whose supervisor is gone, however it went, ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from aggregator.errors import AggregatorError

GRACE_SECONDS: Final = 15.0
"""How long workers may take to end, unless said; then they are killed."""
_SAME_REQUEST_SECONDS: Final = 1.0
"""Signals this close are one request: a terminal and a service manager both send theirs."""
_LOOK_SECONDS: Final = 0.5
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 5.0
_SOON_SECONDS: Final = 10.0
_STARTED: Final = b"+"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

Report = Callable[[], None]
"""Called by a worker once it answers requests."""


@dataclass
class _Worker:
    """One place for a worker, and the process that has it now.

    Attributes:
        pid: of the process; 0 while nobody has the place.
        said: the reading end of what the process says of its start.
        since: monotonic seconds of its start, or from which the next one is started.
        pause_seconds: before the next start.
    """

    pid: int = 0
    said: int = -1
    since: float = 0.0
    pause_seconds: float = _FIRST_PAUSE_SECONDS


class Supervisor:
    """Keeps so many workers running.

    Args:
        count: how many.
        work: what each does until SIGTERM; it calls its argument once it answers. An ``AggregatorError`` out of it is
            a start that failed for a stated reason.
        grace_seconds: how long workers may take to end; then they are killed. At once on a second signal.
    """

    def __init__(self, count: int, work: Callable[[Report], None], grace_seconds: float = GRACE_SECONDS) -> None:
        self._places = [_Worker() for _ in range(count)]
        self._work = work
        self._grace_seconds = grace_seconds
        self._was_up = False
        self._alive, self._living = os.pipe()
        self._mask: set[signal.Signals | int] = set()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            AggregatorError: no worker could start, for the reason that it stated.
        """
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS))
        try:
            while not self._told_to_end():
                self._look_after()
        finally:
            self._end_all()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _told_to_end(self) -> bool:
        found = signal.sigtimedwait(_SIGNALS, self._rest_seconds())
        return found is not None and found.si_signo != signal.SIGCHLD

    def _rest_seconds(self) -> float:
        now = time.monotonic()
        return min([_LOOK_SECONDS, *(max(0.0, place.since - now) for place in self._places if place.pid == 0)])

    def _look_after(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.pid and os.waitpid(place.pid, os.WNOHANG)[0]:
                self._bury(place, now)
            if place.pid == 0 and now >= place.since:
                self._fill(place, now)

    def _bury(self, place: _Worker, now: float) -> None:
        said = self._heard(place)
        if not said.startswith(_STARTED) and not self._was_up and said:
            place.pid = 0
            raise AggregatorError(said.decode("utf-8", "replace"))
        self._was_up = self._was_up or said.startswith(_STARTED)
        soon = now - place.since < _SOON_SECONDS
        pause = place.pause_seconds if soon else _FIRST_PAUSE_SECONDS
        place.pid, place.since, place.pause_seconds = 0, now + pause, min(2 * pause, _LONGEST_PAUSE_SECONDS)
        sys.stderr.write(f"a worker ended; another one starts in {pause:g} s\n")

    def _heard(self, place: _Worker) -> bytes:
        said = b""
        while part := os.read(place.said, 4_096):
            said += part
        os.close(place.said)
        return said

    def _fill(self, place: _Worker, now: float) -> None:
        place.said, saying = os.pipe()
        pid = os.fork()
        if pid == 0:
            for reading in {place.said, *(other.said for other in self._places if other.pid)}:
                os.close(reading)
            os.close(self._living)
            self._be_worker(saying)
        os.close(saying)
        place.pid, place.since = pid, now

    def _be_worker(self, saying: int) -> NoReturn:
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            threading.Thread(target=_end_with, args=(self._alive,), daemon=True, name="supervisor's life").start()
            self._work(lambda: _say(saying, _STARTED))
            code = 0
        except AggregatorError as error:
            _say(saying, str(error).encode())
        except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _end_all(self) -> None:
        places = [place for place in self._places if place.pid]
        for place in places:
            os.kill(place.pid, signal.SIGTERM)
        told, deadline = time.monotonic(), time.monotonic() + self._grace_seconds
        for place in places:
            while not os.waitpid(place.pid, os.WNOHANG)[0]:
                if _told_again(told):
                    deadline = 0.0
                if time.monotonic() > deadline:
                    os.kill(place.pid, signal.SIGKILL)
                    os.waitpid(place.pid, 0)
                    break
                time.sleep(0.01)
            os.close(place.said)
        os.close(self._living)
        os.close(self._alive)


def _told_again(told: float) -> bool:
    again = signal.sigtimedwait((signal.SIGTERM, signal.SIGINT), 0)
    return again is not None and time.monotonic() - told > _SAME_REQUEST_SECONDS


def _say(saying: int, what: bytes) -> None:
    os.write(saying, what)


def _end_with(alive: int) -> None:
    """Wait until the other end is closed, which the supervisor's own end does, and end in good order."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)
