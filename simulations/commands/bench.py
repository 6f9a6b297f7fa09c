"""``hearthside bench NAME``: figures measured now, on this machine, peers in the same run."""

from __future__ import annotations

import importlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Benchmark(StrEnum):
    """What can be measured; each is a module of ``simulations.bench`` with ``run() -> list[Row]``."""

    aggregator = "aggregator"
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
    quick: Annotated[bool, typer.Option("--quick", help="aggregator: run every part small; no figure counts.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="aggregator: the leader's processes.")] = 2,
    profile: Annotated[
        Path | None, typer.Option(help="aggregator: a folder for the leader's profiles; its figures then do not count.")
    ] = None,
) -> None:
    """Measure: median of five runs with its spread; peers are installed into .peers/ first."""
    from rich.console import Console
    from rich.table import Table

    from simulations.bench.rows import to_json

    module = importlib.import_module(f"simulations.bench.{name.value.replace('-', '_')}")
    console = Console(stderr=True)
    with _progress(console) as progress:
        shown = _Shown(progress, f"measuring {name.value}")
        given: dict[str, Any] = {"full": full, "peer_runs": peer_runs, "tell": shown.tell}
        if name is Benchmark.aggregator:
            given |= {"quick": quick, "workers": workers, "profile": profile, "show": shown.show}
        rows = module.run(module.Options(**given))
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


def _progress(console: Any) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True)


class _Shown:
    """One line of progress: what is under way and, where that is known, how much of it is done."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=None)

    def tell(self, what: str) -> None:
        self._progress.update(self._task, description=f"{self._title}: {what}", total=None, completed=0)

    def show(self, what: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=f"{self._title}: {what}", total=total, completed=done)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
