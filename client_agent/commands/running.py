"""``hearthside-agent enrol`` and ``run``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated, Literal

import typer

from client_agent.commands.options import DEFAULT_PERSON, HOME, AsJson, Folder, say


def enrol(
    leader: Annotated[str, typer.Option(help="Address of the leader.")],
    helper: Annotated[str, typer.Option(help="Address of the helper, run by the privacy office.")],
    leader_fingerprint: Annotated[str, typer.Option(help="The leader's fingerprint, from paper or another channel.")],
    helper_fingerprint: Annotated[str, typer.Option(help="The helper's fingerprint, likewise.")],
    officer_fingerprint: Annotated[list[str], typer.Option(help="An officer's fingerprint; repeat for each.")],
    token: Annotated[str, typer.Option(help="The operator's enrolment token.")] = "",
    person: Annotated[list[str] | None, typer.Option(help="Local names of the people behind this agent.")] = None,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Pin both services by fingerprint, make a key for each person, and become known to the leader."""
    from client_agent.agent import Addresses, set_up
    from client_agent.clocks import SystemClock
    from client_agent.connection import HelperConnection, LeaderConnection
    from client_agent.enrolment import enrol as enrol_people
    from client_agent.enrolment import pin

    leading, helping = LeaderConnection(leader), HelperConnection(helper)
    pins = pin(leading, helping, leader_fingerprint, helper_fingerprint, officer_fingerprint)
    agent = set_up(folder, pins, Addresses(leader, helper))
    people = person or [DEFAULT_PERSON]
    records = enrol_people(
        agent.store, leading, pins, people, token=token, clock=SystemClock(), entropy=os.urandom
    )  # fmt: skip
    say(
        {"site": pins.site, "people": [record.person for record in records]},
        f"enrolled {len(records)} at {pins.site}; nothing is granted yet: hearthside-agent consent grant",
        as_json=as_json,
    )


def run(
    upstream: Annotated[str, typer.Option(help="The site to serve through the gateway; none: no gateway.")] = "",
    port: Annotated[int, typer.Option(help="Port of the site's origin.")] = 8300,
    page_port: Annotated[int, typer.Option(help="Port of the agent's own pages, at http://localhost:PORT.")] = 8301,
    upstream_here: Annotated[
        bool,
        typer.Option(
            "--upstream-here",
            help="The site's own server may be on this machine: it is then sent the agent's cookies, and can read and "
            "do whatever the person can. For trials; the person's page says so.",
        ),
    ] = False,
    person: Annotated[
        list[str] | None, typer.Option(help="Only these people may be chosen at this gateway; may be repeated.")
    ] = None,
    origin: Annotated[
        str, typer.Option(help="The site's origin as browsers see it, where TLS is added in front of the port.")
    ] = "",
    page_origin: Annotated[str, typer.Option(help="Likewise the origin of the agent's own pages.")] = "",
    mode: Annotated[
        Literal["device", "gateway", "site_edge"], typer.Option(help="Where this agent runs; its notice says so.")
    ] = "device",
    poll: Annotated[float, typer.Option(help="Seconds between two looks at the leader's work.", min=0.05)] = 5.0,
    epsilon: Annotated[float | None, typer.Option(help="A smaller budget than the installed one.")] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option(help="PURPOSE=SHARE: a smaller share of the budget for one purpose, or for '*'; may be repeated."),
    ] = None,
    folder: Folder = HOME,
) -> None:
    """Run the agent: gateway and visitor's page, consent delivery, bundle, and a worker when there is a round."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.policy import lowered, lowered_quotas
    from client_agent.resident import Resident
    from client_agent.serving import Addresses, serve

    try:
        lowered(epsilon)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--epsilon") from None
    try:
        lowered_quotas(quota or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--quota") from None
    addresses = Addresses(upstream, port, page_port, origin, page_origin, upstream_here)
    try:
        if upstream:
            addresses.settings(mode)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--upstream") from None
    budget = () if epsilon is None else ("--epsilon", str(epsilon))
    options = (*budget, *(part for text in quota or [] for part in ("--quota", text)))
    agent, clock = open_agent(folder), SystemClock()
    resident = Resident(agent, clock, poll, options)
    thread = threading.Thread(target=resident.loop, name="resident")
    # The server passes a polite stop on once it has shut down; it then has to end here, with the worker, not at once.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    thread.start()
    try:
        if upstream:
            serve(agent, resident, clock, addresses, mode, person or ())
        else:
            thread.join()
    finally:
        resident.stop()
        thread.join()
