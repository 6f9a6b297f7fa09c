"""The ASGI guards answer before the application runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from models.wire.guards import App, BodyLimit, HostGuard, OriginGuard, SecurityHeaders, TimeLimit

ran: list[str] = []


async def inner(scope, receive, send) -> None:
    """Read the whole body, note that it ran, answer 200."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away")
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    ran.append(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def call(app: App, method: str = "POST", path: str = "/", **options: object) -> httpx.Response:
    """One request to the guarded application."""

    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9000") as client:
            return await client.request(method, path, **options)

    ran.clear()
    return asyncio.run(go())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:9000", "[::1]:9000", ""])
def test_foreign_hosts_never_reach_the_application(host: str) -> None:
    """DNS rebinding: only the exact host and port are served."""
    guarded = HostGuard(inner, {"127.0.0.1:9000"})
    assert call(guarded).status_code == 200
    response = call(guarded, headers={"host": host})
    assert response.status_code == 421
    assert response.headers["content-type"] == "application/problem+json"
    assert not ran


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:9000", "sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_cross_origin_posts_never_run(headers: dict[str, str]) -> None:
    """A hostile page's POST is answered before it has any effect; its own pages' POSTs pass."""
    guarded = OriginGuard(inner, {"http://127.0.0.1:9000"})
    assert (
        call(guarded, headers={"origin": "http://127.0.0.1:9000", "sec-fetch-site": "same-origin"}).status_code == 200
    )
    assert call(guarded, headers=headers).status_code == 403
    assert not ran


def _chunks(size: int) -> Callable[[], object]:
    async def stream():
        for _ in range(size):
            yield b"x"

    return stream


def test_large_bodies_are_refused_by_length_and_by_count() -> None:
    """A declared length over the limit, and a stream that grows over it, are both refused."""
    guarded = BodyLimit(inner, 10)
    assert call(guarded, content=b"x" * 10).status_code == 200
    assert call(guarded, content=b"x" * 11).status_code == 413
    response = call(guarded, content=_chunks(11)())
    assert response.status_code == 413
    assert not ran


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5_000, b"-1", b"+1", b""])
def test_a_length_that_is_no_plain_number_is_refused(length: bytes) -> None:
    """Digits of other scripts and numbers too long to read are a 413, not a crash."""
    answer = call(BodyLimit(inner, 10), headers=[(b"content-length", length)])
    assert answer.status_code == 413


def test_slow_requests_are_given_up() -> None:
    """A request over its time limit gets 408."""
    assert call(TimeLimit(inner, 0.05), path="/slow").status_code == 408
    assert call(TimeLimit(inner, 5)).status_code == 200


def test_every_response_carries_the_strict_headers() -> None:
    """No foreign script, no sniffing, no framing."""
    headers = call(SecurityHeaders(inner)).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
