"""``hearthside-agent export`` and ``erase``: the rights of access, portability and erasure."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from client_agent.commands.options import DEFAULT_PERSON, HOME, Folder, Person, people_named


def export(person: Person = DEFAULT_PERSON, folder: Folder = HOME) -> None:
    """Everything about a person as JSON: events, receipts, what left. Coins and null counts are not in it."""
    from client_agent.agent import open_agent

    agent = open_agent(folder)
    records = people_named(agent, person)
    document = {
        "person": person,
        "sites": [
            {
                "site": record.site,
                "pseudonym": record.participant_id,
                "events": [json.loads(body) for _, body in agent.store.events_of(record.participant_id)],
                "receipts": [receipt.jws for receipt in agent.store.consents.receipts_of(record.participant_id)],
            }
            for record in records
        ],
    }
    print(json.dumps(document, indent=2))


def erase(
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Withdraw everything, then delete all about a person. What was spent of the budget stays spent."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.erasing import deliver_farewells, erase_person

    if not yes:
        typer.confirm(f"Delete everything about {person}?", abort=True)
    agent, clock = open_agent(folder), SystemClock()
    people_named(agent, person)
    erase_person(agent.store, agent.pins, person, clock)
    print(f"erased {person}; the spend counter stays")
    left = deliver_farewells(agent.store, agent.pins, clock, agent.leader(), agent.helper())
    if left:
        print(
            f"still to be delivered: {left.withdrawals} withdrawal(s) to the leader, {left.reports} report(s) to be"
            " taken back at the helper; hearthside-agent run delivers them, and nothing else of you is kept"
        )
