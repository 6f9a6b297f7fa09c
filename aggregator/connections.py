"""Connections that waste a service's time are cut, and many that only wait keep nobody out.

The HTTP server beneath limits the time between two requests and nothing else. Added here, for each connection of one
worker:

- a request's headers must be complete within ``header_seconds`` of the connection or of their first byte, and within
  ``header_limit_bytes``;
- a client must not leave an answer unread for longer than ``send_pause_seconds``, nor read it more slowly than
  ``read_rate_bytes`` from then on;
- more than ``connection_limit`` connections, or more than ``address_connection_limit`` of one address: the one that has
  been without a request for longest gives way, or else the one whose body or whose reading is slowest; where all are at
  work, the new one is answered 429 ``slow-down`` with Retry-After;
- at most so many requests may be sent ahead (HTTP pipelining);
- where a request's target names an authority itself, that one counts instead of the Host field (RFC 9112, 3.2.2).

How slow a body may be is the guards' matter (``models.wire.guards``): they know the request. Time is looked at once a
second (``Room.sweep``), so a deadline is met within a second and costs no timer per request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http import h11_impl
from uvicorn.protocols.http.flow_control import FlowControl

from aggregator.crowds import Addresses, Crowd
from models.wire.problems import PROBLEM_MEDIA_TYPE, ProblemError

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Fast
except ImportError:  # the faster parser comes with Flower; the helper runs without it
    _Fast = None  # type: ignore[assignment,misc]  # the name is a class or nothing

_RETRY_SECONDS: Final = 1
PIPELINE_LIMIT: Final = 16
"""Most requests that may wait behind the one that is answered."""


@dataclass
class Room:
    """What the connections of one worker have in common.

    Attributes:
        header_seconds: longest until a request's headers are complete.
        header_limit_bytes: most bytes of them.
        send_pause_seconds: longest that an answer may wait for its reader.
        read_rate_bytes: bytes a second at which it must be read, once it has waited for so long.
        keep_alive_seconds: longest between two requests.
        connection_limit: most connections.
        address_connection_limit: most of one address.
        proxies: addresses that have no limit of their own.
        on_cut: told why a connection was cut.
    """

    header_seconds: float
    header_limit_bytes: int
    send_pause_seconds: float
    read_rate_bytes: int
    keep_alive_seconds: float
    connection_limit: int
    address_connection_limit: int
    proxies: Collection[str] = ()
    on_cut: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        """Begin empty."""
        self.everybody = Crowd(self.connection_limit)
        self.addresses = Addresses(self.address_connection_limit, self.proxies)

    def sweep(self, now: float) -> None:
        """Cut what has wasted its time; run once a second."""
        for member in tuple(self.everybody.members):
            reason = cast("Connection", member).overdue(now)
            if reason:
                member.cut(reason)
        self.everybody.look_again()
        self.addresses.each(Crowd.look_again)


class Connection:
    """What is added to a protocol of the HTTP server: one connection's times."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    waited_since: float | None
    moved_bytes: int

    def begin(self, room: Room, address: str) -> None:
        """A connection was made."""
        now = self.loop.time()
        self._room, self._address = room, address
        own = room.addresses.of(address)
        self._crowds = (room.everybody,) if own is None else (own, room.everybody)
        self._asking_since: float | None = now
        self._asked_bytes = 0
        self._in_body, self._resting = False, True
        self._reading: Reading | None = None
        self._leaving = False
        self.waited_since, self.moved_bytes = None, 0
        for crowd in self._crowds:
            if not crowd.enter(self, now):
                room.everybody.members.add(self)  # its refusal must be read in time too
                self._refuse(ProblemError("slow-down", "every connection is at work"), "crowded-out")
                return

    def heard(self, size: int, *, in_headers: bool) -> None:
        """Bytes have come, and have been looked at."""
        if self._in_body:
            self.moved_bytes += size
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
        self._asking_since, self._asked_bytes, self._resting = None, 0, False
        self._rest()

    def answered(self) -> None:
        """An answer is complete, though perhaps not read yet."""
        self._resting = True
        self._rest()

    def embodied(self, *, complete: bool) -> None:
        """A request's body has begun to be waited for, or is there."""
        self._in_body = not complete
        self._settle()

    def unread(self, *, paused: bool) -> None:
        """The client has stopped reading, or has caught up."""
        self._reading = Reading(self.loop.time(), self.transport.get_write_buffer_size()) if paused else None
        self._settle()
        self._rest()

    def is_held_up(self) -> bool:
        """Whether it is the service itself that reads no further."""
        return self._reading is None and self.flow.read_paused

    def overdue(self, now: float) -> str:
        """Why the connection is cut now; ``""`` if it is not."""
        room = self._room
        if self._asking_since is not None and now - self._asking_since > room.header_seconds:
            return "slow-headers"
        if self._reading is not None:
            self.moved_bytes += self._reading.look(now, self.transport.get_write_buffer_size())
            return "unread-answer" if self._reading.is_slow(now, room.send_pause_seconds, room.read_rate_bytes) else ""
        since = room.everybody.resting.get(self)
        if since is not None and self._asking_since is None and now - since > room.keep_alive_seconds + 1:
            return "idle"
        return ""

    def leave(self) -> None:
        """The connection is gone, or as good as gone."""
        for crowd in self._crowds:
            crowd.leave(self)
        self._room.addresses.tidy(self._address)

    def cut(self, reason: str) -> None:
        """End the connection at once; what was not sent is lost."""
        self._leaving = True
        self.leave()
        self._room.on_cut(reason)
        self.transport.abort()

    def _rest(self) -> None:
        """Whether it is without a request, and since when."""
        now = self.loop.time()
        for crowd in self._crowds:
            crowd.resting.pop(self, None)
            if self._resting and self._reading is None and not self._leaving:
                crowd.resting[self] = now

    def _settle(self) -> None:
        """Whether the service waits for the client."""
        waits = (self._in_body or self._reading is not None) and not self._leaving
        if waits == (self.waited_since is not None):
            return
        self.waited_since, self.moved_bytes = (self.loop.time() if waits else None), 0
        for crowd in self._crowds:
            (crowd.waiting.add if waits else crowd.waiting.discard)(self)

    def _refuse(self, error: ProblemError, reason: str) -> None:
        body, row = error.body().model_dump_json().encode(), error.problem_type
        head = f"HTTP/1.1 {int(row.status)} {row.status.phrase}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\n"
        if row.status is HTTPStatus.TOO_MANY_REQUESTS:
            head += f"retry-after: {_RETRY_SECONDS}\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self._leaving = True
        self._asking_since = None
        self._reading = Reading(self.loop.time(), self.transport.get_write_buffer_size())  # cut if nobody reads it
        self._settle()
        self._rest()
        self._room.on_cut(reason)
        self.transport.close()


@dataclass
class Reading:
    """How a client takes an answer that waits for it.

    Attributes:
        began: since when it waits.
        left_bytes: how much waited at the last look.
        moved_at: when it was last seen to become less.
        taken_bytes: how much was taken since it began.
    """

    began: float
    left_bytes: int
    moved_at: float = 0.0
    taken_bytes: int = 0

    def look(self, now: float, left_bytes: int) -> int:
        """What was taken since the last look."""
        taken, self.left_bytes = max(self.left_bytes - left_bytes, 0), left_bytes
        if taken:
            self.moved_at, self.taken_bytes = now, self.taken_bytes + taken
        return taken

    def is_slow(self, now: float, pause_seconds: float, rate_bytes: int) -> bool:
        """Whether nothing was taken for so long, or on the whole too little for the time."""
        waited = now - self.began
        paused = now - max(self.moved_at, self.began)
        return paused > pause_seconds or (waited > pause_seconds and self.taken_bytes < rate_bytes * waited)


def address_of(protocol: Any) -> str:
    """Whose connection it is, as the server beneath has found out."""
    return str(protocol.client[0]) if protocol.client else ""


def authority_of(target: bytes) -> bytes | None:
    """The authority that a request's target names in absolute form; None in the other forms."""
    scheme, found, rest = target.partition(b"://")
    if not found or not scheme.isalpha():
        return None
    return re.split(rb"[/?#]", rest, maxsplit=1)[0]


def obey_target(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Let the authority of an absolute target count as the Host, as RFC 9112 asks; the guards look at that one."""
    authority = authority_of(target)
    if authority is not None and sum(name == b"host" for name, _ in headers) == 1:
        headers[:] = [(name, authority if name == b"host" else value) for name, value in headers]


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
        self.begin(self.room, address_of(self))

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.asked()
        self.embodied(complete=self.conn.their_state is not h11.SEND_BODY)
        waits = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        self.heard(len(data), in_headers=waits)

    def on_response_complete(self) -> None:
        self.answered()
        before = self.cycle
        super().on_response_complete()  # may begin the next request, which was sent ahead
        if self.cycle is not before:
            self.asked()
            self.embodied(complete=self.conn.their_state is not h11.SEND_BODY)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread(paused=True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread(paused=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        super().connection_lost(exc)


if _Fast is not None:

    class _FastConnection(Connection, _Fast):
        room: Room
        _in_headers = False
        _body_open = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the server has it
            super().connection_made(transport)
            self.begin(self.room, address_of(self))

        def on_message_begin(self) -> None:
            self._in_headers = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_headers, self._body_open = False, True
            obey_target(self.url, self.headers)
            super().on_headers_complete()
            self.asked()

        def on_message_complete(self) -> None:
            self._body_open = False
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.embodied(complete=not self._body_open)
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
            self.leave()
            super().connection_lost(exc)
