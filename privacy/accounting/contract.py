"""The contract that a Renyi filter enforces, in plain arithmetic: nothing heavy is imported to spend a budget.

The filter (Feldman and Zrnic, "Individual Privacy Accounting via a Renyi Filter", NeurIPS 2021, theorem 4.3): fix one
order alpha; as long as the Renyi divergences of order alpha of all releases, each chosen after seeing the earlier ones,
sum to at most the cap, everything released together is (alpha, cap)-RDP, hence (epsilon, delta)-DP. Interleaving
several studies is covered too (Haney et al., "Concurrent Composition for Interactive Differential Privacy with
Adaptive Privacy-Loss Parameters", CCS 2023). Choosing the order *after* the fact would not be covered: here it is
fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from privacy.accounting.errors import ContractInvalid
from privacy.accounting.events import Event

MINIMUM_ORDER = 2
MAXIMUM_ORDER = 1024
DAY_SECONDS = 86_400


def convert(rdp: float, order: int, delta: float) -> float:
    """Epsilon of an (order, rdp)-RDP release at delta.

    ``epsilon = rdp + ln(1 - 1/a) - ln(a delta) / (a - 1)``: Canonne, Kamath and Steinke, "The Discrete Gaussian for
    Differential Privacy" (arXiv 2004.00010v4), proposition 12, which tightens Mironov (arXiv 1702.07476v3),
    proposition 3. And 0 where ``delta >= sqrt(1 - exp(-rdp))`` (Bretagnolle and Huber: total variation through KL).
    Both rules are those of dp-accounting's ``compute_epsilon``, to the last digit.

    Args:
        rdp: Renyi divergence of the order, in nats, in [0, inf].
        order: alpha, an integer of at least 2.
        delta: in (0, 1).
    """
    if delta**2 + math.expm1(-rdp) > 0:
        return 0.0
    return max(0.0, rdp + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))


def _cap(epsilon: float, delta: float, order: int) -> float:
    cap = epsilon - math.log1p(-1 / order) + math.log(delta * order) / (order - 1)
    # Rounding may leave the cap a few units in the last place too high; the promise is about epsilon, so step down.
    while cap > 0 and convert(cap, order, delta) > epsilon:
        cap = math.nextafter(cap, 0.0)
    return cap


@dataclass(frozen=True, slots=True)
class Contract:
    """(epsilon, delta)-DP over everything charged to one ledger within any window, enforced at one Renyi order.

    Unit and neighbours are those of the ledger's events: for the contract with a visitor, one device, zero-out.

    Attributes:
        epsilon: in (0, 1000].
        delta: in (0, 1).
        order: the one integer order alpha of the filter, 2 to 1024; it cannot change with hindsight.
        window_seconds: how long a charge counts, at least 1; 30 days unless said.
        rdp_cap: what the charges inside any window may sum to (Renyi, nats).

    Raises:
        ContractInvalid: a figure is outside its range, or delta alone costs more than epsilon at this order.
    """

    epsilon: float
    delta: float
    order: int
    window_seconds: int = 30 * DAY_SECONDS
    rdp_cap: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_target(self.epsilon, self.delta)
        if type(self.order) is not int or not MINIMUM_ORDER <= self.order <= MAXIMUM_ORDER:
            raise ContractInvalid(f"expected an integer order, {MINIMUM_ORDER} to {MAXIMUM_ORDER}, got {self.order!r}")
        if type(self.window_seconds) is not int or not 1 <= self.window_seconds < 2**53:
            raise ContractInvalid(f"expected whole window_seconds of at least 1, got {self.window_seconds!r}")
        cap = _cap(self.epsilon, self.delta, self.order)
        if cap <= 0:
            best = suggest_order(self.epsilon, self.delta)
            raise ContractInvalid(
                f"order {self.order} leaves nothing to spend at epsilon {self.epsilon:g}, delta {self.delta:g}; "
                f"expected one like {best}"
            )
        object.__setattr__(self, "rdp_cap", cap)

    def epsilon_of(self, rdp_spent: float) -> float:
        """The contract's figure for a spend: epsilon at this delta and order (see ``convert``).

        Args:
            rdp_spent: sum of the charges' Renyi divergences at this order, in nats, in [0, inf].
        """
        return convert(rdp_spent, self.order, self.delta)


def suggest_order(epsilon: float, delta: float, event: Event | None = None) -> int:
    """The integer order at which the filter can pay for the most releases, to write into a contract beforehand.

    Maximises ``rdp_cap(order) / rdp(event, order)``. Without an event, a release costs ``order / (2 z^2)``, the
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
    largest_cap = max(caps.values())
    best, best_releases = 0, 0.0
    for order, cap in caps.items():
        price = order if event is None else _price(event, order)
        if cap / price > best_releases:
            best, best_releases = order, cap / price
        if largest_cap / price <= best_releases:
            break  # a divergence never falls as its order rises, so no later order can pay for more
    if not best:
        raise ContractInvalid(f"no order up to {MAXIMUM_ORDER} enforces epsilon {epsilon:g} at delta {delta:g}")
    return best


def _price(event: Event, order: int) -> float:
    from privacy.accounting.accountants import rdp  # here: a ledger never prices, and must not load dp-accounting

    return rdp(event, order)


def _check_target(epsilon: float, delta: float) -> None:
    if not 0 < epsilon <= 1000:  # noqa: PLR2004  # documented range; beyond it nothing is protected
        raise ContractInvalid(f"expected epsilon in (0, 1000], got {epsilon!r}")
    if not 0 < delta < 1:
        raise ContractInvalid(f"expected delta in (0, 1), got {delta!r}")
