"""Spend that outlives its ledger: a lost store, an erasure, a changed contract."""

from __future__ import annotations

from privacy.accounting.book import LedgerState, counting, open_ledger
from privacy.accounting.contract import ZCDP, Contract
from privacy.accounting.errors import ContractInvalid
from privacy.accounting.events import CarriedEvent
from privacy.accounting.ledger import charge
from privacy.accounting.rows import CARRIED_STUDY, Charge, Row
from privacy.accounting.times import Times
from privacy.accounting.units import Units, cap_units, costs_of, minus


def forfeit(state: LedgerState, times: Times, reason: str) -> tuple[LedgerState, Row]:
    """Charge everything that is left, for when the ledger cannot know what it paid: a head unlike its mirror.

    Sound for a restored back-up: at every lost charge, the charges that still count today counted as well, so the lost
    ones sum to at most what is left today. With several orders that holds for the order which had room then, and nobody
    knows which: the whole cap is charged at each, so that nothing more fits as long as a lost charge may count.

    Args:
        state: the ledger as it was found.
        times: both clocks, read now.
        reason: a short text for the row's purpose.
    """
    caps = cap_units(state.contract)
    left = tuple(max(0, figure) for figure in minus(caps, counting(state, times)))
    return _carry(state, left if len(caps) == 1 else caps, (0,) * len(caps), times, reason)


def reopen(
    old: LedgerState, contract: Contract, owner: str, times: Times, reason: str, *, keep_purposes: bool = False
) -> tuple[LedgerState, tuple[Row, ...]]:
    """Open a fresh ledger that keeps the old one's spend: an erasure of its rows, or a changed contract.

    The spend is charged anew at today's time, so it counts at least as long as it would have: in one row for each
    purpose that has any, so that quotas go on as they were, or in one row for all after an erasure. At an order it
    is stated by the nearest order of the old contract that is not lower (a divergence never falls as its order rises),
    or by the order times rho. The rounds already charged are forgotten, hence an erasure also makes a new device key (a
    leader accepts one report a round and key); an erasure forgets the purposes too, so that their quotas start anew.

    Args:
        old: the ledger that ends.
        contract: the terms from now on.
        owner: the new ledger's owner.
        times: both clocks, read now.
        reason: a short text for the purpose of a row that keeps none.
        keep_purposes: a service whose contract changed. False on a device: what it erased must not say what was asked.

    Returns:
        The new state, and its rows (none where nothing was ever charged).

    Raises:
        ContractInvalid: an order is above all of the old contract's, or a zCDP contract follows a Renyi one: the old
            rows' events have to be priced anew first.
    """
    state, restated = open_ledger(contract, owner), _restating(old.contract, contract)
    if old.length == 0:
        return state, ()
    # The old ledger's latest readings go along: a clock that stands back today must not stamp this row early.
    latest = times.latest(old.latest)
    before, rows = minus(old.lifetime, counting(old, times)), list[Row]()
    for purpose, counts in _parts(old, times, reason, keep_purposes=keep_purposes):
        spent, lifetime = (tuple(units[at] * factor for at, factor in restated) for units in (counts, before))
        state, row = _carry(state, spent, lifetime, latest, purpose)
        rows.append(row)
        before = minus(before, before)  # the first row has it
    return state, tuple(rows)


def _parts(old: LedgerState, times: Times, reason: str, *, keep_purposes: bool) -> list[tuple[str, Units]]:
    """What counts now, by the purposes that the carried rows are to have; one part at least, for the odometer."""
    if keep_purposes:
        known = [(purpose, counting(old, times, purpose)) for purpose in sorted(old.by_purpose)]
        found = [(purpose, counts) for purpose, counts in known if any(counts)]
        if found:
            return found
    return [(reason, counting(old, times))]


def _restating(old: Contract, new: Contract) -> list[tuple[int, int]]:
    """For each figure of the new currency: which figure of the old one bounds it, and times what."""
    if ZCDP in (old.order, new.order):
        if old.order != ZCDP:
            raise ContractInvalid(f"expected an order again, {old.order!r} before, got {new.order!r}")
        return [(0, factor) for factor in new.orders or (1,)]
    if new.orders[-1] > old.orders[-1]:
        raise ContractInvalid(f"expected an order of at most {old.orders[-1]}, got {new.orders[-1]}")
    return [(next(at for at, known in enumerate(old.orders) if known >= order), 1) for order in new.orders]


def _carry(state: LedgerState, units: Units, lifetime: Units, times: Times, reason: str) -> tuple[LedgerState, Row]:
    event = CarriedEvent(costs_of(lifetime))
    return charge(state, Charge(CARRIED_STUDY, state.length, reason, event, costs_of(units), "", 0), times)
