"""The resident agent: light, always there; it never loads torch, Flower or dp-accounting.

It keeps consent delivered and the bundle fresh, and starts the short-lived worker when there is a round. Choices have
two lanes of their own, one to each service: neither waits for the other, nor for anything else that is done here.
"""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from client_agent.agent import Agent
from client_agent.clocks import Clock
from client_agent.connection import cookieless
from client_agent.delivering import Courier
from client_agent.distribution import TUF_FOLDER, Accepted, BundleSource, fetch_root, stored_bundle
from client_agent.retention import retire
from models.personalisation import PersonalisationError, PreparedBundle, prepare
from models.wire.problems import ProblemError

_log = logging.getLogger(__name__)
_STOP_SECONDS = 1.0
_DAY_SECONDS = 86_400
_RETRY_SECONDS = 60.0
_BUNDLE_SECONDS = 3_600.0
"""How often the bundle is checked though no newer one is announced: an officer may have taken it back."""


class Attempts:
    """One thing that is tried again for ever: whatever stops it once is logged, when it begins, and ends no thread.

    Args:
        name: what it is, for the log.
        act: the thing.
    """

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name = name
        self._act = act
        self._failure = ""

    def once(self) -> bool:
        """Try it once; returns whether nothing unexpected stopped it. A service's problem is nothing unexpected."""
        try:
            self._act()
        except ProblemError as problem:
            _log.info("the next poll tries again: %s", problem)
        except Exception as error:  # noqa: BLE001 - a full disk, a locked store: whatever it is, it may pass
            if self._failure != type(error).__name__:
                _log.error("%s failed and is tried again: %s", self._name, _described(error))
            self._failure = type(error).__name__
            return False
        self._failure = ""
        return True


def _described(error: BaseException) -> str:
    """What failed and where, the innermost place first. Not what it says: that may name somebody."""
    places = traceback.extract_tb(error.__traceback__)[::-1]
    where = ", ".join(f"{Path(place.filename).name}:{place.lineno}" for place in places)
    return f"{type(error).__name__} at {where}"


class Lane:
    """A thread that does one thing: at once when it is woken, and at every poll.

    Args:
        name: the thread's.
        act: the thing; what stops it waits for the next time.
        poll_seconds: the longest time between two times; after an unexpected failure it is a minute at most.
    """

    def __init__(self, name: str, act: Callable[[], object], poll_seconds: float) -> None:
        self._attempts = Attempts(name, act)
        self._poll_seconds = poll_seconds
        self._wake = threading.Event()
        self._stopping = False
        # A daemon: what it says may wait for a service that hangs, and the process ends without it. The store keeps it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Act now, or again right after what is being done."""
        self._wake.set()

    def stop(self) -> None:
        """Do nothing more; waits a moment for what is being done."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping:
            done = self._attempts.once()
            self._wake.wait(self._poll_seconds if done else min(self._poll_seconds, _RETRY_SECONDS))
            self._wake.clear()


def _look(agent: Agent, clock: Clock) -> None:
    """Compare the store with its mirror and note the time, however long a service takes to answer."""
    agent.store.consents.look(clock.now_ms() // 1_000, clock.monotonic_seconds())


class Resident:
    """What the resident process does besides serving.

    Args:
        agent: the agent.
        clock: the machine's clocks.
        poll_seconds: time between two looks at the leader's work.
        worker_options: passed to the worker, such as ``("--epsilon", "2")``.
    """

    def __init__(self, agent: Agent, clock: Clock, poll_seconds: float, worker_options: Sequence[str] = ()) -> None:
        self._agent = agent
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._worker_options = tuple(worker_options)
        courier, leader, helper = Courier(agent.store, agent.pins, clock), agent.leader(), agent.helper()
        self._leader = agent.leader()
        self._connections = (leader, helper, self._leader)
        self._at_once = (
            Lane("choices to the helper", lambda: courier.tell_helper(helper), poll_seconds),
            Lane("choices to the leader", lambda: courier.deliver(leader), poll_seconds),
            Lane("mirror and clocks", lambda: _look(agent, clock), poll_seconds),
            Lane("traces of what was deleted", agent.store.remove_traces, poll_seconds),
        )
        # A choice deletes what it ends itself: it is no reason to go through everybody's events.
        self._bundles = Lane("bundle", self._keep_bundle, _RETRY_SECONDS)
        retention = Lane("retention", lambda: retire(agent.store, clock), _DAY_SECONDS)
        self._lanes = (*self._at_once, self._bundles, retention)
        self._steps = Attempts("looking at the leader's work", self._step)
        self._worker: subprocess.Popen[bytes] | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._announced = 0
        self._bundle_of = -1
        """What was announced when the bundle was fetched last."""
        self._checked_at = 0.0
        self._said_old = False
        self._prepared: PreparedBundle | None = None
        self._adopt_stored_bundle()

    def bundle(self) -> PreparedBundle | None:
        """The verified bundle in force, None before the first."""
        return self._prepared

    def chosen(self) -> None:
        """Wake up: a choice was recorded, and both services are to hear of it now."""
        for lane in self._at_once:
            lane.wake()

    def loop(self) -> None:
        """Step until stopped; run on a thread of its own. The lanes run beside it."""
        for lane in self._lanes:
            lane.start()
        while not self._stopping:
            self.step()
            self._wake.wait(self._poll_seconds)
            self._wake.clear()

    def stop(self) -> None:
        """End the loop and the worker."""
        self._stopping = True
        self._wake.set()
        for lane in self._lanes:
            lane.stop()
        for connection in self._connections:
            connection.close()
        if self._worker is not None and self._worker.poll() is None:
            self._worker.terminate()
            self._worker.wait()

    def step(self) -> None:
        """Look at the work, start the worker or have the bundle fetched where there is something new."""
        self._steps.once()

    def _step(self) -> None:
        work = self._leader.work()
        if work.rounds:
            self._start_worker()
        if work.bundle_version != self._announced:
            self._announced = work.bundle_version
            self._bundles.wake()

    def _start_worker(self) -> None:
        if self._worker is not None and self._worker.poll() is None:
            return
        self._agent.store.remove_traces()  # between two workers: the key can be replaced only while none has the store
        command = [sys.executable, "-m", "client_agent.federation.worker", "--dir", str(self._agent.folder)]
        command += ["--poll", str(self._poll_seconds), *self._worker_options]
        self._worker = subprocess.Popen(command)  # noqa: S603 - this interpreter and our own module

    def _tuf_folder(self) -> Path:
        return self._agent.folder / TUF_FOLDER

    def _source(self, root: bytes, client: httpx.Client) -> BundleSource:
        return BundleSource(self._tuf_folder(), self._agent.addresses.leader, root, self._agent.pins.site, client)

    def _adopt_stored_bundle(self) -> None:
        stored = stored_bundle(self._tuf_folder(), self._agent.pins.site)
        if stored is not None:
            with suppress(PersonalisationError):  # of a version of this agent that understood more
                self._prepared = prepare(stored)

    def _keep_bundle(self) -> None:
        """Fetch the bundle where another one is announced, and every hour; a failure is tried again in a minute."""
        now = dt.datetime.fromtimestamp(self._clock.now_ms() / 1_000, tz=dt.UTC)
        passed = self._clock.monotonic_seconds() - self._checked_at
        if self._announced != self._bundle_of or passed >= _BUNDLE_SECONDS:
            try:
                self._fetch_bundle(now)
            finally:
                self._say_whether_old(now)

    def _fetch_bundle(self, now: dt.datetime) -> None:
        announced, leader = self._announced, self._agent.addresses.leader
        # One connection, which can be cut; made anew, so that nothing ties one fetch to another.
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        with httpx.Client(timeout=20.0, cookies=cookieless(), limits=limits) as client:
            root = self._agent.tuf_root
            if root is None:
                root = fetch_root(leader, self._agent.pins.officers, client)
                self._agent.keep_tuf_root(root)
            bundle = self._source(root, client).fetch(now)
        try:
            self._prepared = prepare(bundle) if bundle is not None else None
        except PersonalisationError as error:
            raise ProblemError("bundle-invalid", str(error)) from None
        self._bundle_of, self._checked_at = announced, self._clock.monotonic_seconds()

    def _say_whether_old(self, now: dt.datetime) -> None:
        """Log once that the bundle may be held back, and once that it is not any more; it stays in use meanwhile."""
        accepted = Accepted.read(self._tuf_folder())
        is_old = accepted is not None and accepted.is_old(now)
        if accepted is not None and is_old != self._said_old:
            version, day = accepted.bundle_version, accepted.checked_at.date()
            words = "is old: it could not be checked since" if is_old else "is of today; checked on"
            _log.warning("bundle %d %s %s", version, words, day)
        self._said_old = is_old
