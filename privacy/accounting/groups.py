"""One person with several devices: what a plan costs when all of them are replaced by none at once.

The contract is per device. A person with m devices (or m profiles behind gateways) is a group of m units, and every
figure of one unit implies a weaker one for the group. Three routes, from the one that always holds to the tightest:

- ``group_contract``: from an (epsilon, delta) alone, hence for adaptive sequences under a filter too;
- ``group_epsilon(..., "rdp")``: from the declared plan's whole curve of (epsilon, delta);
- ``group_epsilon(..., "pld")``: the group's own privacy loss distribution.

Neighbours throughout: zero-out of all m devices together, each with a coin, a report and noise-free data of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from privacy.accounting.accountants import Method, epsilon, loss, unit_of
from privacy.accounting.errors import EventInvalid, NotAttainable, UnitsMixed
from privacy.accounting.events import Event, ResponseEvent, SumEvent, TreeEvent

MAXIMUM_MEMBERS = 64
_GROUP_INTERVAL = 1e-3
"""Grid of a sampled group's privacy loss, in nats: each point is found numerically, so a coarser one than usual."""
_LEAST_LOG_DELTA = -700.0
_STEP = 1e-7
_MOST_STEPS = 2_000


class GroupFigure(NamedTuple):
    """(epsilon, delta) for a person with m devices, zero-out of all of them."""

    epsilon: float
    delta: float


def group_contract(epsilon_device: float, delta: float, members: int) -> GroupFigure:
    """What an (epsilon, delta) per device means for a person with m of them: ``(m eps, m e^((m-1) eps) delta)``.

    Dwork and Roth, "The Algorithmic Foundations of Differential Privacy" (2014), theorem 2.2 and the remark on delta;
    Vadhan, "The Complexity of Differential Privacy" (2017), lemma 2.2. A delta above 1 is returned as 1: no promise.

    Args:
        epsilon_device: per device, zero-out, at least 0.
        delta: in (0, 1).
        members: m, 1 to 64.
    """
    _check(members)
    if not 0 <= epsilon_device < math.inf or not 0 < delta < 1:
        raise EventInvalid(f"expected epsilon in [0, inf) and delta in (0, 1), got {epsilon_device!r} and {delta!r}")
    log_delta = math.log(members) + (members - 1) * epsilon_device + math.log(delta)
    return GroupFigure(members * epsilon_device, math.exp(min(0.0, log_delta)))


def group_epsilon(events: Sequence[Event], delta: float, members: int, method: Method) -> float:
    """Epsilon of a declared plan at delta for a person with m devices (zero-out of all m).

    ``pld``: a sum's group has the loss of a mixture of Gaussians, j of m coins showing heads: Ganesh, "Tight
    Group-Level DP Guarantees for DP-SGD with Sampling via Mixture of Gaussians Mechanisms" (arXiv 2401.10294), the
    theorem on Poisson sampling; as dp-accounting computes it. Responses are m independent answers.
    ``rdp``: without sampling the group is one device of m times the sensitivity. With sampling, the plan's own curve
    is searched for the device-level delta' with ``delta' (e^(m eps') - 1) / (e^eps' - 1) = delta``, where eps' is
    epsilon at delta': the last line but one of the proof of Vadhan's lemma 2.2.

    Args:
        events: the declared plan, device level.
        delta: the group's, in (0, 1).
        members: m, 1 to 64.
        method: "rdp" or "pld".

    Raises:
        UnitsMixed: a per-row event; a person's rows are not a matter of devices.
        MethodUnavailable: "pld" for tree noise.
        NotAttainable: "rdp" finds no device-level delta' that implies the group's.
    """
    _check(members)
    if any(unit_of(event) != "device" for event in events):
        raise UnitsMixed("expected device-level events for a group of devices, got per-row local steps")
    if members == 1 or not events:
        return epsilon(events, delta, method)
    if any(isinstance(event, SumEvent) and event.sampling_rate < 1 for event in events):
        return _from_curve(events, delta, members) if method == "rdp" else _from_loss(events, delta, members)
    return epsilon([_as_one(event, members) for event in events], delta, method)


def _as_one(event: Event, members: int) -> Event:
    """The group as one device: m answers, or m times the sensitivity of one (triangle inequality)."""
    if isinstance(event, ResponseEvent):
        return replace(event, count=event.count * members)
    assert isinstance(event, SumEvent | TreeEvent), "rows were refused"
    return replace(event, noise_multiplier=event.noise_multiplier / members)


def _from_curve(events: Sequence[Event], delta: float, members: int) -> float:
    log_delta = math.log(delta)
    for _ in range(_MOST_STEPS):
        if log_delta < _LEAST_LOG_DELTA:
            break
        one = epsilon(events, math.exp(log_delta), "rdp")
        excess = log_delta - math.log(delta) + _log_expm1(members * one) - _log_expm1(one) if one > 0 else -1.0
        if excess <= 0:
            return members * one
        # epsilon grows as delta' falls, so no delta' within the excess of this one can do: the step skips nothing.
        log_delta -= max(excess, _STEP)
    raise NotAttainable(f"expected a device-level delta above e^{_LEAST_LOG_DELTA:g} for {members} devices, found none")


def _from_loss(events: Sequence[Event], delta: float, members: int) -> float:
    total: Any = None
    for event in events:
        part = _group_loss(event, members)
        total = part if total is None else total.compose(part)
    return float(total.get_epsilon_for_delta(delta))


def _group_loss(event: Event, members: int) -> Any:
    if not isinstance(event, SumEvent) or event.sampling_rate == 1:
        return loss(_as_one(event, members), _GROUP_INTERVAL)
    from dp_accounting.pld import privacy_loss_distribution

    rate = event.sampling_rate
    heads = [math.comb(members, j) * rate**j * (1 - rate) ** (members - j) for j in range(members + 1)]
    return privacy_loss_distribution.from_mixture_gaussian_mechanism(
        event.noise_multiplier, list(range(members + 1)), heads, value_discretization_interval=_GROUP_INTERVAL
    ).self_compose(event.count)


def _log_expm1(value: float) -> float:
    return value + math.log(-math.expm1(-value))


def _check(members: int) -> None:
    if type(members) is not int or not 1 <= members <= MAXIMUM_MEMBERS:
        raise EventInvalid(f"expected 1 to {MAXIMUM_MEMBERS} devices of one person, got {members!r}")
