"""Events into figures. dp-accounting computes every bound; it is loaded on first use, never by importing this module.

The neighbouring relation is zero-out, dp-accounting's ``REPLACE_SPECIAL``: one unit's record is replaced by none while
the unit stays visible. For the (Poisson-sampled) Gaussian sum, where a null record adds the zero vector, the two
output distributions are ``N(0, z^2)`` and ``(1 - q) N(0, z^2) + q N(1, z^2)``, the very pair of add-or-remove-one; so
the figures of both relations are equal, and both directions of the pair are covered. (Replace-one would be another
pair, with twice the sensitivity.) For randomised response the null record is an answer drawn uniformly, again
``REPLACE_SPECIAL``. Tree noise is accounted for under this relation alone.

**What may stand in one figure.** An epsilon has one privacy unit (``unit_of``): sums, trees and responses speak of a
device, local steps of one training row, and a plan that holds both is refused, because replacing a row and replacing
a device are different neighbours and no composition theorem joins them. Sums, trees and responses may be mixed: each
bounds the same pair of neighbours, so their losses compose. The mixed figure holds against the *weakest* party that
all of them resist: the public, the leader alone, the helper alone. A response also holds if both servers collude; to
state that figure, account for the responses alone. A response that travels inside a private sum is charged once for
each, which is never too little: the response bounds what both servers together learn, the sum what is released.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from privacy.accounting.contract import MINIMUM_ORDER, convert
from privacy.accounting.errors import EventInvalid, MethodUnavailable, UnitsMixed
from privacy.accounting.events import Event, LocalEvent, ResponseEvent, SumEvent, TreeEvent

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Method = Literal["rdp", "pld"]
Unit = Literal["device", "row"]
PLD_INTERVAL = 1e-4
"""Grid of the privacy loss, in nats; the estimate is pessimistic at any grid."""
_PLD_POINTS = 2_000_000
"""The grid coarsens above epsilon 200, so that a plan without any privacy cannot take all memory."""
_RDP_FLOOR = 1e-12
"""Below this the double-precision sums behind one release's divergence are rounding noise."""


def unit_of(event: Event) -> Unit:
    """Whose data the event's figure speaks of: one ``"device"``, or one training ``"row"`` of it (zero-out both)."""
    return "row" if isinstance(event, LocalEvent) else "device"


@lru_cache(maxsize=4_096)
def rdp(event: Event, order: int) -> float:
    """Renyi divergence of an event at one order, in nats (unit and neighbours: the event's).

    Computed by dp-accounting's ``RdpAccountant``: Mironov, Talwar and Zhang (arXiv 1908.10530, section 3.3) for the
    sampled Gaussian; Kairouz et al. (arXiv 2103.00039, appendix D) for a tree; the two-point sum over buckets for
    randomised response. A tiny figure is raised to 1e-12 a release, above its rounding error (for Gaussian noise to at
    most the unsampled cost), so that no number of releases is ever free.

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
    accountant.compose(release(event))
    return event.count * max(float(accountant.rdp[0]), _floor(event, order))


def _floor(event: Event, order: int) -> float:
    if isinstance(event, ResponseEvent):
        return _RDP_FLOOR
    return min(_RDP_FLOOR, order / (2 * event.noise_multiplier**2))


def epsilon(events: Sequence[Event], delta: float, method: Method, *, amplification: bool = True) -> float:
    """Epsilon of a *declared* plan at delta (unit and neighbours: the events').

    ``rdp`` is the best of dp-accounting's orders, ``pld`` the privacy loss distribution. Both are for a plan that was
    fixed beforehand; what an adaptive sequence spends is the filter's figure (``Contract``), a little higher.

    Args:
        events: the whole plan, of one unit; empty is epsilon 0.
        delta: in (0, 1).
        method: "rdp" or "pld".
        amplification: False gives no credit for hidden sampling: every rate counts as 1.

    Raises:
        UnitsMixed: device-level events and per-row local steps in one plan.
        MethodUnavailable: "pld" for tree noise, for which dp-accounting has no privacy loss distribution.
        EventInvalid: delta or method outside its range.
    """
    if not 0 < delta < 1:
        raise EventInvalid(f"expected delta in (0, 1), got {delta!r}")
    if method not in ("rdp", "pld"):
        raise EventInvalid(f"expected method 'rdp' or 'pld', got {method!r}")
    require_one_unit(events)
    plan = tuple(events if amplification else (_unsampled(event) for event in events))
    if not plan:
        return 0.0
    return _rdp_epsilon(plan, delta) if method == "rdp" else _pld_epsilon(plan, delta)


def require_one_unit(events: Iterable[Event]) -> None:
    """Refuse a plan whose events speak of devices and of rows.

    Raises:
        UnitsMixed: there are both.
    """
    if len({unit_of(event) for event in events}) > 1:
        raise UnitsMixed("expected events of one privacy unit, got device-level releases and per-row local steps")


def release(event: Event) -> DpEvent:
    """One of the event's ``count`` releases, as dp-accounting writes it (neighbours: ``REPLACE_SPECIAL``)."""
    from dp_accounting import (
        GaussianDpEvent,
        PoissonSampledDpEvent,
        RandomizedResponseDpEvent,
        SingleEpochTreeAggregationDpEvent,
    )

    if isinstance(event, ResponseEvent):
        return RandomizedResponseDpEvent(event.noise, event.buckets)
    if isinstance(event, TreeEvent):
        return SingleEpochTreeAggregationDpEvent(event.noise_multiplier, event.steps)
    gaussian = GaussianDpEvent(event.noise_multiplier)
    return gaussian if event.sampling_rate == 1 else PoissonSampledDpEvent(event.sampling_rate, gaussian)


@lru_cache(maxsize=256)
def _rdp_epsilon(plan: tuple[Event, ...], delta: float) -> float:
    from dp_accounting import NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_SPECIAL)
    for event in plan:
        accountant.compose(release(event), event.count)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=256)
def _pld_epsilon(plan: tuple[Event, ...], delta: float) -> float:
    # Any order bounds epsilon from above; powers of two are enough to choose a grid.
    bound = min(convert(sum(rdp(event, order) for event in plan), order, delta) for order in (2, 4, 8, 16, 32, 64))
    interval = max(PLD_INTERVAL, bound / _PLD_POINTS)
    total = loss(plan[0], interval)
    for event in plan[1:]:
        total = total.compose(loss(event, interval))
    return float(total.get_epsilon_for_delta(delta))


def loss(event: Event, interval: float) -> Any:
    """The privacy loss of all ``count`` releases on a grid, as dp-accounting's ``PrivacyLossDistribution``.

    Its distributions are composed here rather than by its ``PLDAccountant``, which (in 0.6.0) composes a randomised
    response once, whatever the count.

    Raises:
        MethodUnavailable: tree noise.
    """
    if isinstance(event, TreeEvent):
        raise MethodUnavailable("expected method 'rdp' for tree noise: dp-accounting has no loss distribution for it")
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import privacy_loss_distribution

    relation = NeighboringRelation.REPLACE_SPECIAL
    if isinstance(event, ResponseEvent):
        if event.noise == 1:
            return privacy_loss_distribution.identity(interval)
        return privacy_loss_distribution.from_randomized_response(
            event.noise, event.buckets, value_discretization_interval=interval, neighboring_relation=relation
        ).self_compose(event.count)
    if event.sampling_rate == 1:  # count Gaussians on the same data are one with 1/sqrt(count) of the noise
        deviation = event.noise_multiplier / event.count**0.5
        return privacy_loss_distribution.from_gaussian_mechanism(
            deviation, value_discretization_interval=interval, neighboring_relation=relation
        )
    return privacy_loss_distribution.from_gaussian_mechanism(
        event.noise_multiplier,
        value_discretization_interval=interval,
        sampling_prob=event.sampling_rate,
        neighboring_relation=relation,
    ).self_compose(event.count)


def _unsampled(event: Event) -> Event:
    return replace(event, sampling_rate=1.0) if isinstance(event, SumEvent | LocalEvent) else event
