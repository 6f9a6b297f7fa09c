"""Serving the gateway and the visitor's page on loopback: two origins, two ports, one process."""

from __future__ import annotations

import threading
from typing import Any, cast

import uvicorn

from client_agent.agent import Agent
from client_agent.clocks import Clock
from client_agent.errors import NotEnrolled
from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.resident import Resident
from client_agent.visitor import StoredVisitor
from consent.wording import Mode
from models.wire.guards import App

_LOOPBACK = "127.0.0.1"


def serve(
    agent: Agent,
    resident: Resident,
    clock: Clock,
    person: str,
    upstream: str,
    port: int,
    page_port: int,
    mode: Mode = "device",
) -> None:
    """Serve one person until interrupted.

    Raises:
        NotEnrolled: nobody of this name is behind the agent.
    """
    records = [r for r in agent.store.participants.of_person(person) if r.site == agent.pins.site]
    if not records:
        raise NotEnrolled(f"expected the name of a person behind this agent, got {person!r}")
    visitor = StoredVisitor(agent.store, agent.pins, records[0].participant_id, clock, resident.bundle, resident.chosen)
    settings = GatewaySettings(upstream, f"http://{_LOOPBACK}:{port}", f"http://{_LOOPBACK}:{page_port}", mode=mode)
    page = _server(page_app(visitor, settings), page_port)
    beside = threading.Thread(target=page.run, name="page")
    beside.start()
    try:
        _server(gateway_app(visitor, settings), port).run()
    finally:
        page.should_exit = True
        beside.join()


def _server(application: App, port: int) -> uvicorn.Server:
    config = uvicorn.Config(cast("Any", application), host=_LOOPBACK, port=port, log_level="warning", access_log=False)
    return uvicorn.Server(config)
