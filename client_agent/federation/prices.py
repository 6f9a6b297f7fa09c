"""What one round costs a device, computed once for everyone behind this agent (dp-accounting: only in the worker)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from client_agent.errors import RoundRefused
from client_agent.federation.trust import VerifiedRound
from models.learning.plans import LOCAL_EPSILON_CAP, local_contract
from models.wire.studies import TrainQuery
from privacy.accounting import (
    AccountingError,
    Contract,
    Costs,
    EventUnsuited,
    LocalEvent,
    SumEvent,
    price,
    rdp,
)
from privacy.accounting.contract import convert

_ORDERS = (*range(2, 65), 96, 128, 192, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class LocalPrice:
    """The local layer's share: per training row, zero-out, cumulative over the study's rounds.

    Attributes:
        contract: the study's own filter on this device.
        event: what one turn of local training is.
        costs: what it costs in the filter's currency, nats.
    """

    contract: Contract
    event: LocalEvent
    costs: Costs


@dataclass(frozen=True, slots=True)
class RoundPrice:
    """What a round costs: device level, zero-out, subsampled by the device's own coin.

    Attributes:
        event: the private sum.
        costs: what it costs in the currency of the contract's filter, nats; infinite where the filter has no price for
            it: no device can pay then, and all send nulls.
        local: the local layer's share, None where the study declares no local noise.
    """

    event: SumEvent
    costs: Costs
    local: LocalPrice | None


def price_round(found: VerifiedRound, contract: Contract, local_epsilon_cap: float = LOCAL_EPSILON_CAP) -> RoundPrice:
    """Price a verified round under this device's contract. Run by the worker, once a round, before it is admitted.

    Raises:
        RoundRefused: no event or filter has such constants. The study's alone decide, so it is refused everywhere.
    """
    try:
        return _price(found, contract, local_epsilon_cap)
    except AccountingError as error:
        raise RoundRefused("parameters", str(error)) from None


def _price(found: VerifiedRound, contract: Contract, local_epsilon_cap: float) -> RoundPrice:
    study = found.study
    event = study.plan.event()
    local = None
    if isinstance(study.query, TrainQuery) and study.query.local.noise_multiplier > 0:
        plan = study.query.local
        filtered = local_contract(min(local_epsilon_cap, plan.epsilon_cap or local_epsilon_cap), study.delta)
        turn = LocalEvent(plan.noise_multiplier, 1.0, plan.steps)
        local = LocalPrice(filtered, turn, price(turn, filtered))
    try:
        costs = price(event, contract)
    except EventUnsuited:
        costs = (math.inf,) * len(contract.caps)
    return RoundPrice(event, costs, local)


def check_cap(found: VerifiedRound) -> None:
    """Insist that the study's declared plan fits into its own cap (device level, zero-out, the study's delta).

    The figure is the best of many orders: no honest study is refused because this device's filter has another order
    than the leader's. Run by the worker, once a round.

    Raises:
        RoundRefused: it costs more than it says, or nothing prices it.
    """
    study = found.study
    try:
        plan = replace(study.plan.event(), count=study.rounds)
        cost = min(convert(rdp(plan, order), order, study.delta) for order in _ORDERS)
    except AccountingError as error:
        raise RoundRefused("parameters", str(error)) from None
    if cost > study.epsilon_cap:
        raise RoundRefused("cap", f"expected a plan within epsilon {study.epsilon_cap:g}, got {cost:.4g}")
