"""``hearthside bench NAME``: figures measured now, on this machine, peers in the same run."""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Benchmark(StrEnum):
    """What can be measured; each is a module of ``simulations.bench`` with ``run() -> list[Row]``."""

    consent = "consent"
    ledger = "ledger"
    log = "log"
    secure_sum = "secure-sum"


@app.command(epilog="Example: hearthside bench secure-sum --json")
def bench(
    name: Annotated[Benchmark, typer.Argument(help="What to measure.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of rows.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Run the largest round whole (minutes), not a part.")] = False,
    peer_runs: Annotated[
        int, typer.Option("--peer-runs", min=0, max=20, help="Runs of a slow peer, at most; its time has a limit too.")
    ] = 5,
) -> None:
    """Measure: median of five runs with its spread; peers are installed into .peers/ first."""
    from rich.console import Console
    from rich.table import Table

    from simulations.bench.rows import to_json

    module = importlib.import_module(f"simulations.bench.{name.value.replace('-', '_')}")
    console = Console(stderr=True)
    with console.status(f"measuring {name.value}") as status:
        tell = lambda what: status.update(f"measuring {name.value}: {what}")  # noqa: E731 - one line, one use
        rows = module.run(module.Options(full=full, peer_runs=peer_runs, tell=tell))
    if as_json:
        print(to_json(rows))
        return
    table = Table("figure", "unit", "ours", "spread", "floor", "peer", "ratio", "target", "ok")
    for item in rows:
        peer = "" if item.peer_name is None else f"{item.peer_name}: {_figure(item.peer)}"
        table.add_row(
            item.name,
            item.unit,
            _figure(item.ours),
            _figure(item.spread),
            _figure(item.floor),
            peer,
            _figure(item.ratio),
            _figure(item.target),
            "yes" if item.ok else "no",
        )
    out = Console()
    out.print(table)
    for item in rows:
        if item.note:
            out.print(f"{item.name}: {item.note}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
