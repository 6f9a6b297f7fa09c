"""``hearthside-agent log``: what this device saw of the leader's log."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from client_agent.commands.options import HOME, AsJson, Folder, say
from client_agent.errors import AgentError

app = typer.Typer(
    help="What this device saw of the leader's transparency log.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example: hearthside-agent log show --json > seen.json",
)


@app.command(epilog="Example: hearthside-agent log show --json > seen.json")
def show(folder: Folder = HOME, *, as_json: AsJson = False) -> None:
    """The last checkpoint that held, what is wrong now, and the evidence; with --json for who checks the log."""
    from client_agent.agent import open_agent
    from client_agent.federation.log_view import standing

    found = standing(open_agent(folder).store)
    fault = found["fault"]
    lines = ["no checkpoint was seen yet" if found["checkpoint"] is None else "a checkpoint of the log is kept"]
    lines.append("the log holds" if fault is None else f"NOTHING IS CONTRIBUTED: {fault['words']}")
    for item in found["evidence"]:
        noticed = dt.datetime.fromtimestamp(item["noticed_at_ms"] // 1_000, dt.UTC)
        lines.append(f"evidence of {noticed:%Y-%m-%d %H:%M} UTC: {item['words']}")
    say(found, "\n".join(lines), as_json=as_json)


@app.command(epilog="Example: hearthside-agent log accept --yes")
def accept(
    folder: Folder = HOME,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="You have asked the privacy office and mean it.")] = False,
) -> None:
    """Begin anew with the log that the leader shows next, after a fault; the evidence stays."""
    from client_agent.agent import open_agent
    from client_agent.federation.log_view import accept as begin_anew

    if not yes:
        raise AgentError("a leader that rewrote its log could hide what it asked; repeat with --yes if it is explained")
    begin_anew(open_agent(folder).store)
    print("the next checkpoint that the leader shows is believed")
