"""The contract that a privacy filter enforces, in plain arithmetic: nothing heavy is imported to spend a budget.

Three filters, one of which a contract fixes beforehand. All are sound whatever is asked next and whatever was seen
before, and when several studies are interleaved (Haney et al., "Concurrent Composition for Interactive Differential
Privacy with Adaptive Privacy-Loss Parameters", CCS 2023).

*One order* (``order=7``). Feldman and Zrnic, "Individual Privacy Accounting via a Renyi Filter", NeurIPS 2021, theorem
4.3: as long as the Renyi divergences of that order of all releases sum to at most the cap, everything released together
is (order, cap)-RDP, hence (epsilon, delta)-DP. Choosing the order *after* the fact would not be covered.

*Several orders* (``order=(7, 9, 12)``), each a filter of its own at delta/K. A charge is admitted while *at least one*
of them has room. Proof: let T_k be the last release before the sum at order k would pass cap_k: a stopping time, at
which theorem 4.3 bounds the hockey-stick divergence by delta/K. Let T be the last release that was admitted. At T some
order k still held its cap, so T <= T_k, and the stopped transcript at T is that at min(T, T_k), for a k that the
transcript itself determines. Write L for the privacy loss of a transcript. Then, pointwise,
``max(0, 1 - exp(epsilon - L_T)) <= sum over k of max(0, 1 - exp(epsilon - L_min(T, T_k)))``, and in expectation the
divergence at T is at most K delta/K = delta. What was spent converts to the least epsilon of the orders, each at
delta/K. In a rolling window, apply this to the charges inside any one window: when each was admitted, at least those
before it in the window counted.

*zCDP* (``order="zcdp"``), for releases without sampling only: rho of all releases sums to at most the cap. Whitehouse,
Ramdas, Rogers and Wu, "Fully Adaptive Composition in Differential Privacy", ICML 2023: under a rho filter
``exp((a - 1)(L - a rho))`` is a supermartingale for *every* order a > 1 at once, so everything together is
(a, a rho)-RDP for all of them, and the conversion may take the best.

*Sampled noise.* What is released is drawn from integer tables, not from the exact discrete Gaussian. The total
variation between them, ``(1 + e^epsilon) d T TV`` for T releases of d entries, is taken out of delta before anything is
spent (:func:`sampler_share`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

from privacy.accounting.errors import ContractInvalid
from privacy.accounting.events import Event

MINIMUM_ORDER = 2
MAXIMUM_ORDER = 1024
MAXIMUM_ORDERS = 32
"""The most orders of one contract: each of them costs ln(K)/(a - 1) of epsilon."""
MAXIMUM_RELEASES = 2**32
"""The most releases that one window can pay for: ``price`` charges each at least that part of the cap."""
DAY_SECONDS = 86_400
ZCDP: Final = "zcdp"

Order = int | tuple[int, ...] | Literal["zcdp"]
"""One integer order, several in increasing order, or zCDP."""
Costs = tuple[float, ...]
"""What a release costs in the filter's currency, nats: a Renyi divergence for each order, or rho alone."""

_ZCDP_ORDERS: Final = tuple(1 + 2 ** (step / 32) for step in range(-192, 545))
"""Orders from 1.016 to 131,073 among which zCDP is converted; between two of them nothing of note is lost."""
_TERMS = struct.Struct(">ddQQ")
_ORDER = struct.Struct(">H")


def convert(rdp: float, order: float, delta: float) -> float:
    """Epsilon of an (order, rdp)-RDP release at delta.

    ``epsilon = rdp + ln(1 - 1/a) - ln(a delta) / (a - 1)``: Canonne, Kamath and Steinke, "The Discrete Gaussian for
    Differential Privacy" (arXiv 2004.00010v4), proposition 12, which tightens Mironov (arXiv 1702.07476v3),
    proposition 3. And 0 where ``delta >= sqrt(1 - exp(-rdp))`` (Bretagnolle and Huber: total variation through KL).
    Both rules are those of dp-accounting's ``compute_epsilon``, to the last digit.

    Args:
        rdp: Renyi divergence of the order, in nats, in [0, inf].
        order: alpha, above 1.
        delta: in (0, 1).
    """
    if delta**2 + math.expm1(-rdp) > 0:
        return 0.0
    return max(0.0, rdp + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))


def sampler_share(epsilon: float) -> float:
    """The part of delta that pays for noise drawn from tables: ``(1 + e^epsilon) 2^32 2^24 2^-136``.

    At most ``MAXIMUM_RELEASES`` releases in a window, of at most 2^24 entries, each entry within 2^-136 in total
    variation of the exact discrete Gaussian (``privacy.mechanisms.sampler_delta``, where the inequality is proven). At
    epsilon 4 that is 5e-23. Unit and neighbours are the contract's.

    Args:
        epsilon: the contract's, in (0, 1000]; infinite where e^epsilon is.
    """
    try:
        return (1.0 + math.exp(epsilon)) * 2.0 ** (32 + 24 - 136)
    except OverflowError:
        return math.inf


def largest_epsilon(delta: float) -> float:
    """The largest epsilon that a contract at this delta may have (see ``sampler_share``): 40.9 at 1e-6.

    Args:
        delta: in (0, 1).
    """
    return math.log(delta / 2.0 * 2.0**80 - 1.0) if delta > 2.0**-77 else 0.0


def _cap(epsilon: float, delta: float, order: float, rate: float = 1.0) -> float:
    """The largest spend that converts to at most epsilon, where ``rate * spend`` is the divergence of the order."""
    cap = (epsilon - math.log1p(-1 / order) + math.log(delta * order) / (order - 1)) / rate
    # Rounding may leave the cap a few units in the last place too high; the promise is about epsilon, so step down.
    while cap > 0 and convert(rate * cap, order, delta) > epsilon:
        cap = math.nextafter(cap, 0.0)
    return cap


@dataclass(frozen=True, slots=True)
class Contract:
    """(epsilon, delta)-DP over everything charged to one ledger within any window, enforced by one filter.

    Unit and neighbours are those of the ledger's events: for the contract with a visitor, one device, zero-out.

    Attributes:
        epsilon: above 0, and so small that the sampler's share is at most half of delta: up to 40.9 at delta 1e-6.
        delta: in (0, 1).
        order: the filter: an integer order, 2 to 1024; a tuple of up to 32 of them, increasing; or "zcdp". It cannot
            change with hindsight. A tuple of one is that one order.
        window_seconds: how long a charge counts, at least 1; 30 days unless said.
        caps: what the charges inside any window may sum to in the filter's currency (nats): one figure for each order,
            of which one has to be kept; or one rho.

    Raises:
        ContractInvalid: a figure is outside its range, or delta alone costs more than epsilon at one of the orders.
    """

    epsilon: float
    delta: float
    order: Order
    window_seconds: int = 30 * DAY_SECONDS
    caps: Costs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_target(self.epsilon, self.delta)
        object.__setattr__(self, "order", _checked(self.order))
        if type(self.window_seconds) is not int or not 1 <= self.window_seconds < 2**53:
            raise ContractInvalid(f"expected whole window_seconds of at least 1, got {self.window_seconds!r}")
        if (share := sampler_share(self.epsilon)) > self.delta / 2:
            raise ContractInvalid(
                f"expected an epsilon at which drawing noise costs at most half of delta {self.delta:g}, got "
                f"{self.epsilon:g}, where it costs {share:.2g}: at such an epsilon nothing is protected"
            )
        usable = self.delta - share
        caps: Costs
        if self.order == ZCDP:
            caps = (max(_cap(self.epsilon, usable, order, order) for order in _ZCDP_ORDERS),)
        else:
            caps = tuple(_cap(self.epsilon, usable / len(self.orders), order) for order in self.orders)
        if min(caps) <= 0:
            raise ContractInvalid(self._nothing_to_spend(caps))
        object.__setattr__(self, "caps", caps)

    @property
    def orders(self) -> tuple[int, ...]:
        """The filter's integer orders; none for zCDP."""
        if isinstance(self.order, str):
            return ()
        return (self.order,) if isinstance(self.order, int) else self.order

    def epsilon_of(self, spent: Costs, delta: float | None = None) -> float:
        """The filter's figure for a spend: epsilon, with the unit and neighbours of the ledger's events.

        The least of the orders, each at delta/K (see ``convert``); the best order of all for zCDP.

        Args:
            spent: sums of the charges' costs in the filter's currency, nats, each in [0, inf].
            delta: in (0, 1); the contract's own unless given.
        """
        delta = (self.delta if delta is None else delta) - sampler_share(self.epsilon)
        if delta <= 0:
            return math.inf
        if self.order == ZCDP:
            return _zcdp_epsilon(*spent, delta)
        each = zip(spent, self.orders, strict=True)
        return min(convert(figure, order, delta / len(self.orders)) for figure, order in each)

    def terms(self) -> bytes:
        """The contract in bytes: what a ledger's genesis binds. ``read_terms`` is the way back."""
        one = self.order if isinstance(self.order, int) else 0
        several = b"" if one else b"".join(map(_ORDER.pack, self.orders))
        return _TERMS.pack(self.epsilon, self.delta, one, self.window_seconds) + several

    def _nothing_to_spend(self, caps: Costs) -> str:
        best = suggest_order(self.epsilon, self.delta)  # refuses where nothing at all can be enforced
        useless = [order for order, cap in zip(self.orders or (ZCDP,), caps, strict=True) if cap <= 0]
        return (
            f"order {useless[0]} leaves nothing to spend at epsilon {self.epsilon:g}, delta {self.delta:g}"
            f"{f' shared by {len(caps)} orders' if len(caps) > 1 else ''}; expected one like {best}"
        )


def read_terms(data: bytes) -> Contract:
    """The contract whose ``terms`` these bytes are.

    Raises:
        ContractInvalid: they are no contract's.
    """
    try:
        epsilon, delta, one, window_seconds = _TERMS.unpack_from(data)
        several = tuple(order for (order,) in _ORDER.iter_unpack(data[_TERMS.size :]))
    except struct.error:
        raise ContractInvalid(f"expected the terms of a contract, got {len(data)} other bytes") from None
    contract = Contract(epsilon, delta, one or several or ZCDP, window_seconds)
    if contract.terms() != data:
        raise ContractInvalid("expected the terms of a contract as they are written, got another spelling")
    return contract


def suggest_order(epsilon: float, delta: float, event: Event | None = None) -> int:
    """The integer order at which the filter can pay for the most releases, to write into a contract beforehand.

    Maximises ``cap(order) / rdp(event, order)``. Without an event, a release costs ``order / (2 z^2)``, the
    unsampled Gaussian, so that the noise multiplier cancels. Under hidden sampling the cost rises steeply from some
    order on: pass the event that the studies will mostly use. (The cap alone is no guide: it grows with the order
    almost without end while what a release costs grows faster.)

    Args:
        epsilon: the contract's, in (0, 1000].
        delta: the contract's, in (0, 1).
        event: the typical release; given one, dp-accounting is loaded to price it.

    Raises:
        ContractInvalid: a figure is outside its range, or no order leaves anything to spend.
    """
    _check_target(epsilon, delta)
    caps = {order: _cap(epsilon, delta, order) for order in range(MINIMUM_ORDER, MAXIMUM_ORDER + 1)}
    best = _most_releases(caps, _price_of(event))
    if not best:
        raise ContractInvalid(f"no order up to {MAXIMUM_ORDER} enforces epsilon {epsilon:g} at delta {delta:g}")
    return best


def _most_releases(caps: dict[int, float], price: Callable[[int], float]) -> int:
    largest_cap = max(caps.values())
    best, best_releases = 0, 0.0
    for order, cap in caps.items():
        if cap / price(order) > best_releases:
            best, best_releases = order, cap / price(order)
        if largest_cap / price(order) <= best_releases:
            break  # a divergence never falls as its order rises, so no later order can pay for more
    return best


def _price_of(event: Event | None) -> Callable[[int], float]:
    if event is None:
        return float
    from privacy.accounting.accountants import rdp  # here: a ledger never prices, and must not load dp-accounting

    return lambda order: rdp(event, order)


@lru_cache(maxsize=4_096)
def _zcdp_epsilon(rho: float, delta: float) -> float:
    return min(convert(order * rho, order, delta) for order in _ZCDP_ORDERS)


def _checked(order: object) -> Order:
    """The order in its one spelling."""
    if order == ZCDP:
        return ZCDP
    several = order if isinstance(order, tuple) else (order,)
    if not 1 <= len(several) <= MAXIMUM_ORDERS or not all(map(_is_order, several)) or not _increases(several):
        raise ContractInvalid(
            f"expected an integer order, {MINIMUM_ORDER} to {MAXIMUM_ORDER}, up to {MAXIMUM_ORDERS} increasing ones, "
            f"or {ZCDP!r}, got {order!r}"
        )
    return several if len(several) > 1 else several[0]


def _is_order(value: object) -> bool:
    return type(value) is int and MINIMUM_ORDER <= value <= MAXIMUM_ORDER


def _increases(orders: Iterable[int]) -> bool:
    return all(a < b for a, b in pairwise(orders))


def _check_target(epsilon: float, delta: float) -> None:
    if not 0 < epsilon <= 1000:  # noqa: PLR2004  # documented range; beyond it nothing is protected
        raise ContractInvalid(f"expected epsilon in (0, 1000], got {epsilon!r}")
    if not 0 < delta < 1:
        raise ContractInvalid(f"expected delta in (0, 1), got {delta!r}")
