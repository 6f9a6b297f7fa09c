"""``hearthside-agent person``: who belongs to the household or workplace behind this agent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from client_agent.commands.options import HOME, AsJson, Folder, check_name, say
from models.wire.problems import ProblemError

if TYPE_CHECKING:  # the store's parts are loaded when a command runs, not for its help
    from client_agent.agent import Agent
    from client_agent.people import PeopleKeeper

app = typer.Typer(
    rich_markup_mode=None,
    help="Who is behind this agent: adults with a profile each, children without any.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="A local name; it never leaves this device.")]
Token = Annotated[str, typer.Option(help="The operator's enrolment token; none: the person is enrolled later.")]
AskPin = Annotated[bool, typer.Option("--pin", help="Ask for a PIN that stands before the person's own page.")]
_LATER = "enrol them when you can: hearthside-agent person enrol"


@app.command("list", epilog="Example: hearthside-agent person list --json")
def list_people(folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """Everybody here: who is a child, who is enrolled, who has a PIN, and how many browsers know them."""
    from client_agent.agent import open_agent

    store = open_agent(folder).store
    enrolled = {record.person for record in store.participants.all() if record.device_id is not None}
    rows = [
        {
            "name": record.name,
            "kind": record.kind,
            "pin": record.has_pin,
            "enrolled": record.name in enrolled,
            "browsers": len(store.browsers.of(record.name)),
        }
        for record in store.people.all()
    ]
    lines = [
        f"{row['name']:<24} {row['kind']:<6} {'enrolled' if row['enrolled'] else 'no profile':<11}"
        f"{'PIN' if row['pin'] else ''}"
        for row in rows
    ]
    say({"people": rows}, "\n".join(line.rstrip() for line in lines), as_json=as_json)


@app.command(epilog="Example: hearthside-agent person add anna --pin --token TOKEN")
def add(
    name: Name,
    token: Token = "",
    folder: Folder = HOME,
    *,
    child: Annotated[bool, typer.Option("--child", help="A child: never a profile, whatever anybody allows.")] = False,
    pin: AskPin = False,
    as_json: AsJson = False,
) -> None:
    """Add somebody; an adult is enrolled where a token is given and the leader answers, a child never is."""
    if child and token:
        raise typer.BadParameter("expected no token for a child: a child is never enrolled", param_hint="--token")
    agent, keeper = _keeper(folder)
    record = keeper.add(name, "child" if child else "adult", _asked_pin() if pin else None)
    enrolled = bool(token) and _enrol(agent, record.name, token)
    after = "" if child or enrolled else f"; {_LATER} {record.name} --token TOKEN"
    say(
        {"name": record.name, "kind": record.kind, "enrolled": enrolled},
        f"added {record.name}, {'a child: never a profile' if child else 'an adult'}{after}",
        as_json=as_json,
    )


@app.command(epilog="Example: hearthside-agent person enrol anna --token TOKEN")
def enrol(name: Name, token: Token = "", folder: Folder = HOME) -> None:
    """Make an adult of this household known to the leader, with a key of their own; nothing is granted by it."""
    agent, _ = _keeper(folder)
    check_name(agent, name)
    if not _enrol(agent, name, token):
        raise typer.Exit(1)
    print(f"enrolled {name}; nothing is granted yet: the choices are on their own page")


@app.command("set", epilog="Example: hearthside-agent person set tim --child")
def set_person(
    name: Name,
    folder: Folder = HOME,
    *,
    kind: Annotated[
        bool | None, typer.Option("--child/--adult", help="A child loses every profile at once; an adult starts anew.")
    ] = None,
    pin: Annotated[bool | None, typer.Option("--pin/--no-pin", help="Ask for a new PIN, or take it away.")] = None,
) -> None:
    """Say that somebody is a child or an adult, or change their PIN; their browsers have to say again who they are."""
    agent, keeper = _keeper(folder)
    if kind is None and pin is None:
        raise typer.BadParameter("expected --child, --adult, --pin or --no-pin")
    if kind is not None:
        erased = keeper.set_kind(name, "child" if kind else "adult")
        print(f"{name} is {'a child' if kind else 'an adult'}{'; their profile is withdrawn and erased' * erased}")
        if erased:
            _tell(agent)
    if pin is not None:
        keeper.set_pin(name, _asked_pin() if pin else None)
        print(f"{name} has {'a new' if pin else 'no'} PIN")


@app.command(epilog="Example: hearthside-agent person remove anna --yes")
def remove(
    name: Name,
    folder: Folder = HOME,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Withdraw and erase everything of a person, and forget them. What was spent of their budget stays spent."""
    if not yes:
        typer.confirm(f"Erase everything about {name} and forget them?", abort=True)
    agent, keeper = _keeper(folder)
    erased = keeper.remove(name)
    print(f"removed {name}{'; the spend counter stays' if erased else ''}")
    if erased:
        _tell(agent)


def _keeper(folder: Folder) -> tuple[Agent, PeopleKeeper]:
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.people import PeopleKeeper

    agent = open_agent(folder)
    return agent, PeopleKeeper(agent.store, agent.pins, SystemClock(), os.urandom)


def _enrol(agent: Agent, name: str, token: str) -> bool:
    """Whether the leader knows the person now; they stay in the household either way."""
    from client_agent.clocks import SystemClock
    from client_agent.enrolment import enrol as enrol_people

    try:
        enrol_people(
            agent.store, agent.leader(), agent.pins, [name], token=token, clock=SystemClock(), entropy=os.urandom
        )  # fmt: skip
    except ProblemError as problem:
        typer.echo(f"not enrolled: {problem}", err=True)
        return False
    return True


def _asked_pin() -> str:
    return str(typer.prompt("PIN", hide_input=True, confirmation_prompt=True))


def _tell(agent: Agent) -> None:
    """Tell both services now; what cannot be delivered waits in the store for ``run``."""
    from client_agent.clocks import SystemClock
    from client_agent.erasing import deliver_farewells

    left = deliver_farewells(agent.store, agent.pins, SystemClock(), agent.leader(), agent.helper())
    if left:
        print(
            f"still to be delivered by run: {left.withdrawals} withdrawal(s), {left.reports} report(s) to take back,"
            " counted for everybody behind this agent"
        )
