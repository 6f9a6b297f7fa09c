"""A tap on everything a service receives, to look for planted canaries afterwards.

The demo plants a canary string in the raw events of every simulated device. The tap writes each byte that a service
receives (request line, headers, body) to a file; afterwards that file, the stores and the logs are searched for the
canaries in every spelling that a careless program would produce.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from models.wire.guards import App, Receive, Scope, Send

_WINDOW_BYTES = 8 * 1024 * 1024
_UNREAD_BYTES = 64 * 1024 * 1024
"""Most of a body that is read for the tap alone, where the application has answered without reading it."""


class Tap:
    """ASGI wrapper that copies what is received to a file."""

    def __init__(self, app: App, path: Path) -> None:
        self._app = app
        self._file = path.open("ab", buffering=1024 * 1024)
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Copy the request while the application reads it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = [
            scope["method"].encode(),
            scope.get("raw_path") or scope["path"].encode(),
            scope.get("query_string", b""),
        ]
        self._write(b" ".join(head))
        for name, value in scope["headers"]:
            self._write(name + b": " + value)

        complete = False

        async def copied() -> MutableMapping[str, Any]:
            nonlocal complete
            message = await receive()
            complete = not message.get("more_body", False)
            if message.get("body"):
                self._write(message["body"])
            return message

        async def answering(message: MutableMapping[str, Any]) -> None:
            # What a guard refuses without reading was received all the same.
            unread = 0
            while not complete and unread < _UNREAD_BYTES:
                unread += len((await copied()).get("body", b""))
            await send(message)

        await self._app(scope, copied, answering)

    def _write(self, data: bytes) -> None:
        with self._lock:
            self._file.write(data + b"\n")

    def close(self) -> None:
        """Write out what is buffered and close the file."""
        with self._lock:
            self._file.close()

    def flush(self) -> None:
        """Write out what is buffered."""
        with self._lock:
            self._file.flush()


def spellings(canary: str) -> list[bytes]:
    """Forms in which a string may hide: text, UTF-16, hex, percent, and base64 at each of its three alignments.

    Compressed or encrypted text is not found by any of them.
    """
    raw = canary.encode()
    forms = [
        raw,
        raw.lower(),
        raw.upper(),
        canary.encode("utf-16-le"),
        raw.hex().encode(),
        raw.hex().upper().encode(),
        quote(canary, safe="").encode(),
        "".join(f"%{byte:02x}" for byte in raw).encode(),
        "".join(f"%{byte:02X}" for byte in raw).encode(),
    ]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        # The outer characters mix with neighbours: keep those that depend on the canary alone.
        start = -(-offset * 8 // 6)
        inner = encoded.rstrip(b"=")[start : len(encoded.rstrip(b"=")) - 1]
        forms += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return list(dict.fromkeys(forms))


def count_hits(paths: Iterable[Path], needles: Iterable[bytes]) -> int:
    """How often any of the needles occurs in the files; windows overlap, so a needle on a border is found."""
    wanted = list(needles)
    overlap = max(map(len, wanted)) - 1
    return sum(_hits_in(path, wanted, overlap) for path in paths)


def _hits_in(path: Path, needles: list[bytes], overlap: int) -> int:
    hits = 0
    with path.open("rb") as file:
        tail = b""
        while block := file.read(_WINDOW_BYTES):
            window = tail + block
            hits += sum(window.count(needle) - tail.count(needle) for needle in needles)
            tail = window[-overlap:] if overlap else b""
    return hits
