"""The two applications of the gateway, with their guards: the site with its door, and the agent's own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from client_agent.connection import cookieless
from client_agent.gateway.door import PREFIX, Door
from client_agent.gateway.hosts import UpstreamHere, host_of, is_loopback
from client_agent.gateway.proxy import Proxy
from client_agent.gateway.sessions import Sessions
from client_agent.logs import quieten
from client_agent.pages.people import PeoplePage
from consent.wording import Mode
from models.wire.guards import App, BodyLimit, HostGuard, OriginGuard, Receive, Scope, SecurityHeaders, Send, TimeLimit

_DOOR_BODY_BYTES: Final = 262_144
_PAGE_BODY_BYTES: Final = 16_384
_SECONDS: Final = 10.0


@dataclass(frozen=True)
class GatewaySettings:
    """Addresses of one gateway.

    Attributes:
        upstream: the site that is served, such as ``http://127.0.0.1:8200``.
        origin: where browsers reach the site through the gateway.
        page_origin: the agent's own origin, for its pages; never the same as ``origin``, and best of another host
            name (``localhost`` beside ``127.0.0.1``): ports do not keep cookies apart, host names do.
        mode: where this gateway runs; its notice and the visitor's page say it.
        upstream_here: the site's own server may be on this machine, where browsers send it the agent's cookies; the
            visitor's page says so.
    """

    upstream: str
    origin: str
    page_origin: str
    mode: Mode = field(default="device", kw_only=True)
    upstream_here: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse settings under which a page, or the site's server, could read the visitor's page."""
        if self.origin == self.page_origin:
            raise ValueError("expected the visitor's page on an origin of its own")
        own = {host_of(self.origin), host_of(self.page_origin)}
        if not self.upstream_here and (is_loopback(host_of(self.upstream)) or host_of(self.upstream) in own):
            raise UpstreamHere(self.upstream)


def gateway_app(
    sessions: Sessions, settings: GatewaySettings, transport: httpx.AsyncBaseTransport | None = None
) -> App:
    """The site's origin: the door under ``/.hearthside/`` and the upstream everywhere else.

    Args:
        sessions: which person is at which browser; the same as the agent's own pages have.
        settings: addresses.
        transport: replaces the network towards the upstream, for tests in one process.
    """
    quieten()
    client = httpx.AsyncClient(transport=transport, follow_redirects=False, trust_env=False, cookies=cookieless())
    site = Proxy(settings.upstream, settings.origin, client)
    door = _guarded_door(sessions, settings)

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        inside = scope["path"] == PREFIX or scope["path"].startswith(f"{PREFIX}/")
        await (door if inside else site)(scope, receive, send)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        async with client:
            yield

    shell = Starlette(routes=[Mount("/", _http_only(routed))], lifespan=lifespan)
    return HostGuard(shell, {_host(settings.origin)})


def page_app(sessions: Sessions, settings: GatewaySettings) -> App:
    """The agent's own origin: who is here, and the page of whoever that is."""
    page: App = PeoplePage(
        sessions, settings.origin, settings.page_origin, settings.mode, upstream_here=settings.upstream_here
    ).application()
    guarded = SecurityHeaders(BodyLimit(OriginGuard(page, {settings.page_origin}), _PAGE_BODY_BYTES))
    return HostGuard(TimeLimit(guarded, _SECONDS), {_host(settings.page_origin)})


def _guarded_door(sessions: Sessions, settings: GatewaySettings) -> App:
    door: App = Door(sessions, settings.origin, settings.page_origin).application()
    guarded = OriginGuard(BodyLimit(door, _DOOR_BODY_BYTES), {settings.origin})
    return TimeLimit(SecurityHeaders(guarded), _SECONDS)


def _http_only(app: App) -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
            return
        # Mount moves the path into root_path; the site must see what the browser asked for.
        await app({**scope, "root_path": ""}, receive, send)

    return answer


def _host(origin: str) -> str:
    return origin.partition("://")[2]
