"""HTTP/1.1 as lean as a load needs it: what the client takes of the two cores, the leader does not get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

_LIMIT_BYTES: Final = 2**20
_NO_BODY: Final = frozenset({204, 304})


class LoadFailed(Exception):
    """The service answered a request of the load with something else than was expected."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """One kept-alive connection; one request at a time.

    Args:
        url: of the service, without a path.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request, and read the answer; a connection that the service has closed meanwhile is opened again."""
        if self._streams is None:
            await self.open()
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        assert self._streams is not None, "it was opened above"
        reader, writer = self._streams
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return await self._read(reader)

    async def open(self) -> None:
        """Connect, so that no request pays for it."""
        self._streams = await asyncio.open_connection(self._host, self._port, limit=_LIMIT_BYTES)

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(status_line.split(" ", 2)[1])
        size = 0 if status in _NO_BODY else int(headers.get("content-length", "0"))
        answer = Answer(status, headers, await reader.readexactly(size))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return answer

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def require(answer: Answer, *statuses: int) -> Answer:
    """The answer, if it is one of those that count.

    Raises:
        LoadFailed: with the beginning of what came instead.
    """
    if answer.status not in statuses:
        raise LoadFailed(f"expected status {statuses}, got {answer.status}: {answer.body[:300]!r}")
    return answer
