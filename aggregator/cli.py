"""``hearthside-aggregator``: set up and run leader and helper, make tokens, propose and decide studies."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # before anything can import Flower

from aggregator.commands import (
    checking,
    devices,
    logs,
    officers,
    operating,
    parties,
    serving,
    storing,
    studies,
    tokens,
    tuf,
)
from aggregator.commands.options import NAME, group
from aggregator.errors import AggregatorError
from models.wire.command import EXIT_INPUT, EXIT_UNAVAILABLE, run_command

app = group(
    "The two services that make a private sum: a leader and, run by the privacy office, a helper.",
    "init leader --dir leader --site shop",
)
app.add_typer(parties.init, name="init")
app.add_typer(tokens.app, name="token")
app.add_typer(devices.app, name="device")
app.add_typer(studies.app, name="study")
app.add_typer(tuf.app, name="tuf")
app.add_typer(logs.app, name="log")
app.add_typer(officers.app, name="officer")
app.command(epilog=f"Example: {NAME} configure --dir leader helper_key=KEY officers=KEY,KEY")(parties.configure)
app.command(epilog=f"Example: {NAME} leader --dir leader --port 8700")(serving.leader)
app.command(epilog=f"Example: {NAME} helper --dir helper --port 8800")(serving.helper)
app.command(epilog=f"Example: {NAME} check --dir leader")(checking.check)
app.command(epilog=f"Example: {NAME} settings --dir leader --json")(operating.settings)
app.command(epilog=f"Example: {NAME} doctor --dir leader --port 8700")(operating.doctor)
app.command(epilog=f"Example: {NAME} backup --dir leader --to leader.backup")(storing.backup)
app.command(epilog=f"Example: {NAME} restore --dir leader --from leader.backup")(storing.restore)


def main() -> NoReturn:
    """Entry point."""
    try:
        run_command(app, NAME)
    except AggregatorError as error:
        print(f"{NAME}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_INPUT)
    except OSError as error:
        print(f"{NAME}: {error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE)


if __name__ == "__main__":
    main()
