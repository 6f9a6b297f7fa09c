"""``hearthside-agent``: the edge operator's and the visitor's command line. Help loads none of the worker's parts."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

import typer

from client_agent.commands import consent, keys, log, people, rights, running, status, studies
from client_agent.errors import AgentError, StoreError
from models.wire.command import EXIT_INPUT, EXIT_UNAVAILABLE, run_command

app = typer.Typer(
    rich_markup_mode=None,
    help="The agent at the edge: raw clicks stay here; only masked shares of noisy sums leave, and only with consent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example: hearthside-agent enrol --leader http://127.0.0.1:8100 --helper http://127.0.0.1:8101 ...",
)
app.command(epilog="Example: hearthside-agent enrol --leader URL --helper URL --leader-fingerprint abcd-... ...")(
    running.enrol
)
app.command(epilog="Example: hearthside-agent run --upstream https://shop.example --port 8300 --page-port 8301")(
    running.run
)
app.command(epilog="Example: hearthside-agent status --json")(status.status)
app.command(epilog="Example: hearthside-agent studies --language de")(studies.studies)
app.command(epilog="Example: hearthside-agent export > mine.json")(rights.export)
app.command(epilog="Example: hearthside-agent erase --yes")(rights.erase)
app.command(epilog="Example: hearthside-agent rotate-keys")(keys.rotate_keys)
app.command(epilog="Example: hearthside-agent known --json")(keys.known)
app.command(epilog="Example: hearthside-agent revoke --reason gone --yes")(keys.revoke)
app.add_typer(consent.app, name="consent")
app.add_typer(people.app, name="person")
app.add_typer(log.app, name="log")


def main() -> NoReturn:
    """Entry point."""
    warnings.showwarning = _warn
    try:
        run_command(app, "hearthside-agent")
    except AgentError as error:
        print(f"hearthside-agent: {error}", file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE if isinstance(error, StoreError) else EXIT_INPUT)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Warnings are for the person at the terminal: one line, no place in the code."""
    print(f"hearthside-agent: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
