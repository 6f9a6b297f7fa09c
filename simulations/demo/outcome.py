"""What a run ends with: figures measured in that run, as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Quality:
    """A study's figure beside the centralised, non-private one on the same data."""

    metric: str
    value: float
    central: float


@dataclass(frozen=True)
class BandOutcome:
    """A band of activity: the simulated truth, and what was released about it. ``share`` None: too few to say."""

    visits: str
    truth: float
    share: float | None
    low: float
    high: float


@dataclass(frozen=True)
class CoverageOutcome:
    """Which share granted the use of a result, as the leader shows it, beside the truth that only a simulation knows.

    The intervals hold together with 95 %. ``figure``: ``granted`` or ``make-up``; see ``aggregator.leader.coverage``.
    """

    status: str
    reason: str = ""
    unknown: str = ""
    figure: str = ""
    study: str = ""
    epsilon: float = 0.0
    under_represented: tuple[str, ...] = ()
    not_granted_at_most: float | None = None
    bands: list[BandOutcome] = field(default_factory=list)


@dataclass(frozen=True)
class StudyOutcome:
    """One study. ``epsilon_user``: device level, zero-out, the filter's figure; ``epsilon_local``: per training row."""

    name: str
    kind: str
    purpose: str
    rounds: int
    epsilon_user: float
    epsilon_local: float | None
    delta: float
    reports: int
    null_reports: int
    bytes_per_device: float
    seconds: float
    quality: Quality
    coverage: CoverageOutcome | None = None


@dataclass(frozen=True)
class BudgetOutcome:
    """The contract: composed spend of the device that spent most within this run, device level, zero-out."""

    cap: float
    spent: float
    delta: float


@dataclass(frozen=True)
class Outcome:
    """A whole run. Null reports are counted inside the simulated devices: no service can know them."""

    data: str
    seed: int
    devices: int
    consented: int
    refused: int
    withdrawn: int
    seconds: float
    canary_hits: int | None
    """How often planted strings were found; None where the data has no strings to plant them in."""
    bundle: dict[str, object]
    modules_shown: dict[str, str]
    studies: list[StudyOutcome]
    budget: BudgetOutcome
    bytes_by_purpose: dict[str, int]
    spent_at_start: int = 0
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """The report, indented."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the report to a file."""
        path.write_text(self.to_json(), encoding="utf-8")

    def share_by_purpose(self) -> dict[str, float]:
        """Share of the bytes that left devices, by purpose; they sum to 1."""
        total = sum(self.bytes_by_purpose.values()) or 1
        return {purpose: size / total for purpose, size in self.bytes_by_purpose.items()}


def render(outcome: Outcome, pages: dict[str, str], console: Console) -> None:
    """Print the table that a person reads; it fits 80 columns."""
    console.print(
        Panel(
            Group(*_parts(outcome), _facts(outcome, pages)),
            title="Hearthside: what left the house",
            subtitle=f"{outcome.devices:,} simulated devices, seed {outcome.seed}, {outcome.seconds:.0f} s",
            box=box.ROUNDED,
        )
    )


def _parts(outcome: Outcome) -> list[Table | Text]:
    tables = [_released(outcome), _traffic(outcome)]
    if any(study.coverage is not None for study in outcome.studies):
        tables.append(_coverage(outcome))
    return [part for table in tables for part in (table, Text(""))]


_NAME_WIDTH = 14
"""Longer names fold, so that figures never do: the table fits 80 columns."""


def _released(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left", caption=_EPSILONS)
    table.add_column("study", overflow="fold", max_width=_NAME_WIDTH)
    for heading in ("epsilon\ndevice", "epsilon\nlocal", "delta"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("quality", overflow="fold", max_width=_NAME_WIDTH)
    for heading in ("private", "central"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in outcome.studies:
        quality = study.quality
        table.add_row(
            study.name,
            f"{study.epsilon_user:.2f}",
            "none" if study.epsilon_local is None else f"{study.epsilon_local:.1f}",
            f"{study.delta:.0e}",
            quality.metric,
            f"{quality.value:.3f}",
            f"{quality.central:.3f}",
        )
    return table


_EPSILONS = (
    "device: everything released about one device, neighbours by zero-out, the filter's figure; "
    "local (Opacus): one training row, even if leader and helper collude"
)


def _traffic(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("study", overflow="fold", max_width=_NAME_WIDTH)
    for heading in ("rounds", "seconds", "reports", "of them null", "bytes a device"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in outcome.studies:
        table.add_row(
            study.name,
            str(study.rounds),
            f"{study.seconds:.1f}",
            f"{study.reports:,}",
            f"{study.null_reports:,}",
            f"{study.bytes_per_device:,.0f}",
        )
    return table


def _coverage(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left", caption=_COVERAGES)
    table.add_column("who granted it", overflow="fold", max_width=_NAME_WIDTH)
    table.add_column("of people with", no_wrap=True)
    for heading in ("simulated\ntruth", "estimate", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in outcome.studies:
        coverage = study.coverage
        if coverage is None or coverage.figure == "make-up":
            continue
        if coverage.status != "estimated":
            table.add_row(study.name, coverage.reason)
        for index, band in enumerate(coverage.bands):
            estimate = "too few to say" if band.share is None else f"{band.share:.1%}"
            interval = f"{band.low:.1%} to {band.high:.1%}"
            missing = " (fewer)" if band.visits in coverage.under_represented else ""
            name = study.name if index == 0 else ""
            table.add_row(name, band.visits + missing, f"{band.truth:.1%}", estimate, interval)
    return table


_COVERAGES = (
    "Share that granted the study's purpose, of those who count themselves (the coverage study, in the epsilon above); "
    "a study's intervals hold together. Unknown: people who refused measurement, devices that could not be counted, "
    "and how many that granted it are not in the result all the same (quota or budget spent, late, failed)."
)


def _facts(outcome: Outcome, pages: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    budget = outcome.budget
    table.add_row(
        "budget",
        f"{budget.spent:.2f} of epsilon {budget.cap:g} spent at delta {budget.delta:.0e} "
        "(per person and device, 30 days, zero-out; the most-charged device)",
    )
    table.add_row(
        "consent",
        f"{outcome.consented:,} granted something, {outcome.refused:,} refused everything, "
        f"{outcome.withdrawn:,} withdrew while it ran; {outcome.spent_at_start:,} started with a spent budget",
    )
    shares = ", ".join(f"{purpose} {share:.1%}" for purpose, share in outcome.share_by_purpose().items())
    table.add_row("bytes that left", shares)
    if outcome.canary_hits is not None:
        table.add_row("canaries found", f"{outcome.canary_hits} in anything the services received, stored or logged")
    if outcome.bundle:
        table.add_row("bundle", f"version {outcome.bundle['version']}, sha256 {str(outcome.bundle['sha256'])[:16]}...")
    for persona, module in outcome.modules_shown.items():
        table.add_row("shown to", f"{persona}: {module}")
    for note in outcome.notes:
        table.add_row("note", note)
    for name, address in pages.items():
        table.add_row(name, address)
    return table
