"""What stops in the middle when a report is taken back: a request's body, given out in slices, and any other wait."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from client_agent.errors import AgentError, BodyStopped

SLICE_BYTES: Final = 16 * 1024
WATCH_SECONDS: Final = 0.05
_DISCARD: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing throws away what the kernel has not put on the wire yet."""

Standing = Callable[[], bool]
"""Whether what is done may still be done."""


class Line:
    """The connection of a client that has one at a time. ``trace`` is an extension of its requests."""

    def __init__(self) -> None:
        self._socket: Any = None

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """Remember the socket when a connection is made; a connection that is used again makes no such event."""
        if event.endswith("connect_tcp.complete"):
            self._socket = details["return_value"].get_extra_info("socket")

    def cut(self) -> None:
        """End the connection now: a write that waits fails, and what the kernel holds is thrown away."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
                self._socket.shutdown(socket.SHUT_RDWR)


def slices(body: bytes, standing: Standing) -> Iterator[bytes]:
    """The body, slice by slice, each as long as it may still be sent.

    Raises:
        BodyStopped: it may not.
    """
    for start in range(0, len(body), SLICE_BYTES):
        if not standing():
            raise BodyStopped("expected all reports of this request to stand, one was taken back")
        yield body[start : start + SLICE_BYTES]


@contextlib.contextmanager
def watched(cut: Callable[[], None], standing: Standing) -> Iterator[None]:
    """Cut, from another thread, as soon as what is done here does not stand any more, whatever it waits for."""
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(cut, standing, done), name="withdrawals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(cut: Callable[[], None], standing: Standing, done: threading.Event) -> None:
    while not done.wait(WATCH_SECONDS):
        try:
            stands = standing()
        except AgentError:  # the store is gone: nobody can say that the report stands
            stands = False
        if not stands:
            cut()
            return
