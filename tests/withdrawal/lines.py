"""The lines between the agent and the services on the stage, and the points at which something else may happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import numpy as np

from client_agent.connection import LeaderConnection

if TYPE_CHECKING:
    from tests.withdrawal.stage import Stage


class Killed(BaseException):
    """The process ends here."""


class Points:
    """Where something else may happen, and what does. ``plan`` is by the number of the point."""

    def __init__(self) -> None:
        self.count = 0
        self.plan: dict[int, list[Callable[[], None]]] = {}
        self._inside = False
        self.blocked: Callable[[], bool] = lambda: False

    def reach(self) -> None:
        """A point; one inside of what happens at another is none, and there is none inside a transaction."""
        if self._inside or self.blocked():
            return
        self.count += 1
        acts = self.plan.pop(self.count, [])
        self._inside = True
        try:
            for act in acts:
                act()
        finally:
            self._inside = False


class LeaderLine(httpx.BaseTransport):
    """The agent's way to the leader; it reads reports slice by slice, with a point after each."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._others = stage.leader_transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._stage.points.reach()
        if request.url.path != "/v1/reports":
            response = self._others.handle_request(request)
            self._stage.points.reach()
            return response
        body = b""
        try:
            for piece in request.stream:
                self._stage.note_handed(len(body), piece)
                body += piece
                self._stage.points.reach()
        finally:
            self._stage.overhear(body)
        response = self._stage.take_reports(body)
        self._stage.points.reach()
        return response


class HelperLine(httpx.BaseTransport):
    """The agent's way to the real helper."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._stage.points.reach()
        if self._stage.helper_down:
            raise httpx.ConnectError("down")
        response = self._stage.services.transport("helper").handle_request(request)
        self._stage.points.reach()  # the notice is durable here, and the device has not heard
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
