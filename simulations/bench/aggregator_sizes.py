"""How much the aggregator's bench runs, and the studies that it runs them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.wire.studies import Features, LocalStudyPlan, TrainQuery, TransitionsQuery
from simulations.demo.plans import Draft

_WINDOW_SECONDS: Final = 1_800.0
"""Longer than anything here takes: rounds close because everybody has reported."""


@dataclass(frozen=True)
class Sizes:
    """How much is run. ``batch`` is what a gateway sends at once."""

    agents: int = 1_000
    check_ins_per_second: float = 200.0
    check_in_seconds: float = 30.0
    devices: int = 9_000
    singles: int = 1_500
    batch: int = 128
    gateways: int = 4
    connections: int = 32
    pages: int = 17
    dwell_bins: int = 11
    features: int = 997
    hidden: int = 1_000
    cohorts: tuple[int, ...] = (32, 128)
    bare_rows: int = 8_000
    floor_seconds: float = 0.5


QUICK: Final = Sizes(20, 40.0, 0.3, 24, 8, 8, 2, 4, 3, 2, 16, 0, (4,), 40, 0.01)
"""A smoke test: every part is run, no figure means anything."""


def measurement(sizes: Sizes) -> Draft:
    """A page-flow study whose round closes once every device of the load has reported."""
    pages = tuple(f"page-{number}" for number in range(sizes.pages))
    edges = tuple(float(2**number) for number in range(sizes.dwell_bins - 1))
    return Draft(
        study_id="load",
        title="Load",
        summary="A benchmark's page flow.",
        purpose="measurement",
        query=TransitionsQuery(categories=pages, dwell_edges_seconds=edges, dwell_share=0.2),
        rounds=1,
        sampling_rate=1.0,
        noise_multiplier=10.0,
        window_seconds=_WINDOW_SECONDS,
        epsilon_cap=4.0,
        minimum_cohort=2,
        maximum_cohort=sizes.devices + sizes.singles,
    )


def training(sizes: Sizes, cohort: int, name: str) -> Draft:
    """A training study of as many weights as the sizes say, for a cohort of exactly so many."""
    names = tuple(f"feature-{number}" for number in range(sizes.features))
    return Draft(
        study_id=name,
        title="Training",
        summary="A benchmark's large model.",
        purpose="intent",
        query=TrainQuery(
            features=Features(version="session/1", names=names),
            hidden=sizes.hidden,
            local=LocalStudyPlan(
                noise_multiplier=0.0, clip_norm=1.0, steps=1, maximum_rows=8, denominator=8.0, learning_rate=1.0
            ),
        ),
        rounds=1,
        sampling_rate=1.0,
        noise_multiplier=10.0,
        window_seconds=_WINDOW_SECONDS,
        epsilon_cap=4.0,
        clip_norm=1.0,
        minimum_cohort=2,
        maximum_cohort=cohort,
    )
