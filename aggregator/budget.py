"""A service's own budget: ``privacy.accounting``'s ledger with its clock and its price list; storage is the caller's.

Unit and neighbours: device level, zero-out. Leader and helper each keep one, over everything they ever released.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aggregator.clock import Clock
from aggregator.errors import StoreCorrupt
from models.wire.problems import ProblemError
from models.wire.studies import Study
from privacy.accounting import (
    BudgetExhausted,
    Charge,
    Contract,
    Elapsed,
    LedgerCorrupt,
    LedgerState,
    Row,
    Times,
    can_pay,
    charge,
    forfeit,
    lifetime_epsilon,
    rdp,
    replay,
    spent_epsilon,
)
from privacy.accounting.contract import convert


@dataclass(frozen=True)
class Charged:
    """A charge that is not durable yet: the state after it, the row to store, the clock to store."""

    state: LedgerState
    row: Row
    elapsed: Elapsed


class Budget:
    """The ledger of one service between its rows.

    Args:
        contract: what is enforced.
        owner: names the service in the ledger's genesis.
        rows: stored rows, in order.
        elapsed: the stored monotonic count; None at the first start.
        clock: the service's clock.

    Raises:
        StoreCorrupt: the rows do not verify, or belong to another contract.
    """

    def __init__(
        self, contract: Contract, owner: str, rows: Iterable[bytes], elapsed: Elapsed | None, clock: Clock
    ) -> None:
        self._clock = clock
        self.lost = False
        """Rows were lost since the last start."""
        self._elapsed = elapsed or Elapsed(0.0, clock.boot, clock.monotonic())
        try:
            self.state = replay(contract, owner, (Row.parse(body) for body in rows))
        except (LedgerCorrupt, ValueError) as error:
            raise StoreCorrupt(f"the budget's ledger does not verify under these settings: {error}") from error

    def price(self, study: Study) -> float:
        """Renyi divergence of one round at the contract's order, nats. Loads dp-accounting: call in a thread."""
        return rdp(study.plan.event(), self.state.contract.order)

    def plan_epsilon(self, study: Study) -> float:
        """The filter's figure for all rounds of a study at the study's delta (device level, zero-out)."""
        return convert(study.rounds * self.price(study), self.state.contract.order, study.delta)

    def can_pay(self, rdp_nats: float) -> bool:
        """Whether a charge fits now."""
        return can_pay(self.state, rdp_nats, self._times()[0])

    def charge(self, study: Study, number: int, rdp_nats: float, approval: str) -> Charged:
        """Prepare a charge; ``settle`` it once its row is durable.

        Raises:
            ProblemError: ``budget-exhausted``.
        """
        times, elapsed = self._times()
        item = Charge(study.study_id, number, study.purpose, study.plan.event(), rdp_nats, approval, 0)
        try:
            state, row = charge(self.state, item, times)
        except BudgetExhausted as error:
            raise ProblemError("budget-exhausted", str(error)) from error
        return Charged(state, row, elapsed)

    def forfeit(self, reason: str) -> Charged:
        """Prepare a charge of everything that is left: the ledger lost rows, so what it paid for is unknown."""
        times, elapsed = self._times()
        state, row = forfeit(self.state, times, reason)
        self.lost = True
        return Charged(state, row, elapsed)

    def settle(self, charged: Charged) -> None:
        """The row is durable."""
        self.state = charged.state
        self._elapsed = charged.elapsed

    def spent_epsilon(self) -> float:
        """The filter's figure for everything that counts now (device level, zero-out)."""
        return spent_epsilon(self.state, self._times()[0])

    def lifetime_epsilon(self) -> float:
        """The odometer (device level, zero-out)."""
        return lifetime_epsilon(self.state)

    def _times(self) -> tuple[Times, Elapsed]:
        elapsed = self._elapsed.advance(self._clock.boot, self._clock.monotonic())
        return Times(self._clock.now_seconds(), elapsed.total_seconds), elapsed
