"""The budget: one append-only, hash-chained ledger, the same code for device, leader and helper. Sans-I/O.

Theory of operation. A ``LedgerState`` is a value; ``charge`` returns the next state and the row to store. The caller
stores the row durably, and only then lets anything leave: a crash in between costs budget, never privacy. Nothing is
ever refunded. A ledger holds charges of one privacy unit: a device keeps one for sums (the contract) and, where a study
declares local noise, another for training rows.

*Window.* A row keeps both clocks as read. For expiry it is stamped with the latest reading of each clock that the
ledger has seen, and it stops counting when both clocks, as read *now*, are past the stamp by the window. Suppose one
clock is honest, whatever the other does. Its stamp is then the true time of the charge, so no charge stops counting
before the window has truly passed, and the charges inside any true window sum to at most the cap:

- a clock turned back at a charge is stamped by what was seen before, so turning it forward again gains nothing;
- a clock turned forward passes one of the two tests, never both, and stamps later charges late, so they count longer;
- two clocks turned forward at different moments do not add up, since both are read at the same moment.

Stamps never run backwards, so the charges that stopped counting are always the oldest ones.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from privacy.accounting.contract import Contract
from privacy.accounting.errors import AccountingError, AlreadyCharged, BudgetExhausted, ContractInvalid, LedgerCorrupt
from privacy.accounting.events import CarriedEvent
from privacy.accounting.rows import CARRIED_STUDY, Charge, Row
from privacy.accounting.times import Times
from privacy.crypto.canonical import digest


class Active(NamedTuple):
    """A charge that may still count: when it was stamped, what it cost, for which purpose."""

    times: Times
    rdp: float
    purpose: str


@dataclass(frozen=True, slots=True)
class LedgerState:
    """A ledger between two rows.

    Attributes:
        contract: what is enforced.
        head: digest of the last row, or the genesis (32 bytes). Mirrored elsewhere, it shows a restored back-up.
        length: rows so far.
        active: the charges that counted at the last row, oldest first.
        lifetime_rdp: the odometer: everything ever charged (Renyi, nats).
        latest: the latest reading of each clock in any row.
        charged: per study, the rounds that have a row, as sorted bounds of half-open runs (start, stop, start, ...).
    """

    contract: Contract
    head: bytes
    length: int
    active: tuple[Active, ...]
    lifetime_rdp: float
    latest: Times
    charged: Mapping[str, tuple[int, ...]]


def open_ledger(contract: Contract, owner: str) -> LedgerState:
    """An empty ledger; its genesis head binds the owner's name and the contract."""
    terms = struct.pack(">ddQQ", contract.epsilon, contract.delta, contract.order, contract.window_seconds)
    return LedgerState(contract, digest("ledger", owner.encode(), terms), 0, (), 0.0, Times(0, 0.0), {})


def can_pay(state: LedgerState, rdp: float, times: Times) -> bool:
    """Whether a charge of this Renyi divergence (nats, at the contract's order) fits now; NaN and negatives never."""
    return rdp >= 0 and _sum(_counting(state, times), rdp) <= state.contract.rdp_cap


def is_charged(state: LedgerState, study: str, round_: int) -> bool:
    """Whether this (study, round) has its row."""
    return bisect_right(state.charged.get(study, ()), round_) % 2 == 1


def charge(state: LedgerState, item: Charge, times: Times) -> tuple[LedgerState, Row]:
    """Append a charge. Run by device, leader and helper *before* anything is released; the row is stored first.

    The privacy unit and neighbours are the event's (device level and zero-out for a ``SumEvent``). A caller that may
    have crashed looks for its durable report first: a charge without a report is spent all the same.

    Args:
        state: the ledger as it stands.
        item: the charge, its ``rdp`` computed at the contract's order.
        times: both clocks, read now.

    Returns:
        The next state and the row to store.

    Raises:
        AlreadyCharged: this (study, round) has its row.
        BudgetExhausted: the contract does not cover it now. The state is unchanged in both cases.
    """
    if is_charged(state, item.study, item.round):
        raise AlreadyCharged(item.study, item.round)
    counting = _counting(state, times)
    # A carried row states what was spent already. It is kept whole, above the cap too: what a smaller contract cut off
    # here would be free again under the next larger one.
    if not isinstance(item.event, CarriedEvent) and not _sum(counting, item.rdp) <= state.contract.rdp_cap:
        raise BudgetExhausted(item.rdp, max(0.0, state.contract.rdp_cap - _sum(counting)))
    row = Row.follow(state.length, state.head, item, times)
    return _append(state, row, counting), row


def replay(contract: Contract, owner: str, rows: Iterable[Row]) -> LedgerState:
    """Rebuild the state from stored rows, by the very rules that admitted them.

    The chain cannot show that its *last* rows are missing: compare ``state.head`` with the mirror, and ``forfeit`` when
    they differ.

    Raises:
        LedgerCorrupt: at the first row that does not follow (its index, its link, its digest or its cost).
    """
    state = open_ledger(contract, owner)
    for row in rows:
        if row.index != state.length:
            raise LedgerCorrupt(state.length, f"expected index {state.length}, got {row.index}")
        if row.previous != state.head:
            raise LedgerCorrupt(row.index, "does not follow the row before it, or this owner's contract")
        try:
            state, expected = charge(state, row.charge, row.times)
        except AccountingError as error:
            raise LedgerCorrupt(row.index, f"could not have been charged: {error}") from error
        if expected.digest != row.digest:
            raise LedgerCorrupt(row.index, "its digest is not that of its body")
    return state


def forfeit(state: LedgerState, times: Times, reason: str) -> tuple[LedgerState, Row]:
    """Charge everything that is left, for when the ledger cannot know what it paid: a head unlike its mirror.

    Sound for a restored back-up: at every lost charge, the charges that still count today counted as well, so the lost
    ones sum to at most what is left today.

    Args:
        state: the ledger as it was found.
        times: both clocks, read now.
        reason: a short text for the row's purpose.
    """
    counting = _counting(state, times)
    left = max(0.0, state.contract.rdp_cap - _sum(counting))
    while _sum(counting, left) > state.contract.rdp_cap:
        left = math.nextafter(left, 0.0)  # the difference was rounded up; the row must fit
    return _carry(state, left, 0.0, times, reason)


def reopen(
    old: LedgerState, contract: Contract, owner: str, times: Times, reason: str
) -> tuple[LedgerState, tuple[Row, ...]]:
    """Open a fresh ledger that keeps the old one's spend: an erasure of its rows, or a changed contract.

    The spend is charged anew in one row at today's time, so it counts at least as long as it would have. It may be
    stated at a lower order than the old contract's (a divergence never falls as its order rises), not at a higher one.
    The rounds already charged are forgotten, hence an erasure also makes a new device key (a leader accepts one report
    a round and key).

    Args:
        old: the ledger that ends.
        contract: the terms from now on.
        owner: the new ledger's owner.
        times: both clocks, read now.
        reason: a short text for the row's purpose.

    Returns:
        The new state, and its rows (none where nothing was ever charged).

    Raises:
        ContractInvalid: the new order is higher: the old rows' events have to be priced at it first.
    """
    if contract.order > old.contract.order:
        raise ContractInvalid(f"expected an order of at most {old.contract.order}, got {contract.order}")
    state = open_ledger(contract, owner)
    if old.length == 0:
        return state, ()
    carried = spent_rdp(old, times)
    # The old ledger's latest readings go along: a clock that stands back today must not stamp this row early.
    state, row = _carry(state, carried, max(0.0, old.lifetime_rdp - carried), times.latest(old.latest), reason)
    return state, (row,)


def spent_rdp(state: LedgerState, times: Times, purpose: str | None = None) -> float:
    """What counts now, in all or for one purpose (Renyi at the contract's order, nats)."""
    return math.fsum(item.rdp for item in _counting(state, times) if purpose in (None, item.purpose))


def spent_epsilon(state: LedgerState, times: Times) -> float:
    """The filter's figure for what counts now: epsilon at the contract's delta; unit and neighbours as the events'."""
    return state.contract.epsilon_of(spent_rdp(state, times))


def lifetime_epsilon(state: LedgerState) -> float:
    """The odometer: epsilon of everything ever charged, at the contract's delta and order.

    A reading, not a promise: what the contract bounds is any one window.
    """
    return state.contract.epsilon_of(state.lifetime_rdp)


def _counting(state: LedgerState, times: Times) -> tuple[Active, ...]:
    window = state.contract.window_seconds
    expired = 0
    for item in state.active:  # oldest first, and stamps never run backwards: the first that counts ends the search
        if not times.past(item.times, window):
            break
        expired += 1
    return state.active[expired:] if expired else state.active


def _sum(counting: tuple[Active, ...], extra: float = 0.0) -> float:
    return math.fsum([extra, *[item.rdp for item in counting]])  # fsum: no drift, however many charges


def _append(state: LedgerState, row: Row, counting: tuple[Active, ...]) -> LedgerState:
    item = row.charge
    stamp = row.times.latest(state.latest)
    before = item.event.lifetime_rdp if isinstance(item.event, CarriedEvent) else 0.0
    return LedgerState(
        state.contract,
        row.digest,
        state.length + 1,
        (*counting, Active(stamp, item.rdp, item.purpose)),
        state.lifetime_rdp + before + item.rdp,
        stamp,
        {**state.charged, item.study: _with_round(state.charged.get(item.study, ()), item.round)},
    )


def _carry(state: LedgerState, rdp: float, lifetime: float, times: Times, reason: str) -> tuple[LedgerState, Row]:
    item = Charge(CARRIED_STUDY, state.length, reason, CarriedEvent(lifetime), rdp, "", 0)
    return charge(state, item, times)


def _with_round(bounds: tuple[int, ...], round_: int) -> tuple[int, ...]:
    """Add a round to sorted half-open runs, joining it to the runs it touches."""
    at = bisect_right(bounds, round_)
    joins_before = at > 0 and bounds[at - 1] == round_
    joins_after = at < len(bounds) and bounds[at] == round_ + 1
    start = () if joins_before else (round_,)
    stop = () if joins_after else (round_ + 1,)
    return (*bounds[: at - joins_before], *start, *stop, *bounds[at + joins_after :])
