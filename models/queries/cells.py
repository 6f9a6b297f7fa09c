"""What each position of a released sum is: a name and a unit for every cell, so that a table can be read alone.

A vector's entries are in the encoding's own unit. A count is weighted (``count_weight``) so that shares and counts
bear the same noise; ``factor`` takes that weight off, so a count cell is in devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from models.queries.answers import coverage_question, persona_question
from models.wire.studies import CoverageQuery, PersonasQuery, Query, TrainQuery, TransitionsQuery

SHARES = "sum of shares"
DEVICES = "devices whose coin said yes"


@dataclass(frozen=True, slots=True)
class Cell:
    """One position.

    Attributes:
        part: which part of the answer it belongs to, such as ``transition``.
        label: what it counts, such as ``home > cart``.
        unit: of its value once the factor is applied.
        factor: what the released entry is multiplied by.
    """

    part: str
    label: str
    unit: str
    factor: float = 1.0


def cells_of(query: Query, dimension: int) -> tuple[Cell, ...]:
    """The cells of a query's vector, in its order; ``dimension`` of them for a training study.

    Args:
        query: what was asked.
        dimension: length of the sum.
    """
    if isinstance(query, TransitionsQuery):
        return tuple(_transitions(query))
    if isinstance(query, CoverageQuery):
        return tuple(_coverage(query))
    if isinstance(query, PersonasQuery):
        return tuple(_personas(query))
    assert isinstance(query, TrainQuery), "every other question trains"
    return tuple(Cell("update", f"parameter {index}", "sum of clipped updates") for index in range(dimension))


def _transitions(query: TransitionsQuery) -> Iterator[Cell]:
    """Each device's counts are scaled to a fixed norm, so a cell sums shares, not moves."""
    for origin, target in product(query.categories, repeat=2):
        yield Cell("transition", f"{origin} > {target}", SHARES)
    edges = query.dwell_edges_seconds
    if edges:
        yield Cell("dwell", f"under {edges[0]:g} s", SHARES)
        for low, high in pairwise(edges):
            yield Cell("dwell", f"{low:g} s to under {high:g} s", SHARES)
        yield Cell("dwell", f"{edges[-1]:g} s or more", SHARES)


def _coverage(query: CoverageQuery) -> Iterator[Cell]:
    question = coverage_question(query)
    weight = question.slot.count_weight * question.slot.bound
    for band in question.band_names():
        for purpose in query.purposes:
            yield Cell("granted minus not granted", f"{band}: {purpose}", DEVICES)
        yield Cell("count", band, DEVICES, 1 / weight)


def _personas(query: PersonasQuery) -> Iterator[Cell]:
    weight = persona_question(query).count_weight
    for cluster in range(1, query.clusters + 1):
        for feature in query.features.names:
            yield Cell("difference", f"group {cluster}: {feature}", "sum of differences to the centroid")
        yield Cell("count", f"group {cluster}", DEVICES, 1 / weight)
