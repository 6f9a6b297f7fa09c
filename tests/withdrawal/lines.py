"""The lines between the agent and the services on the stage, and the points at which something else may happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from client_agent.clocks import Clock
from client_agent.connection import LeaderConnection
from client_agent.streaming import WATCH_SECONDS, look

if TYPE_CHECKING:
    from tests.withdrawal.stage import Stage


Act = tuple[str, Callable[[], None]]


class Killed(BaseException):
    """The process ends here."""


class Points:
    """Where something else may happen, and what does.

    Attributes:
        plan: what happens, by the number of the point: each with its name.
        log: every point that was reached, with the time and the names of what happened there: two runs of one seed
            have the same.
        order: grows with everything that is noted, so that of two things in one millisecond the earlier one is known.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.plan: dict[int, list[Act]] = {}
        self.log: list[tuple[int, str, tuple[str, ...]]] = []
        self.order = 0
        self._inside = False
        self._watches: list[list[Any]] = []
        self.blocked: Callable[[], bool] = lambda: False

    def begin(self) -> None:
        """A round begins: nothing is planned, and no point was reached."""
        self.plan, self.log = {}, []

    def add(self, at: int, name: str, act: Callable[[], None]) -> None:
        """Let something happen at a point."""
        self.plan.setdefault(at, []).append((name, act))

    def next(self) -> int:
        """The place of what is noted now in the order of everything."""
        self.order += 1
        return self.order

    def reach(self, where: str) -> None:
        """A point; one inside of what happens at another is none, and there is none inside a transaction."""
        if self._inside or self.blocked():
            return
        acts = self.plan.pop(len(self.log) + 1, [])
        self.log.append((self._clock.now_ms(), where, tuple(name for name, _ in acts)))
        self._inside = True
        try:
            for _, act in acts:
                act()
        finally:
            self._inside = False
        self._look()

    @contextmanager
    def watched(self, cut: Callable[[], None], standing: Callable[[], bool]) -> Iterator[None]:
        """The watch over a request, on the virtual clock: it looks at a point when its interval has passed."""
        self._watches.append([cut, standing, self._clock.now_ms()])
        try:
            yield
        finally:
            self._watches.pop()

    def _look(self) -> None:
        for watch in self._watches:
            cut, standing, looked_ms = watch
            if self._clock.now_ms() - looked_ms >= int(WATCH_SECONDS * 1_000):
                watch[2] = self._clock.now_ms()
                look(cut, standing)


class LeaderLine(httpx.BaseTransport):
    """The agent's way to the leader; reports go slice by slice, with a point after each."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._others = stage.leader_transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._stage.points.reach(f"to the leader: {request.url.path}")
        if request.url.path != "/v1/reports":
            response = self._others.handle_request(request)
            self._stage.points.reach(f"answered by the leader: {request.url.path}")
            return response
        wire = self._stage.connect(request)
        try:
            for piece in request.stream:
                wire.hand(piece)
            wire.wait_for_answer()
        finally:
            wire.close()
            self._stage.overhear(wire.arrived)
        response = self._stage.take_reports(wire.arrived)
        self._stage.points.reach("answered by the leader: reports")
        return response


class HelperLine(httpx.BaseTransport):
    """The agent's way to the real helper."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._stage.points.reach("to the helper")
        if self._stage.helper_down:
            raise httpx.ConnectError("down")
        response = self._stage.services.transport("helper").handle_request(request)
        self._stage.points.reach("answered by the helper")  # the notice is durable here, and the device has not heard
        return response


class WatchedConnection(LeaderConnection):
    """Tells the stage which reports a request is about to bring."""

    def __init__(self, stage: Stage) -> None:
        super().__init__("http://leader.test", LeaderLine(stage))
        self._stage = stage

    def post_reports(self, encoded, standing=lambda: True):
        self._stage.note_batch(encoded)
        return super().post_reports(encoded, standing)


class Vectors:
    """Computes at once, in this process."""

    def submit(self, reservation):
        pass

    def take(self, *_):
        return np.array([0.5, 0.25, 0.0, 0.5])

    def forget(self, *_):
        pass

    def end(self, key):
        pass

    def close(self):
        pass
