"""Spend in whole units of 2^-128 nats, so that running sums are exact: no drift, however many charges.

A cost is rounded up to the grid and a cap down, each by less than 3e-39 nats; a figure of at least 2^-75 nats is on the
grid as it stands. Nothing that was charged is ever free, and nothing above a cap ever fits.
"""

from __future__ import annotations

import math
from functools import lru_cache

from privacy.accounting.contract import Contract, Costs

GRID_BITS = 128
_LARGEST_COST = 2.0**64
"""Costs above it, infinity included, count as this one: no cap is near."""

Units = tuple[int, ...]
"""One non-negative whole number per figure of the filter's currency, in 2^-128 nats."""


def up(cost: float) -> int:
    """The smallest number of units that covers a cost in [0, inf], nats."""
    return math.ceil(math.ldexp(min(cost, _LARGEST_COST), GRID_BITS))


def down(cap: float) -> int:
    """The largest number of units within a cap in [0, inf), nats."""
    return math.floor(math.ldexp(cap, GRID_BITS))


def nats(units: int) -> float:
    """The smallest double that covers a number of units."""
    figure = units / (1 << GRID_BITS)  # correctly rounded, perhaps down
    return figure if up(figure) >= units else math.nextafter(figure, math.inf)


@lru_cache(maxsize=4_096)
def units_of(costs: Costs) -> Units:
    """Costs in units, each rounded up. Cached: a round costs everybody the same."""
    return tuple(up(cost) for cost in costs)


def costs_of(units: Units) -> Costs:
    """Units in nats, each rounded up."""
    return tuple(nats(figure) for figure in units)


def plus(first: Units, second: Units) -> Units:
    """The sum, figure by figure."""
    return tuple([a + b for a, b in zip(first, second, strict=True)])


def minus(first: Units, second: Units) -> Units:
    """The difference, figure by figure."""
    return tuple([a - b for a, b in zip(first, second, strict=True)])


def scaled(units: Units, share: float) -> Units:
    """A share in [0, 1] of each figure, rounded down."""
    numerator, denominator = share.as_integer_ratio()
    return tuple(figure * numerator // denominator for figure in units)


@lru_cache(maxsize=1_024)
def cap_units(contract: Contract) -> Units:
    """A contract's caps in units, each rounded down."""
    return tuple(down(cap) for cap in contract.caps)
