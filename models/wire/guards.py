"""Pure-ASGI guards that every service of the house wears: hosts, origins, headers, body limits, time-outs.

CORS headers do not stop a hostile cross-origin POST from *running*; these guards answer before the application does.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any, TypeVar

from models.wire.problems import PROBLEM_MEDIA_TYPE, ProblemError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Limit = TypeVar("Limit", int, float)

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_LENGTH = re.compile(r"[0-9]{1,15}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers, lower-case names, last value wins; values as Latin-1 text."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def limit_of(path: str, routes: Sequence[tuple[re.Pattern[str], Limit]], otherwise: Limit) -> Limit:
    """The limit of the first route that a path matches whole."""
    return next((limit for pattern, limit in routes if pattern.fullmatch(path)), otherwise)


async def send_problem(send: Send, error: ProblemError, *, closes: bool = False) -> None:
    """Answer with an RFC 9457 body; ``closes`` the connection, where the rest of a request is not waited for."""
    body = error.body().model_dump_json().encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if closes else []
    await send({"type": "http.response.start", "status": int(error.problem_type.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


class HostGuard:
    """Refuse requests whose Host is not exactly one of ours: stops DNS rebinding."""

    def __init__(self, app: App, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the Host header, then pass on."""
        if scope["type"] == "http":
            values = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
            if len(values) != 1 or values[0] not in self._hosts:
                await send_problem(send, ProblemError("wrong-host", "use the address the service was started with"))
                return
        await self._app(scope, receive, send)


class OriginGuard:
    """Refuse state-changing requests that a foreign page caused: exact Origin and Sec-Fetch-Site."""

    def __init__(self, app: App, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check Origin and Sec-Fetch-Site on methods that change something, then pass on."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            headers = headers_of(scope)
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
            if (origin is not None and origin not in self._origins) or site not in {"same-origin", "none"}:
                await send_problem(send, ProblemError("wrong-origin", "this address answers its own pages only"))
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuse bodies over a limit, by Content-Length and by counting what really arrives.

    Args:
        app: what is guarded.
        limit_bytes: the most that a body may have.
        routes: limits of routes that take more; the first pattern that a path matches whole counts.
    """

    def __init__(self, app: App, limit_bytes: int, routes: Sequence[tuple[re.Pattern[str], int]] = ()) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body while the application reads it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit_bytes = limit_of(scope["path"], self._routes, self._limit_bytes)
        declared = headers_of(scope).get("content-length", "0")
        if not _LENGTH.fullmatch(declared) or int(declared) > limit_bytes:
            await send_problem(send, ProblemError("too-large", f"at most {limit_bytes} bytes are accepted"))
            return
        received = 0
        started = False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # To the application it looks like a client that went away: whatever it answers is dropped below.
            return {"type": "http.disconnect"} if received > limit_bytes else message

        async def unless_refused(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if received <= limit_bytes or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except Exception:
            if received <= limit_bytes:
                raise
        if received > limit_bytes and not started:
            await send_problem(send, ProblemError("too-large", f"at most {limit_bytes} bytes are accepted"))


class TimeLimit:
    """Give up on a request that takes too long, slow senders included.

    Args:
        app: what is guarded.
        limit_seconds: the longest that a request may take.
        routes: limits of routes that take longer; the first pattern that a path matches whole counts.
    """

    def __init__(self, app: App, limit_seconds: float, routes: Sequence[tuple[re.Pattern[str], float]] = ()) -> None:
        self._app = app
        self._limit_seconds = limit_seconds
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application under a deadline; answer 408 when nothing was sent yet."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        limit_seconds = limit_of(scope["path"], self._routes, self._limit_seconds)

        async def tracked(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(limit_seconds):
                await self._app(scope, receive, tracked)
        except TimeoutError:
            if not started:
                await send_problem(
                    send, ProblemError("timed-out", f"no answer within {limit_seconds:g} s"), closes=True
                )


class BodyPace:
    """Give up on a body that comes too slowly; only the time that the application waits for it counts.

    Args:
        app: what is guarded.
        pause_seconds: the longest wait for one piece; nothing is asked of the rate before so much was waited.
        rate_bytes: bytes for each second waited, on average, from then on.
        now: monotonic seconds.
    """

    def __init__(
        self, app: App, pause_seconds: float, rate_bytes: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._pause_seconds = pause_seconds
        self._rate_bytes = rate_bytes
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time the body while the application reads it; answer 408 when nothing was sent yet."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, started = _TimedBody(receive, self._pause_seconds, self._rate_bytes, self._now), False

        async def unless_slow(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if not body.slow or started:
                started = True
                await send(message)

        try:
            await self._app(scope, body.next, unless_slow)
        except Exception:
            if not body.slow:
                raise
        if body.slow and not started:
            await send_problem(send, ProblemError("timed-out", "the body came too slowly"), closes=True)


class _TimedBody:
    """A request's body as it comes."""

    def __init__(self, receive: Receive, pause_seconds: float, rate_bytes: int, now: Callable[[], float]) -> None:
        self._receive, self._now = receive, now
        self._pause_seconds, self._rate_bytes = pause_seconds, rate_bytes
        self._received, self._waited_seconds, self._complete = 0, 0.0, False
        self.slow = False

    async def next(self) -> MutableMapping[str, Any]:
        """The next piece; of a slow body, what a client that went away looks like."""
        if self._complete:
            return await self._receive()
        message = await self._timed() if not self.slow else None
        return message if message is not None and not self.slow else {"type": "http.disconnect"}

    async def _timed(self) -> MutableMapping[str, Any] | None:
        began = self._now()
        try:
            async with asyncio.timeout(self._pause_seconds):
                message = await self._receive()
        except TimeoutError:
            self.slow = True
            return None
        self._received += len(message.get("body", b""))
        self._waited_seconds += self._now() - began
        self._complete = not message.get("more_body", False)
        behind = self._received < self._rate_bytes * self._waited_seconds
        self.slow = not self._complete and behind and self._waited_seconds > self._pause_seconds
        return message


class HeaderLimit:
    """Refuse requests whose line and headers are over a limit; the server beneath bounds only incomplete ones.

    Args:
        app: what is guarded.
        limit_bytes: the most that they may have together.
    """

    def __init__(self, app: App, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add up, then pass on."""
        if scope["type"] == "http":
            size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
            size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
            if size > self._limit_bytes:
                limit = f"at most {self._limit_bytes} bytes of headers are accepted"
                await send_problem(send, ProblemError("too-large", limit), closes=True)
                return
        await self._app(scope, receive, send)


class SecurityHeaders:
    """Add the strict headers that every response of the house carries."""

    def __init__(self, app: App, policy: str = CONTENT_SECURITY_POLICY) -> None:
        self._app = app
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, adding headers that the application did not set itself."""

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message.get("headers", [])}
                extra = [item for item in self._headers if item[0] not in present]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self._app(scope, receive, with_headers)
