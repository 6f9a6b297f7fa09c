"""Downloads that have a greatest length and a least speed: who serves for ever, or drips, is hung up on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Final

import httpx
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from client_agent.streaming import Line

PATIENCE_SECONDS: Final = 30.0
"""A fetch may take so long however little comes."""
LEAST_BYTES_PER_SECOND: Final = 4_096
"""Beyond that it must have come at this speed, on average."""
SharedFetches = MutableMapping[str, bytes | None]
_TIMEOUT_SECONDS: Final = 20.0


class TooSlow(DownloadError):
    """What comes, comes too slowly."""


class Pace:
    """Whether a fetch comes fast enough.

    Args:
        monotonic: seconds of a clock that nobody turns.
        patience_seconds: so long it may take however little comes.
    """

    def __init__(self, monotonic: Callable[[], float], patience_seconds: float) -> None:
        self._monotonic, self._patience_seconds = monotonic, patience_seconds
        self._since = monotonic()
        self._received_bytes = 0

    def received(self, size_bytes: int) -> None:
        """Count what came.

        Raises:
            TooSlow: too little for the time.
        """
        self._received_bytes += size_bytes
        if not self.stands():
            raise TooSlow(f"slower than {LEAST_BYTES_PER_SECOND} bytes a second")

    def stands(self) -> bool:
        """Whether to go on."""
        earned = self._patience_seconds + self._received_bytes / LEAST_BYTES_PER_SECOND
        return self._monotonic() - self._since <= earned


class Fetcher(FetcherInterface):
    """Downloads for TUF with httpx. What it returns is not trusted: the updater verifies every byte.

    Args:
        client: the connection, with proxies and transport as configured. One that has more than one connection, or
            that was used before, cannot be cut while it waits; each of its waits ends by its own time-out.
        pace: how slow it may be.
        shared: bytes by address (None: not found), for many agents in one process; safe to share because each agent
            verifies them. It is for one moment: a later fetch needs a new one, or it sees the old timestamp.
    """

    def __init__(self, client: httpx.Client, pace: Pace, shared: SharedFetches | None = None) -> None:
        self._client = client
        self.pace = pace
        self._shared = shared
        self.line = Line()
        self.is_shared = shared is not None

    def _fetch(self, url: str) -> Iterator[bytes]:
        if self._shared is not None and url in self._shared:
            data = self._shared[url]
            if data is None:
                raise DownloadHTTPError(f"404 for {url}", httpx.codes.NOT_FOUND)
            return iter((data,))
        return self._download(url)

    def _download(self, url: str) -> Iterator[bytes]:
        # Opened before the first byte is asked for, so that a missing root ends the search for newer ones. Nothing is
        # decoded: a few bytes that unfold to gigabytes would be in memory before anybody counted them.
        request = self._client.build_request(
            "GET",
            url,
            timeout=_TIMEOUT_SECONDS,
            headers={"accept-encoding": "identity"},
            extensions={"trace": self.line.trace},
        )
        response = self._client.send(request, stream=True, follow_redirects=False)
        if response.status_code != httpx.codes.OK:
            response.close()
            if self._shared is not None and response.status_code == httpx.codes.NOT_FOUND:
                self._shared[url] = None
            raise DownloadHTTPError(f"{response.status_code} for {url}", response.status_code)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise DownloadError(f"{url} came in a coding that was not asked for")
        return self._read(url, response)

    def _read(self, url: str, response: httpx.Response) -> Iterator[bytes]:
        received: list[bytes] = []
        try:
            for chunk in response.iter_bytes():
                self.pace.received(len(chunk))
                if self._shared is not None:
                    received.append(chunk)
                yield chunk
        except httpx.HTTPError as error:
            raise DownloadError(f"{url}: {type(error).__name__}") from error
        finally:
            response.close()
        if self._shared is not None:
            self._shared[url] = b"".join(received)
