"""What stops in the middle when a report is taken back: a request's body, given out in slices, and any other wait."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from client_agent.errors import AgentError, BodyStopped

_log = logging.getLogger(__name__)
SLICE_BYTES: Final = 16 * 1024
WATCH_SECONDS: Final = 0.05
_DISCARD: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing throws away what the kernel has not put on the wire yet."""
_CLOSED: Final = frozenset({errno.EBADF, errno.ENOTCONN, errno.EINVAL})
"""What the kernel answers where either side has closed already: nothing is left to be cut."""

Standing = Callable[[], bool]
"""Whether what is done may still be done."""


class Line:
    """The connection of a client that has one at a time. ``trace`` is an extension of its requests."""

    def __init__(self) -> None:
        self._socket: Any = None

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """Remember the socket when a connection is made; a connection that is used again makes no such event.

        TLS takes the descriptor out of the first socket and puts it into one of its own, which is then the one to cut.
        However the connection ends, by a cut, a time-out or the death of this process, nobody could stop afterwards
        what the kernel still holds of it; so it goes with the connection.
        """
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = details["return_value"].get_extra_info("socket")
            _end(lambda: self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD))

    def cut(self) -> None:
        """End the connection now: a write or a read that waits fails, and its end throws away what the kernel holds."""
        if self._socket is not None:
            # Not the method of an SSLSocket: that one drops its TLS first, and another thread's write would go out in
            # the clear.
            _end(lambda: socket.socket.shutdown(self._socket, socket.SHUT_RDWR))


def _end(act: Callable[[], None]) -> None:
    """Do it to a socket: what stops it is said, unless that one is closed."""
    try:
        act()
    except OSError as error:
        if error.errno not in _CLOSED:
            _log.error("a connection could not be cut: %s", errno.errorcode.get(error.errno or 0, "OSError"))


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
        if look(cut, standing):
            return


def look(cut: Callable[[], None], standing: Standing) -> bool:
    """One look: cut if what is done does not stand any more. Returns whether it was cut."""
    try:
        stands = standing()
    except AgentError:  # the store is gone: nobody can say that the report stands
        stands = False
    if not stands:
        cut()
    return not stands
