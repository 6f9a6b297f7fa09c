"""``hearthside demo``: the main job, end to end."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside demo

  hearthside demo --once --seed 7 --report demo.json

  hearthside demo --once --data online_shoppers --report shoppers.json

  hearthside demo --once --data msnbc --devices 20000
"""
_DEFAULT_DEVICES = {"synthetic": 2_000, "online_shoppers": 12_330, "msnbc": 20_000}


class Data(StrEnum):
    """What the simulated devices hold."""

    synthetic = "synthetic"
    online_shoppers = "online_shoppers"
    msnbc = "msnbc"


@app.command(epilog=_EXAMPLES)
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop when the table is printed; leave nothing running.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Fixes population, order and splits; not keys, not noise.", min=0)] = 7,
    devices: Annotated[int | None, typer.Option(help="How many devices.", min=200, max=100_000)] = None,
    data: Annotated[Data, typer.Option(help="Synthetic people, or a public data set as devices.")] = Data.synthetic,
    report: Annotated[Path | None, typer.Option(help="Write the table as JSON to this file.", dir_okay=False)] = None,
) -> None:
    """Run consent, training, private sums, release and personalisation with real processes and real cryptography."""
    from rich.console import Console

    from simulations.datasets import DatasetMissing
    from simulations.demo.processes import ProcessFailed

    console = Console(stderr=False)
    # A polite stop (SIGTERM) takes the same way out as Ctrl-C, so that nothing survives it.
    signal.signal(signal.SIGTERM, _interrupt)
    count = devices or _DEFAULT_DEVICES[data.value]
    try:
        if data is Data.synthetic:
            from simulations.demo.run import run_demo

            run_demo(count, seed, console, once=once, report=report)
        else:
            from simulations.public_data import run_real

            run_real(data.value, count, seed, console, report)
    except (ProcessFailed, DatasetMissing) as error:
        print(f"hearthside demo: {error}", file=sys.stderr)
        raise typer.Exit(3) from None


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
