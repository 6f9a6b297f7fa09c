"""How every command line of the house ends: one clear line on stderr, and an exit code that a script can use.

0 done; 1 it ran and the answer is no; 2 the input was wrong; 3 a service or file could not be reached; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click
import typer

EXIT_INPUT = 2
EXIT_UNAVAILABLE = 3
_INTERRUPTED = 130


def run_command(app: typer.Typer, name: str) -> NoReturn:
    """Run a Typer application; usage errors, problems and interruptions become one line and an exit code."""
    try:
        outcome = app(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say(name, "interrupted")
        sys.exit(_INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())  # noqa: T201 - this module is the command line's voice
        sys.exit(EXIT_INPUT)
    except click.ClickException as error:
        _say(name, f"{error.format_message()} (see {_command_path(error, name)} --help)")
        sys.exit(EXIT_INPUT)
    except Exception as error:
        _exit_with_problem(name, error)
        raise
    if outcome == _INTERRUPTED:  # Typer has caught the KeyboardInterrupt itself
        _say(name, "interrupted")
    sys.exit(outcome if isinstance(outcome, int) else 0)


def _exit_with_problem(name: str, error: Exception) -> None:
    # Imported here: it brings pydantic along, which a command that meets no problem need not wait for.
    from models.wire.problems import ProblemError

    if isinstance(error, ProblemError):
        _say(name, str(error))
        sys.exit(EXIT_UNAVAILABLE if error.problem_type.retry else EXIT_INPUT)


def _command_path(error: click.ClickException, name: str) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else name


def _say(name: str, line: str) -> None:
    print(f"{name}: {' '.join(line.split())}", file=sys.stderr)  # noqa: T201 - this module is the command line's voice
