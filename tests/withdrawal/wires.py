"""One connection to the leader in virtual time: what its kernel holds, when the leader reads it, and what a cut does.

The sockets that the agent is shown are real, so that what it does to them is real too: a line is down once the agent
has shut its socket, and what the kernel holds is thrown away at the end if the agent has asked for that. Every other
connection has TLS, and with it a second socket.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from client_agent.streaming import WATCH_SECONDS

if TYPE_CHECKING:
    from tests.withdrawal.stage import Stage

_ROOM_BYTES = 1_400
"""What the kernel takes in of a leader that does not read: two slices, or the end of one report."""
_DISCARD = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Stall:
    """The leader stops reading for a while, after so many slices of a request."""

    after: int
    seconds: float


class _Stream:
    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._raw if name == "socket" else None


class Wire:
    """From the agent's hand to what the leader has read."""

    def __init__(self, stage: Stage, request: httpx.Request, stall: Stall | None, *, secured: bool) -> None:
        self._stage, self._stall = stage, stall
        self._near, self._far = socket.socketpair()
        trace = request.extensions["trace"]
        trace("connection.connect_tcp.complete", {"return_value": _Stream(self._near)})
        if secured:
            self._near = socket.socket(fileno=self._near.detach())
            trace("connection.start_tls.complete", {"return_value": _Stream(self._near)})
        self._held: list[bytes] = []
        self._handed = 0
        self._reads_at_ms = 0
        self.arrived = b""

    def hand(self, piece: bytes) -> None:
        """The agent writes: it waits while the kernel is full."""
        self._refuse_if_down(httpx.WriteError)
        self._stage.note_handed(self._handed, piece)
        self._handed += len(piece)
        self._held.append(piece)
        if self._stall is not None and self._stall.after == 0:
            self._reads_at_ms = self._stage.clock.ms + int(self._stall.seconds * 1_000)
            self._stall = None
        elif self._stall is not None:
            self._stall = Stall(self._stall.after - 1, self._stall.seconds)
        self._read()
        self._stage.points.reach("a slice is in the kernel")
        self._read()
        self._wait(_ROOM_BYTES, httpx.WriteError)

    def wait_for_answer(self) -> None:
        """The agent has written all, and waits for a leader that may still not read."""
        self._wait(0, httpx.ReadError)

    def close(self) -> None:
        """The connection ends, by the agent's will or with its process."""
        self._stage.now.cut |= bool(self._held) and self._down()
        linger = self._near.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_DISCARD))
        if linger != _DISCARD:
            self._arrive(max(self._stage.clock.ms, self._reads_at_ms))
        self._held.clear()
        self._near.close()
        self._far.close()

    def _wait(self, room_bytes: int, error: type[httpx.TransportError]) -> None:
        while sum(map(len, self._held)) > room_bytes:
            self._stage.clock.advance(WATCH_SECONDS)
            self._stage.points.reach("the leader does not read")
            self._refuse_if_down(error)
            self._read()

    def _read(self) -> None:
        """The leader reads, if it does, what a line that is up brings."""
        if self._stage.clock.ms >= self._reads_at_ms and not self._down():
            self._arrive(self._stage.clock.ms)

    def _arrive(self, at_ms: int) -> None:
        for piece in self._held:
            self._stage.note_arrived(len(self.arrived), piece, at_ms)
            self.arrived += piece
        self._held.clear()

    def _down(self) -> bool:
        """Whether the agent has shut its socket."""
        try:
            return self._far.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False

    def _refuse_if_down(self, error: type[httpx.TransportError]) -> None:
        if self._down():
            raise error("the line is down")
