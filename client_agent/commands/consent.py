"""``hearthside-agent consent``: show, grant and withdraw, purpose by purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from client_agent.commands.options import DEFAULT_PERSON, HOME, AsJson, Folder, Person, people_named, say

app = typer.Typer(
    rich_markup_mode=None, help="Show, grant and withdraw consent, purpose by purpose.", no_args_is_help=True
)


@app.command("show", epilog="Example: hearthside-agent consent show --json")
def show(person: Person = DEFAULT_PERSON, folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """What stands, purpose by purpose."""
    from consent import NO_SIGNALS, PURPOSES, decide

    keeper, participant_id, now_ms = _keeper(folder, person)
    state = keeper.state_of(participant_id)
    rows = {}
    for purpose in PURPOSES:
        decision = decide("use", purpose.id, state, NO_SIGNALS, now_ms // 1_000)
        rows[purpose.id] = {"granted": decision.allowed, "rule": decision.rule, "title": purpose.text("en").title}
    document = {"epoch": state.epoch, "confirmed_by_leader": state.countersigned, "purposes": rows}
    lines = [f"{'yes' if row['granted'] else 'no ':<4} {name:<16} {row['title']}" for name, row in rows.items()]
    say(document, "\n".join(lines), as_json=as_json)


@app.command("grant", epilog="Example: hearthside-agent consent grant measurement persona")
def grant(
    purposes: Annotated[list[str], typer.Argument(help="Purposes to grant; see consent show.")],
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Grant purposes; in force at once."""
    keeper, participant_id, _ = _keeper(folder, person)
    _chosen(lambda: keeper.grant(participant_id, purposes))
    _deliver(folder)
    say({"granted": sorted(purposes)}, f"granted: {', '.join(sorted(purposes))}", as_json=as_json)


@app.command("withdraw", epilog="Example: hearthside-agent consent withdraw        (everything, at once)")
def withdraw(
    purposes: Annotated[list[str] | None, typer.Argument(help="Purposes to take back; none: all.")] = None,
    person: Person = DEFAULT_PERSON,
    folder: Folder = HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Refuse purposes or take them back; in force at once, queued reports included."""
    keeper, participant_id, _ = _keeper(folder, person)
    _chosen(lambda: keeper.withdraw(participant_id, purposes))
    _deliver(folder)
    say({"withdrawn": purposes or "all"}, f"withdrawn: {', '.join(purposes or ['everything'])}", as_json=as_json)


def _chosen(act: Callable[[], Any]) -> Any:
    from consent import ConsentError

    try:
        return act()
    except ConsentError as error:
        raise typer.BadParameter(str(error)) from None


def _keeper(folder: Path, person: str) -> tuple[Any, str, int]:
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.consenting import ConsentKeeper

    agent, clock = open_agent(folder), SystemClock()
    return ConsentKeeper(agent.store, agent.pins, clock), people_named(agent, person)[0].participant_id, clock.now_ms()


def _deliver(folder: Path) -> None:
    """Tell both services now; what cannot be delivered waits in the store for ``run``."""
    from client_agent.agent import open_agent
    from client_agent.clocks import SystemClock
    from client_agent.delivering import Courier

    agent = open_agent(folder)
    courier = Courier(agent.store, agent.pins, SystemClock())
    for problem in courier.tell_both(agent.leader(), agent.helper()):
        typer.echo(f"in force here; the services will hear of it later ({problem})", err=True)
