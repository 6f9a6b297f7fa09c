"""``hearthside-agent rotate-keys``, ``known`` and ``revoke``: what a device says to the leader in its own name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from client_agent.commands.options import HOME, AsJson, Folder, say

if TYPE_CHECKING:
    from client_agent.agent import Agent
    from client_agent.store import ParticipantRecord

People = Annotated[list[str] | None, typer.Option("--person", help="Local names; everybody unless given.")]


def rotate_keys(person: People = None, folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """Give this device new keys. Consent, reports that wait and budgets go on; the old keys are overwritten."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.commands.options import check_name
    from client_agent.rotation import begin, finish

    agent, clock = open_agent(folder), SystemClock()
    for name in person or []:
        check_name(agent, name)
    begin(agent.store, agent.pins, clock, os.urandom, person)
    done = finish(agent.store, agent.leader(), agent.pins, clock)
    say({"rotated": done}, f"{done} keys replaced; the leader takes nothing from the old ones", as_json=as_json)


def known(person: People = None, folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """Show what the leader holds of each person's device, as it answers to a signed request."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.rotation import signer_of

    agent, clock = open_agent(folder), SystemClock()
    leader = agent.leader()
    told = {
        record.person: leader.standing(signer_of(record, agent.pins, clock)).document()
        for record in _chosen(agent, person)
    }
    lines = [f"{name}: device {held['device_id']}, {held['receipts']} receipts" for name, held in told.items()]
    say(told, "\n".join(lines), as_json=as_json)


def revoke(
    person: People = None,
    reason: Annotated[Literal["gone", "lost", "stolen", "replaced"], typer.Option(help="Why.")] = "gone",
    folder: Folder = HOME,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it only says what it would do.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell the leader that this device is gone: nothing of it is taken any more. There is no way back but a new key."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.rotation import signer_of

    agent, clock = open_agent(folder), SystemClock()
    records = _chosen(agent, person)
    if not yes:
        raise typer.BadParameter(f"expected --yes: {len(records)} people's devices would be revoked for good")
    leader = agent.leader()
    dropped = sum(leader.revoke(signer_of(record, agent.pins, clock), reason).dropped_reports for record in records)
    text = f"{len(records)} devices revoked, {dropped} reports taken out of open rounds; erase removes what is here"
    say({"revoked": len(records), "dropped_reports": dropped}, text, as_json=as_json)


def _chosen(agent: Agent, people: list[str] | None) -> list[ParticipantRecord]:
    from client_agent.commands.options import people_named

    leader = agent.pins.leader_key.raw
    everybody = agent.store.participants.all(leader)
    found = everybody if people is None else [record for name in people for record in people_named(agent, name)]
    return [record for record in found if record.device_id is not None and record.leader == leader]
