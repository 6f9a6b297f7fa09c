"""One row of a benchmark, and how a figure is measured: the median of five, with its spread and its floor."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

REPEATS = 5
LONG_SECONDS = 20.0
"""A figure that takes longer than this is measured once."""


@dataclass(frozen=True)
class Measured:
    """A median and its spread (largest minus smallest), in the row's unit."""

    value: float
    spread: float

    def times(self, factor: float) -> Measured:
        """The same figure for ``factor`` times the work."""
        return Measured(self.value * factor, self.spread * factor)


@dataclass(frozen=True)
class Row:
    """One figure. ``ok``: the target is met (true where there is none) and the peer, if any, ran.

    ``floor`` is what the primitives alone take, measured in the same run: no implementation can be below it.
    """

    name: str
    unit: str
    ours: float
    spread: float
    peer: float | None = None
    peer_name: str | None = None
    ratio: float | None = None
    target: float | None = None
    floor: float | None = None
    ok: bool = True
    note: str = ""


def measure(work: Callable[[], object], per: int = 1, clock: Callable[[], float] = time.process_time) -> Measured:
    """Median of five runs of ``work``, in milliseconds of CPU a unit; once only where one run is long.

    Args:
        work: what is measured; one run warms up first.
        per: units of work in one run.
        clock: seconds; process CPU time unless said.
    """
    figures: list[float] = []
    started = time.perf_counter()
    work()
    if time.perf_counter() - started > LONG_SECONDS:
        return Measured((time.perf_counter() - started) * 1e3 / per, 0.0)
    for _ in range(REPEATS):
        before = clock()
        work()
        figures.append((clock() - before) * 1e3 / per)
    return Measured(statistics.median(figures), max(figures) - min(figures))


def row(
    name: str,
    unit: str,
    ours: Measured,
    *,
    target: float | None = None,
    floor: float | None = None,
    note: str = "",
) -> Row:
    """A row without a peer; smaller is better."""
    ok = target is None or ours.value <= target
    return Row(name, unit, ours.value, ours.spread, target=target, floor=floor, ok=ok, note=note)


def beside(mine: Row, peer_name: str, peer: float | None, note: str = "") -> Row:
    """The same row with a peer's figure; without one the row is not ok."""
    ratio = peer / mine.ours if peer is not None and mine.ours > 0 else None
    notes = "; ".join(part for part in (mine.note, note) if part)
    return replace(mine, peer=peer, peer_name=peer_name, ratio=ratio, ok=mine.ok and peer is not None, note=notes)


def to_json(rows: list[Row]) -> str:
    """The JSON array that machines read."""
    return json.dumps([asdict(item) for item in rows], indent=2)
