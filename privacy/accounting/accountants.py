"""Events into figures. dp-accounting computes every bound; it is loaded on first use, never by importing this module.

The neighbouring relation is zero-out, dp-accounting's ``REPLACE_SPECIAL``: one unit's record is replaced by none while
the unit stays visible. For the (Poisson-sampled) Gaussian sum, where a null record adds the zero vector, the two
output distributions are ``N(0, z^2)`` and ``(1 - q) N(0, z^2) + q N(1, z^2)``, the very pair of add-or-remove-one; so
the figures of both relations are equal, and both directions of the pair are covered. (Replace-one would be another
pair, with twice the sensitivity.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from privacy.accounting.contract import MINIMUM_ORDER, convert
from privacy.accounting.errors import EventInvalid, UnitsMixed
from privacy.accounting.events import Event, LocalEvent, SumEvent

if TYPE_CHECKING:
    from dp_accounting import DpEvent

PLD_INTERVAL = 1e-4
"""Grid of the privacy loss, in nats; the estimate is pessimistic at any grid."""
_PLD_POINTS = 2_000_000
"""The grid coarsens above epsilon 200, so that a plan without any privacy cannot take all memory."""
_RDP_FLOOR = 1e-12
"""Below this the double-precision sums behind one release's divergence are rounding noise."""


@lru_cache(maxsize=4_096)
def rdp(event: Event, order: int) -> float:
    """Renyi divergence of an event at one order, in nats (unit and neighbours: the event's).

    Computed by dp-accounting's ``RdpAccountant`` (Mironov, Talwar and Zhang, arXiv 1908.10530, section 3.3, for the
    sampled Gaussian). A tiny figure is raised to ``min(1e-12, order / (2 z^2))`` a release, above its rounding error
    and at most the unsampled cost, so that no number of releases is ever free.

    Args:
        event: what is to happen.
        order: an integer of at least 2.

    Returns:
        The divergence for all ``event.count`` releases, in (0, inf].
    """
    if type(order) is not int or order < MINIMUM_ORDER:
        raise EventInvalid(f"expected an integer order of at least {MINIMUM_ORDER}, got {order!r}")
    from dp_accounting import NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant([order], NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(_release(event))
    unsampled = order / (2 * event.noise_multiplier**2)
    one_release = max(float(accountant.rdp[0]), min(_RDP_FLOOR, unsampled))
    return event.count * one_release


def epsilon(
    events: Sequence[Event],
    delta: float,
    method: Literal["rdp", "pld"],
    *,
    amplification: bool = True,
) -> float:
    """Epsilon of a *declared* plan at delta (unit and neighbours: the events').

    ``rdp`` is the best of dp-accounting's orders, ``pld`` the privacy loss distribution. Both are for a plan that was
    fixed beforehand; what an adaptive sequence spends is the filter's figure (``Contract``), a little higher.

    Args:
        events: the whole plan, of one unit; empty is epsilon 0.
        delta: in (0, 1).
        method: "rdp" or "pld".
        amplification: False gives no credit for hidden sampling: every rate counts as 1.

    Raises:
        UnitsMixed: device-level sums and per-row local steps in one plan.
        EventInvalid: delta or method outside its range.
    """
    if not 0 < delta < 1:
        raise EventInvalid(f"expected delta in (0, 1), got {delta!r}")
    if method not in ("rdp", "pld"):
        raise EventInvalid(f"expected method 'rdp' or 'pld', got {method!r}")
    if {type(event) for event in events} == {SumEvent, LocalEvent}:
        raise UnitsMixed("expected events of one privacy unit, got device-level sums and per-row local steps")
    plan = tuple(events if amplification else (replace(event, sampling_rate=1.0) for event in events))
    if not plan:
        return 0.0
    return _rdp_epsilon(plan, delta) if method == "rdp" else _pld_epsilon(plan, delta)


@lru_cache(maxsize=256)
def _rdp_epsilon(plan: tuple[Event, ...], delta: float) -> float:
    from dp_accounting import NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_SPECIAL)
    for event in plan:
        accountant.compose(_release(event), event.count)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=256)
def _pld_epsilon(plan: tuple[Event, ...], delta: float) -> float:
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    # Any order bounds epsilon from above; powers of two are enough to choose a grid.
    bound = min(convert(sum(rdp(event, order) for event in plan), order, delta) for order in (2, 4, 8, 16, 32, 64))
    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL, max(PLD_INTERVAL, bound / _PLD_POINTS))
    for event in plan:
        accountant.compose(_release(event), event.count)
    return float(accountant.get_epsilon(delta))


def _release(event: Event) -> DpEvent:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

    gaussian = GaussianDpEvent(event.noise_multiplier)
    return gaussian if event.sampling_rate == 1 else PoissonSampledDpEvent(event.sampling_rate, gaussian)
