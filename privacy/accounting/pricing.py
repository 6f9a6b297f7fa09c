"""What an event costs under a contract: the one function that turns events into charges."""

from __future__ import annotations

from functools import lru_cache

from privacy.accounting.contract import MAXIMUM_RELEASES, MINIMUM_ORDER, ZCDP, Contract, Costs
from privacy.accounting.errors import EventUnsuited
from privacy.accounting.events import Event, ResponseEvent, TreeEvent


@lru_cache(maxsize=4_096)
def price(event: Event, contract: Contract) -> Costs:
    """The costs of an event in the currency of a contract's filter, nats (unit and neighbours: the event's).

    The Renyi divergence at each order of the contract. Under zCDP ``rho = count / (2 z^2)`` for an unsampled Gaussian
    (Bun and Steinke, "Concentrated Differential Privacy", TCC 2016, proposition 1.6), read off the library's
    divergence: its order times rho. No release costs less than ``cap / MAXIMUM_RELEASES``, so that their number, and
    with it what drawing their noise adds to delta, has a bound. Run by device, leader and helper before a charge; loads
    dp-accounting, at the first call for an event.

    Args:
        event: what is to happen.
        contract: whose filter pays.

    Raises:
        EventUnsuited: zCDP has no price for this event: it is sampled, or not Gaussian.
    """
    from privacy.accounting.accountants import rdp

    least = tuple(event.count * (cap / MAXIMUM_RELEASES) for cap in contract.caps)
    if contract.order != ZCDP:
        return tuple(max(rdp(event, order), low) for order, low in zip(contract.orders, least, strict=True))
    if not _unsampled_gaussian(event):
        raise EventUnsuited(f"expected a Gaussian release without sampling under a zCDP contract, got {event}")
    return (max(rdp(event, MINIMUM_ORDER) / MINIMUM_ORDER, *least),)


def _unsampled_gaussian(event: Event) -> bool:
    if isinstance(event, ResponseEvent):
        return False
    return isinstance(event, TreeEvent) or event.sampling_rate == 1
