"""The reverse proxy: the configured site, unchanged, on the gateway's origin. It reads no page and no form.

The site sees no cookie of the agent and can set none: which person is at a browser is not the site's to read or to say.
"""

from __future__ import annotations

from typing import Final

import httpx
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from client_agent.gateway.cookies import plants_ours, without_ours

_HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding")
) | {"upgrade", "host", "content-length"}
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)


class Proxy:
    """Passes every request on to one upstream; a target is never taken from a request.

    Args:
        upstream: the site's origin, from the configuration.
        origin: the gateway's own origin, for redirects and the site's own origin checks.
        client: the connection to the upstream; it must not follow redirects.
    """

    def __init__(self, upstream: str, origin: str, client: httpx.AsyncClient) -> None:
        self._upstream = httpx.URL(upstream)
        self._origin = origin
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request with the upstream's answer."""
        request = Request(scope, receive)
        try:
            response = await self._forward(request)
        except httpx.HTTPError:
            response = PlainTextResponse("The site does not answer. Please try again later.\n", status_code=502)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _forward(self, request: Request) -> Response:
        raw_path = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope.get("query_string", b"")
        url = self._upstream.copy_with(raw_path=raw_path + (b"?" + query if query else b""))
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        outgoing = self._client.build_request(
            request.method,
            url,
            headers=self._request_headers(request),
            content=request.stream() if has_body else None,
            timeout=_TIMEOUT,
        )
        incoming = await self._client.send(outgoing, stream=True)
        response = StreamingResponse(
            incoming.aiter_raw(), status_code=incoming.status_code, background=BackgroundTask(incoming.aclose)
        )
        response.raw_headers = [
            (name.lower(), self._rewritten(name.lower(), value))
            for name, value in incoming.headers.raw
            if name.lower().decode("latin-1") not in _HOP_BY_HOP - {"content-length"}
            and not (name.lower() == b"set-cookie" and plants_ours(value.decode("latin-1")))
        ]
        return response

    def _request_headers(self, request: Request) -> list[tuple[str, str]]:
        dropped = _HOP_BY_HOP | {name.strip().lower() for name in request.headers.get("connection", "").split(",")}
        passed = [
            (name, self._for_upstream(name, value)) for name, value in request.headers.items() if name not in dropped
        ]
        return [(name, value) for name, value in passed if name != "cookie" or value]

    def _for_upstream(self, name: str, value: str) -> str:
        """The site compares Origin and Referer with its own address; the agent's cookies are not its business."""
        if name == "cookie":
            return without_ours(value)
        if name in {"origin", "referer"} and value.startswith(self._origin):
            return str(self._upstream).rstrip("/") + value[len(self._origin) :]
        return value

    def _rewritten(self, name: bytes, value: bytes) -> bytes:
        """Keep redirects on the gateway."""
        own = str(self._upstream).rstrip("/").encode()
        if name == b"location" and (value == own or value.startswith(own + b"/")):
            return self._origin.encode() + value[len(own) :]
        return value
