"""A ledger as a value, and the rules that write it. ``ledger`` is the way in.

*Sums* are whole numbers (``units``), carried from row to row: a charge adds its own and takes off what expired, so that
neither its time nor its rounding depends on how many charges there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from privacy.accounting.contract import Contract, Costs
from privacy.accounting.errors import AlreadyCharged, BudgetExhausted, ChargeInvalid, LedgerCorrupt, QuotaExhausted
from privacy.accounting.events import CarriedEvent
from privacy.accounting.quotas import NO_QUOTAS, Quotas
from privacy.accounting.rows import Charge, Row
from privacy.accounting.times import Times
from privacy.accounting.units import Units, cap_units, costs_of, minus, plus, scaled, units_of
from privacy.crypto.canonical import digest


class Active(NamedTuple):
    """A charge that may still count: when it was stamped, what it cost (2^-128 nats), for which purpose."""

    times: Times
    units: Units
    purpose: str


@dataclass(frozen=True, slots=True)
class LedgerState:
    """A ledger between two rows.

    Attributes:
        contract: what is enforced.
        head: digest of the last row, or the genesis (32 bytes). Mirrored elsewhere, it shows a restored back-up.
        length: rows so far.
        active: the charges that counted at the last row, oldest first.
        spent: their sum, in units.
        by_purpose: likewise for each of their purposes.
        lifetime: the odometer: everything ever charged, in units.
        latest: the latest reading of each clock in any row.
        charged: per study, the rounds that have a row, as sorted bounds of half-open runs (start, stop, start, ...).
    """

    contract: Contract
    head: bytes
    length: int
    active: tuple[Active, ...]
    spent: Units
    by_purpose: Mapping[str, Units]
    lifetime: Units
    latest: Times
    charged: Mapping[str, tuple[int, ...]]


def open_ledger(contract: Contract, owner: str) -> LedgerState:
    """An empty ledger; its genesis head binds the owner's name and the contract."""
    nothing = (0,) * len(contract.caps)
    head = digest("ledger", owner.encode(), contract.terms())
    return LedgerState(contract, head, 0, (), nothing, {}, nothing, Times(0, 0.0), {})


class Book:
    """A ledger being written: the rules of charging, in place. ``charge`` writes one row of it, ``replay`` all."""

    def __init__(self, state: LedgerState) -> None:
        self._contract = state.contract
        self._caps = cap_units(state.contract)
        self.head = state.head
        self._length = state.length
        self._old, self._new = state.active, list[Active]()
        self._expired = 0
        self._spent = state.spent
        self._by_purpose = dict(state.by_purpose)
        self._lifetime = state.lifetime
        self._latest = state.latest
        self._charged: Mapping[str, tuple[int, ...]] = state.charged
        self._fresh: dict[str, tuple[int, ...]] = {}

    def expire(self, times: Times) -> None:
        """Take off what has stopped counting: oldest first, and stamps never run backwards."""
        while (first := self._first()) is not None and times.past(first.times, self._contract.window_seconds):
            self._expired += 1
            self._spent = minus(self._spent, first.units)
            self._by_purpose[first.purpose] = minus(self._by_purpose[first.purpose], first.units)

    def refusal(self, purpose: str, costs: Costs, quotas: Quotas) -> BudgetExhausted | None:
        """Why a charge does not fit, or None: a figure of the currency has room in all, and one for the purpose."""
        asked = units_of(costs)
        if not _fits(self._spent, asked, self._caps):
            return BudgetExhausted(costs, _room(self._caps, self._spent))
        share = quotas.share(purpose)
        if share < 1:
            taken, quota = self._by_purpose.get(purpose, (0,) * len(asked)), scaled(self._caps, share)
            if not _fits(taken, asked, quota):
                return QuotaExhausted(purpose, costs, _room(quota, taken))
        return None

    def admit(self, item: Charge, times: Times, quotas: Quotas = NO_QUOTAS) -> None:
        """Let what expired go and insist that the charge may follow; see ``charge`` for what is raised."""
        if len(item.costs) != len(self._caps):
            raise ChargeInvalid(f"expected {len(self._caps)} costs under this contract, got {len(item.costs)}")
        if holds(self._fresh, item.study, item.round) or holds(self._charged, item.study, item.round):
            raise AlreadyCharged(item.study, item.round)
        self.expire(times)
        # A carried row states what was spent already. It is kept whole, above the cap too: what a smaller contract cut
        # off here would be free again under the next larger one.
        if isinstance(item.event, CarriedEvent):
            return
        refusal = self.refusal(item.purpose, item.costs, quotas)
        if refusal is not None:
            raise refusal

    def append(self, row: Row) -> None:
        """Count an admitted row."""
        item, units = row.charge, units_of(row.charge.costs)
        self._latest = row.times.latest(self._latest)
        self._new.append(Active(self._latest, units, item.purpose))
        self._spent = plus(self._spent, units)
        known = self._by_purpose.get(item.purpose)
        self._by_purpose[item.purpose] = units if known is None else plus(known, units)
        self._lifetime = plus(self._lifetime, units)
        if isinstance(item.event, CarriedEvent):
            self._lifetime = plus(self._lifetime, units_of(item.event.lifetime))
        bounds = self._fresh.get(item.study) or self._charged.get(item.study, ())
        self._fresh[item.study] = _with_round(bounds, item.round)
        self.head = row.digest
        self._length += 1

    def follow(self, row: Row) -> None:
        """Append a stored row if it stands where it belongs and could have been charged there."""
        if row.index != self._length:
            raise LedgerCorrupt(self._length, f"expected index {self._length}, got {row.index}")
        if row.previous != self.head:
            raise LedgerCorrupt(row.index, "does not follow the row before it, or this owner's contract")
        self.admit(row.charge, row.times)
        self.append(row)

    def close(self) -> LedgerState:
        """The ledger as a value."""
        counting = islice(self._new, max(0, self._expired - len(self._old)), None)
        return LedgerState(
            self._contract,
            self.head,
            self._length,
            self._old[self._expired :] + tuple(counting),
            self._spent,
            self._by_purpose,
            self._lifetime,
            self._latest,
            {**self._charged, **self._fresh},
        )

    def _first(self) -> Active | None:
        at = self._expired - len(self._old)
        if at < 0:
            return self._old[at]
        return self._new[at] if at < len(self._new) else None


def counting(state: LedgerState, times: Times, purpose: str | None = None) -> Units:
    """What counts now, in all or for one purpose."""
    nothing = (0,) * len(state.spent)
    units = state.spent if purpose is None else state.by_purpose.get(purpose, nothing)
    for item in state.active:
        if not times.past(item.times, state.contract.window_seconds):
            break
        units = minus(units, item.units if purpose in (None, item.purpose) else nothing)
    return units


def holds(charged: Mapping[str, tuple[int, ...]], study: str, round_: int) -> bool:
    """Whether the runs of charged rounds hold this one."""
    return bisect_right(charged.get(study, ()), round_) % 2 == 1


def _with_round(bounds: tuple[int, ...], round_: int) -> tuple[int, ...]:
    """Add a round to sorted half-open runs, joining it to the runs it touches."""
    at = bisect_right(bounds, round_)
    joins_before = at > 0 and bounds[at - 1] == round_
    joins_after = at < len(bounds) and bounds[at] == round_ + 1
    start = () if joins_before else (round_,)
    stop = () if joins_after else (round_ + 1,)
    return (*bounds[: at - joins_before], *start, *stop, *bounds[at + joins_after :])


def _fits(counting: Units, asked: Units, caps: Units) -> bool:
    return any(have + more <= cap for have, more, cap in zip(counting, asked, caps, strict=True))


def _room(caps: Units, counting: Units) -> Costs:
    return costs_of(tuple(max(0, figure) for figure in minus(caps, counting)))
