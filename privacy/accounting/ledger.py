"""The budget: one append-only, hash-chained ledger, the same code for device, leader and helper. Sans-I/O.

Theory of operation. A ``LedgerState`` is a value; ``charge`` returns the next state and the row to store. The caller
stores the row durably, and only then lets anything leave: a crash in between costs budget, never privacy. Nothing is
ever refunded. A ledger holds charges of one privacy unit: a device keeps one for sums (the contract) and, where a study
declares local noise, another for training rows.

*Window.* A row keeps both clocks as read. For expiry it is stamped with the latest reading of each clock that the
ledger has seen, and it stops counting when both clocks, as read *now*, are past the stamp by the window. Suppose one
clock is honest, whatever the other does. Its stamp is then the true time of the charge, so no charge stops counting
before the window has truly passed, and the charges inside any true window were all within the filter:

- a clock turned back at a charge is stamped by what was seen before, so turning it forward again gains nothing;
- a clock turned forward passes one of the two tests, never both, and stamps later charges late, so they count longer;
- two clocks turned forward at different moments do not add up, since both are read at the same moment.

Stamps never run backwards, so the charges that stopped counting are always the oldest ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from privacy.accounting.book import Book, LedgerState, counting, holds, open_ledger
from privacy.accounting.contract import Contract, Costs
from privacy.accounting.errors import AccountingError, LedgerCorrupt
from privacy.accounting.quotas import NO_QUOTAS, Quotas
from privacy.accounting.rows import Charge, Row
from privacy.accounting.times import Times
from privacy.accounting.units import cap_units, costs_of
from privacy.accounting.verification import locate


def can_pay(state: LedgerState, costs: Costs, times: Times, *, purpose: str = "", quotas: Quotas = NO_QUOTAS) -> bool:
    """Whether a charge of these costs (nats, the filter's currency) fits now; NaN and negatives never.

    Args:
        state: the ledger as it stands.
        costs: ``price(event, contract)``.
        times: both clocks, read now.
        purpose: whose quota has to cover it too.
        quotas: none unless given.
    """
    if len(costs) != len(state.spent) or not all(cost >= 0 for cost in costs):
        return False
    book = Book(state)
    book.expire(times)
    return book.refusal(purpose, costs, quotas) is None


def is_charged(state: LedgerState, study: str, round_: int) -> bool:
    """Whether this (study, round) has its row."""
    return holds(state.charged, study, round_)


def charge(state: LedgerState, item: Charge, times: Times, quotas: Quotas = NO_QUOTAS) -> tuple[LedgerState, Row]:
    """Append a charge. Run by device, leader and helper *before* anything is released; the row is stored first.

    The privacy unit and neighbours are the event's (device level and zero-out for a ``SumEvent``). A caller that may
    have crashed looks for its durable report first: a charge without a report is spent all the same.

    Args:
        state: the ledger as it stands.
        item: the charge, its ``costs`` those of ``price`` under the ledger's contract.
        times: both clocks, read now.
        quotas: what its purpose may take of the contract; none unless given.

    Returns:
        The next state and the row to store.

    Raises:
        ChargeInvalid: costs in another currency than the contract's.
        AlreadyCharged: this (study, round) has its row.
        BudgetExhausted: the contract does not cover it now.
        QuotaExhausted: the contract would cover it, its purpose's quota does not. The state is unchanged in all cases.
    """
    book = Book(state)
    book.admit(item, times, quotas)
    row = Row.follow(state.length, state.head, item, times)
    book.append(row)
    return book.close(), row


def replay(contract: Contract, owner: str, bodies: Sequence[bytes], head: bytes | None = None) -> LedgerState:
    """Rebuild the state from stored rows, by the very rules that admitted them; quotas need no second look.

    The chain cannot show that its *last* rows are missing, nor vouch for the last row, whose digest no other row keeps.
    Give the head where it is known, or compare ``state.head`` with the mirror and ``forfeit`` where they differ.

    Args:
        contract: what the ledger was opened under.
        owner: whose it is.
        bodies: the stored rows, in order.
        head: the digest that the last row must have, if it is known.

    Raises:
        LedgerCorrupt: naming the row that is wrong, and the byte if one byte explains it. The first such row: also
            where it still reads well, and only the row after it shows the damage.
    """
    book = Book(open_ledger(contract, owner))
    genesis = book.head
    for index, body in enumerate(bodies):
        try:
            book.follow(Row.parse(body))
        except AccountingError as error:
            reason = error.reason if isinstance(error, LedgerCorrupt) else f"could not have been charged: {error}"
            raise locate(bodies, index, reason, genesis, head) from None
    if head is not None and book.head != head:
        raise locate(bodies, len(bodies), "another head was expected", genesis, head)
    return book.close()


def follow(state: LedgerState, bodies: Sequence[bytes]) -> LedgerState:
    """Add rows that another writer of the same ledger has stored since, by the very rules that admitted them.

    Run by a service that shares its ledger with others, before it charges. The state is unchanged where this raises.

    Args:
        state: the ledger as this writer last saw it.
        bodies: every row that was stored since, in order.

    Raises:
        LedgerCorrupt: a row does not follow the state's last one, does not read, or could not have been charged.
    """
    book = Book(state)
    for index, body in enumerate(bodies, state.length):
        try:
            book.follow(Row.parse(body))
        except LedgerCorrupt:
            raise
        except AccountingError as error:
            raise LedgerCorrupt(index, f"could not have been charged: {error}") from None
    return book.close()


def spent(state: LedgerState, times: Times, purpose: str | None = None) -> Costs:
    """What counts now, in all or for one purpose, in the filter's currency (nats, each figure rounded up)."""
    return costs_of(counting(state, times, purpose))


def spent_epsilon(state: LedgerState, times: Times) -> float:
    """The filter's figure for what counts now: epsilon at the contract's delta; unit and neighbours as the events'."""
    return state.contract.epsilon_of(spent(state, times))


def spent_shares(state: LedgerState, times: Times) -> dict[str, float]:
    """By purpose, the share of the cap that its counting charges take, as quotas count it: of the order with most room.

    Shares can add up to more than 1 where orders have room for different purposes.
    """
    caps, shares = cap_units(state.contract), {}
    for purpose in state.by_purpose:
        taken = counting(state, times, purpose)
        if any(taken):
            shares[purpose] = min(figure / cap for figure, cap in zip(taken, caps, strict=True))
    return shares


def lifetime_epsilon(state: LedgerState) -> float:
    """The odometer: epsilon of everything ever charged, at the contract's delta and by its filter.

    A reading, not a promise: what the contract bounds is any one window.
    """
    return state.contract.epsilon_of(costs_of(state.lifetime))
