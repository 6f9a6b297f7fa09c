"""Serving the gateway and the agent's own pages on loopback: two origins, two ports, one process.

The site is served as ``127.0.0.1`` and the agent's own pages as ``localhost``: cookies know no ports, but they know
host names, so that no request for the site carries the cookie of the agent's own pages. A server on this machine can
still have a browser come to it as ``localhost``: a site whose own server is here is refused unless it is asked for.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

import uvicorn

from client_agent.agent import Agent
from client_agent.clocks import Clock
from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.gateway.hosts import UpstreamHere, host_of, is_of_this_machine
from client_agent.gateway.sessions import Sessions
from client_agent.household import StoredHousehold
from client_agent.resident import Resident
from consent.wording import Mode
from models.wire.guards import App

_LOOPBACK: Final = "127.0.0.1"
_LOOPBACK_6: Final = "::1"
_NO_IPV6: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the gateway listens, and how browsers reach it.

    Attributes:
        upstream: the site.
        port: of the site's origin.
        page_port: of the agent's own pages.
        origin: as browsers see the site's origin, where something else (TLS) stands in front of the port.
        page_origin: likewise for the agent's own pages.
        upstream_here: the site's own server may be on this machine.
    """

    upstream: str
    port: int
    page_port: int
    origin: str = ""
    page_origin: str = ""
    upstream_here: bool = False

    def settings(self, mode: Mode) -> GatewaySettings:
        """As the applications need them.

        Raises:
            UpstreamHere: the site's own server is on this machine, and that was not asked for.
        """
        if not self.upstream_here and is_of_this_machine(host_of(self.upstream)):
            raise UpstreamHere(self.upstream)
        origin = self.origin or f"http://{_LOOPBACK}:{self.port}"
        page_origin = self.page_origin or f"http://localhost:{self.page_port}"
        return GatewaySettings(self.upstream, origin, page_origin, mode=mode, upstream_here=self.upstream_here)


def serve(
    agent: Agent,
    resident: Resident,
    clock: Clock,
    addresses: Addresses,
    mode: Mode = "device",
    only: Collection[str] = (),
) -> None:
    """Serve until interrupted.

    Args:
        agent: the agent.
        resident: delivers what is chosen, and has the bundle.
        clock: the machine's clocks.
        addresses: where.
        mode: where the agent runs; its notice and pages say it.
        only: the people who may be chosen here; everybody behind the agent unless given.

    Raises:
        NotEnrolled: somebody in ``only`` is not behind the agent.
        UpstreamHere: the site's own server is on this machine, and that was not asked for.
    """
    household = StoredHousehold(agent.store, agent.pins, clock, resident.bundle, resident.chosen, only)
    sessions, settings = Sessions(household, os.urandom), addresses.settings(mode)
    page, own = _server(page_app(sessions, settings)), _listeners(addresses.page_port, (_LOOPBACK, _LOOPBACK_6))
    site, door = _server(gateway_app(sessions, settings)), _listeners(addresses.port, (_LOOPBACK,))
    beside = threading.Thread(target=page.run, kwargs={"sockets": own}, name="page")
    beside.start()
    try:
        site.run(sockets=door)
    finally:
        page.should_exit = True
        beside.join()


def _listeners(port: int, hosts: Collection[str]) -> list[socket.socket]:
    """One socket for each loopback address that this machine has. A browser may try either for ``localhost``.

    Raises:
        OSError: somebody else listens on this port of one of them.
    """
    found = []
    for host in hosts:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            if error.errno in _NO_IPV6 and host == _LOOPBACK_6:
                continue
            raise
        found.append(listener)
    return found


def _server(application: App) -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(cast("Any", application), log_level="warning", access_log=False))
