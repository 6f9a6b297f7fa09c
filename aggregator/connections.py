"""Connections that waste a service's time are cut, and many that only wait keep nobody out.

The HTTP server beneath limits the time between two requests and nothing else. Added here, for each connection of one
worker:

- a request's headers must be complete within ``header_seconds`` of the connection or of their first byte, and within
  ``header_limit_bytes``;
- a client must not leave an answer unread for longer than ``send_pause_seconds``;
- more than ``connection_limit`` connections: the one that has been without a request for longest gives way; where all
  are at work, the new one is answered 503;
- at most so many requests may be sent ahead (HTTP pipelining).

Bodies are the guards' matter (``models.wire.guards``): they know the request. Time is looked at once a second
(``Room.sweep``), so a deadline is met within a second and costs no timer per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import h11
from uvicorn.protocols.http import h11_impl

from models.wire.problems import PROBLEM_MEDIA_TYPE, ProblemError

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Fast
except ImportError:  # the faster parser comes with Flower; the helper runs without it
    _Fast = None  # type: ignore[assignment,misc]  # the name is a class or nothing

PIPELINE_LIMIT: Final = 16
"""Most requests that may wait behind the one that is answered."""


@dataclass
class Room:
    """What the connections of one worker have in common.

    Attributes:
        header_seconds: longest until a request's headers are complete.
        header_limit_bytes: most bytes of them.
        send_pause_seconds: longest that an answer may wait for its reader.
        keep_alive_seconds: longest between two requests.
        connection_limit: most connections.
        on_cut: told why a connection was cut.
        members: every connection.
    """

    header_seconds: float
    header_limit_bytes: int
    send_pause_seconds: float
    keep_alive_seconds: float
    connection_limit: int
    on_cut: Callable[[str], None] = lambda _: None
    members: set[Connection] = field(default_factory=set)
    resting: dict[Connection, float] = field(default_factory=dict)
    """Connections without a request under way, longest first, and since when."""

    def sweep(self, now: float) -> None:
        """Cut what has wasted its time; run once a second."""
        for member in tuple(self.members):
            reason = member.overdue(now)
            if reason:
                member.cut(reason)

    def enter(self, member: Connection) -> bool:
        """Take a new connection in; False if there is no room for it."""
        self.members.add(member)
        if len(self.members) <= self.connection_limit:
            return True
        oldest = next((other for other in self.resting if other is not member), None)
        if oldest is None:
            return False
        oldest.cut("crowded-out")
        return True

    def leave(self, member: Connection) -> None:
        """A connection is gone, or as good as gone."""
        self.members.discard(member)
        self.resting.pop(member, None)


class Connection:
    """What is added to a protocol of the HTTP server: one connection's times."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def begin(self, room: Room) -> None:
        """A connection was made."""
        self._room = room
        self._asking_since: float | None = self.loop.time()
        self._asked_bytes = 0
        self._unread_since: float | None = None
        self._leaving = False
        room.resting[self] = self.loop.time()
        if not room.enter(self):
            self._refuse(ProblemError("too-many-requests", "every connection is at work"), "crowded-out")

    def heard(self, size: int, *, in_headers: bool) -> None:
        """Bytes have come, and have been looked at."""
        if not in_headers or self._leaving:
            return
        if self._asking_since is None:
            self._asking_since = self.loop.time()
        self._asked_bytes += size
        if self._asked_bytes > self._room.header_limit_bytes:
            limit = f"at most {self._room.header_limit_bytes} bytes of headers are accepted"
            self._refuse(ProblemError("too-large", limit), "large-headers")

    def asked(self) -> None:
        """A request's headers are complete."""
        self._asking_since, self._asked_bytes = None, 0
        self._room.resting.pop(self, None)

    def answered(self) -> None:
        """An answer is complete."""
        if not self._leaving:
            self._room.resting.pop(self, None)
            self._room.resting[self] = self.loop.time()

    def unread(self, *, paused: bool) -> None:
        """The client has stopped reading, or reads again."""
        self._unread_since = self.loop.time() if paused else None

    def overdue(self, now: float) -> str:
        """Why the connection is cut now; ``""`` if it is not."""
        room = self._room
        if self._asking_since is not None and now - self._asking_since > room.header_seconds:
            return "slow-headers"
        if self._unread_since is not None and now - self._unread_since > room.send_pause_seconds:
            return "unread-answer"
        since = room.resting.get(self)
        if since is not None and self._asking_since is None and now - since > room.keep_alive_seconds + 1:
            return "idle"
        return ""

    def cut(self, reason: str) -> None:
        """End the connection at once; what was not sent is lost."""
        self._leaving = True
        self._room.leave(self)
        self._room.on_cut(reason)
        self.transport.abort()

    def _refuse(self, error: ProblemError, reason: str) -> None:
        body, row = error.body().model_dump_json().encode(), error.problem_type
        head = f"HTTP/1.1 {int(row.status)} {row.status.phrase}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self._leaving = True
        self._room.resting.pop(self, None)
        self._asking_since, self._unread_since = None, self.loop.time()  # closed, and cut if nobody reads it
        self._room.on_cut(reason)
        self.transport.close()


def connection_class(room: Room) -> Callable[..., asyncio.Protocol]:
    """A protocol for the HTTP server whose connections are members of this room."""
    kind = _H11Connection if _Fast is None else _FastConnection

    def make(**options: Any) -> asyncio.Protocol:
        made = kind(**options)
        made.room = room
        return made

    return make


class _H11Connection(Connection, h11_impl.H11Protocol):
    room: Room

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server has it
        super().connection_made(transport)
        self.begin(self.room)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.asked()
        waits = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        self.heard(len(data), in_headers=waits)

    def on_response_complete(self) -> None:
        self.answered()
        before = self.cycle
        super().on_response_complete()  # may begin the next request, which was sent ahead
        if self.cycle is not before:
            self.asked()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread(paused=True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread(paused=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.leave(self)
        super().connection_lost(exc)


if _Fast is not None:

    class _FastConnection(Connection, _Fast):
        room: Room
        _in_headers = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server has it
            super().connection_made(transport)
            self.begin(self.room)

        def on_message_begin(self) -> None:
            self._in_headers = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_headers = False
            super().on_headers_complete()
            self.asked()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.heard(len(data), in_headers=self._in_headers)
            if len(self.pipeline) > PIPELINE_LIMIT:
                self.cut("sent-ahead")

        def on_response_complete(self) -> None:
            if not self.pipeline:
                self.answered()
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.unread(paused=True)

        def resume_writing(self) -> None:
            super().resume_writing()
            self.unread(paused=False)

        def connection_lost(self, exc: Exception | None) -> None:
            self.room.leave(self)
            super().connection_lost(exc)
