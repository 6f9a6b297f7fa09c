"""A service's own budget: ``privacy.accounting``'s ledger with its clock and its price list; storage is the caller's.

Unit and neighbours: device level, zero-out. Leader and helper each keep one, over everything they ever released.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.clock import Clock
from aggregator.errors import StoreCorrupt
from models.wire.problems import ProblemError
from models.wire.studies import Study
from privacy.accounting import (
    NO_QUOTAS,
    BudgetExhausted,
    Charge,
    Contract,
    ContractInvalid,
    Costs,
    Elapsed,
    EventUnsuited,
    LedgerCorrupt,
    LedgerState,
    Quotas,
    Row,
    Times,
    can_pay,
    charge,
    explain,
    follow,
    forfeit,
    lifetime_epsilon,
    price,
    reopen,
    replay,
    spent,
    spent_epsilon,
    spent_shares,
)


@dataclass(frozen=True)
class Charged:
    """A charge that is not durable yet: the state after it, the row to store, the clock to store."""

    state: LedgerState
    row: Row
    elapsed: Elapsed


@dataclass(frozen=True)
class Promised:
    """What an open round will be charged: devices pay when it opens, so the service must be able to when it closes."""

    purpose: str
    costs: Costs

    @classmethod
    def parse(cls, costs: str | None, study: bytes) -> Promised:
        """Of a stored round's costs and its study's bytes."""
        return cls(json.loads(study)["purpose"], tuple(json.loads(costs or "[]")))


class Budget:
    """The ledger of one service between its rows.

    Args:
        contract: what is enforced.
        owner: names the service in the ledger's genesis.
        rows: stored rows, in order.
        elapsed: the stored monotonic count; None at the first start.
        clock: the service's clock.
        quotas: what each purpose may take of it; policy, and no part of the ledger.

    Raises:
        StoreCorrupt: the rows do not verify, or belong to another contract.
    """

    def __init__(
        self,
        contract: Contract,
        owner: str,
        rows: Sequence[bytes],
        elapsed: Elapsed | None,
        clock: Clock,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        self._clock = clock
        self._quotas = quotas
        self.lost = False
        """Rows were lost since the last start."""
        self._elapsed = elapsed or Elapsed(0.0, clock.boot, clock.monotonic())
        try:
            self.state = replay(contract, owner, rows)
        except LedgerCorrupt as error:
            raise _corrupt(error) from error

    def reopened(self, contract: Contract, owner: str, quotas: Quotas) -> tuple[Budget, list[Charged]]:
        """This budget under another contract, its spend carried over in a charge for each purpose that has any.

        Each of them comes with the state after all: they are stored together.

        Raises:
            StoreCorrupt: what was spent cannot be stated under the other contract's filter.
        """
        times, elapsed = self._times()
        try:
            state, rows = reopen(self.state, contract, owner, times, "contract changed", keep_purposes=True)
        except ContractInvalid as error:
            raise StoreCorrupt(f"the ledger cannot go on under this contract: {error}") from error
        following = Budget(contract, owner, [], self._elapsed, self._clock, quotas)
        return following, [Charged(state, row, elapsed) for row in rows]

    def price(self, study: Study) -> Costs:
        """Costs of one round under the contract's filter, nats. Loads dp-accounting: call in a thread.

        Raises:
            ProblemError: ``invalid-study``: the filter has no price for such a round (zCDP: a sampled one).
        """
        try:
            return price(study.plan.event(), self.state.contract)
        except EventUnsuited as error:
            raise ProblemError("invalid-study", str(error)) from error

    def plan_epsilon(self, study: Study) -> float:
        """The filter's figure for all rounds of a study at the study's delta (device level, zero-out)."""
        return self.epsilon_of(study, study.rounds)

    def epsilon_after(self, study: Study) -> float:
        """The filter's figure for what counts now with all rounds of a study on top (device level, zero-out)."""
        counting, planned = spent(self.state, self._times()[0]), self._of_plan(study, study.rounds)
        return self.state.contract.epsilon_of(tuple(map(sum, zip(counting, planned, strict=True))))

    def epsilon_of(self, study: Study, rounds: int) -> float:
        """What so many rounds of a study cost a device that took part in each, by the filter of the contract in force.

        At the study's delta (device level, zero-out). A device pays when a round opens and gets nothing back, so give
        the rounds that were *opened*: the ledger has no row for one that was abandoned before it was charged here, and
        rows from before a changed contract are in another currency.

        Raises:
            ProblemError: as ``price``.
        """
        return self.state.contract.epsilon_of(self._of_plan(study, rounds), study.delta)

    def require_payable(self, study: Study, costs: Costs, promised: Sequence[Promised]) -> None:
        """Return if a charge of these costs fits now beside what every open round will be charged.

        Raises:
            ProblemError: ``budget-exhausted``: by the contract, or by its purpose's quota.
        """
        times, purpose, nothing = self._times()[0], study.purpose, (0.0,) * len(costs)
        total = _total(costs, [item.costs or nothing for item in promised])
        if not can_pay(self.state, total, times):
            raise ProblemError("budget-exhausted", "the ledger cannot pay for this round beside those that are open")
        own = _total(costs, [item.costs or nothing for item in promised if item.purpose == purpose])
        if not can_pay(self.state, own, times, purpose=purpose, quotas=self._quotas):
            raise ProblemError("budget-exhausted", f"expected a round for purpose {purpose!r} within its quota")

    def charge(self, study: Study, number: int, costs: Costs, approval: str) -> Charged:
        """Prepare a charge; ``settle`` it once its row is durable.

        Raises:
            ProblemError: ``budget-exhausted``: by the contract, or by its purpose's quota.
        """
        times, elapsed = self._times()
        item = Charge(study.study_id, number, study.purpose, study.plan.event(), costs, approval, 0)
        try:
            state, row = charge(self.state, item, times, self._quotas)
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
        if charged.row.index >= self.state.length:  # else a reader has followed it already, and maybe more
            self.state = charged.state
        self._elapsed = self._later(charged.elapsed)

    def follow(self, rows: Sequence[tuple[int, bytes]], elapsed: Elapsed | None) -> None:
        """Take in what other processes have charged to the same ledger.

        Args:
            rows: (index, body) of stored rows, in order; those that are known already are passed over.
            elapsed: the stored monotonic count.

        Raises:
            StoreCorrupt: they do not follow the rows that are known.
        """
        fresh = [body for index, body in rows if index >= self.state.length]
        if fresh:
            try:
                self.state = follow(self.state, fresh)
            except LedgerCorrupt as error:
                raise _corrupt(error) from error
        if elapsed is not None:
            self._elapsed = self._later(elapsed)

    def spent_epsilon(self) -> float:
        """The filter's figure for everything that counts now (device level, zero-out)."""
        return spent_epsilon(self.state, self._times()[0])

    def spent_shares(self) -> dict[str, float]:
        """By purpose, the part of the budget that its charges take now, as quotas count it."""
        return spent_shares(self.state, self._times()[0])

    def lifetime_epsilon(self) -> float:
        """The odometer (device level, zero-out)."""
        return lifetime_epsilon(self.state)

    def _later(self, other: Elapsed) -> Elapsed:
        """The larger of two counts: neither is ever more than the time that passed, so the larger is not either."""
        own, theirs = (count.advance(self._clock.boot, self._clock.monotonic()) for count in (self._elapsed, other))
        return theirs if theirs.total_seconds > own.total_seconds else own

    def _of_plan(self, study: Study, rounds: int) -> Costs:
        return tuple(rounds * cost for cost in self.price(study)) if rounds else (0.0,) * len(self.state.spent)

    def _times(self) -> tuple[Times, Elapsed]:
        elapsed = self._elapsed.advance(self._clock.boot, self._clock.monotonic())
        return Times(self._clock.now_seconds(), elapsed.total_seconds), elapsed


def _total(costs: Costs, others: Sequence[Costs]) -> Costs:
    return tuple(map(math.fsum, zip(costs, *others, strict=True)))


def check_last_row(rows: Sequence[bytes], heads: Sequence[bytes]) -> None:
    """Return unless the last row was altered in one byte: the mirror's heads tell, since no later row does.

    Raises:
        StoreCorrupt: naming the row and the byte.
    """
    for head in heads:
        error = explain(rows, head)
        if error is not None:
            raise _corrupt(error) from error


def _corrupt(error: LedgerCorrupt) -> StoreCorrupt:
    return StoreCorrupt(f"the budget's ledger does not verify under these settings: {error}")
