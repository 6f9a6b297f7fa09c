"""What the commands share: their options, the agent they open, how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:  # the store's parts are loaded when a command runs, not for its help
    from client_agent.agent import Agent
    from client_agent.store import ParticipantRecord

Folder = Annotated[Path, typer.Option("--dir", help="The agent's folder.", envvar="HEARTHSIDE_AGENT_DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Person = Annotated[str, typer.Option("--person", help="A local name; it never leaves this device.")]
HOME: Final = Path("~/.hearthside").expanduser()
DEFAULT_PERSON: Final = "me"


def people_named(agent: Agent, person: str) -> list[ParticipantRecord]:
    """The records of a person behind this agent, one for each site.

    Raises:
        BadParameter: nobody here has that name.
    """
    records = agent.store.participants.of_person(person)
    if not records:
        raise typer.BadParameter(f"expected the name of a person behind this agent, got {person!r}")
    return records


def check_name(agent: Agent, person: str) -> None:
    """Return if somebody behind this agent has that name, with a profile or without one.

    Raises:
        BadParameter: nobody here has that name.
    """
    if agent.store.people.get(person) is None:
        raise typer.BadParameter(f"expected the name of a person behind this agent, got {person!r}")


def say(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print the same answer for a program or for a person."""
    print(json.dumps(document, indent=2) if as_json else text)
