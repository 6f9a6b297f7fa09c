"""Errors of ``privacy.accounting``.

::

    AccountingError
    ├── EventInvalid       a noise multiplier, sampling rate or count outside its range (also a ValueError)
    ├── UnitsMixed         one epsilon was asked for events of two privacy units (also a ValueError)
    ├── MethodUnavailable  the accountant that was asked for cannot speak of this event (also a ValueError)
    ├── NotAttainable      no noise, rate, count or group figure meets the target (also a ValueError)
    ├── ContractInvalid    an epsilon, delta, order or window that cannot be enforced (also a ValueError)
    ├── EventUnsuited      an event that the contract's filter cannot price (also a ValueError)
    ├── QuotaInvalid       a quota outside (0, 1] (also a ValueError)
    ├── ChargeInvalid      a charge, time or row outside its range (also a ValueError)
    └── LedgerError
        ├── BudgetExhausted    the contract does not cover this charge now; nothing was charged
        │   └── QuotaExhausted     the contract would, but its purpose has taken its share
        ├── AlreadyCharged     this (study, round) has its row; a second release needs a second round
        └── LedgerCorrupt      a row that does not follow from the rows before it
"""

from __future__ import annotations


class AccountingError(Exception):
    """Something about the budget does not hold; messages carry figures and names, never data."""


class EventInvalid(AccountingError, ValueError):
    """An event's figure is outside its range."""


class UnitsMixed(AccountingError, ValueError):
    """One epsilon has one privacy unit: devices and training rows are accounted apart."""


class MethodUnavailable(AccountingError, ValueError):
    """The library has no such bound for an event, and none is written by hand."""


class NotAttainable(AccountingError, ValueError):
    """Nothing inside the permitted range meets the target."""


class ContractInvalid(AccountingError, ValueError):
    """A contract that no filter can enforce."""


class EventUnsuited(AccountingError, ValueError):
    """The contract's filter has no price for this event."""


class QuotaInvalid(AccountingError, ValueError):
    """A quota is a share of the cap, in (0, 1]."""


class ChargeInvalid(AccountingError, ValueError):
    """A charge, a time or an encoded row is outside its range."""


class LedgerError(AccountingError):
    """The ledger refuses; its state is unchanged."""


class BudgetExhausted(LedgerError):
    """The contract does not cover this charge now.

    Attributes:
        asked: what the charge costs in the filter's currency (nats).
        left: what is left of each cap.
    """

    def __init__(self, asked: tuple[float, ...], left: tuple[float, ...], whose: str = "") -> None:
        super().__init__(f"expected a charge of at most {_figures(left)} nats{whose}, got {_figures(asked)}")
        self.asked = asked
        self.left = left


class QuotaExhausted(BudgetExhausted):
    """The purpose has taken its share of the contract, whatever others have left.

    Attributes:
        purpose: whose quota it is.
        asked: what the charge costs in the filter's currency (nats).
        left: what is left of the purpose's share of each cap.
    """

    def __init__(self, purpose: str, asked: tuple[float, ...], left: tuple[float, ...]) -> None:
        super().__init__(asked, left, f" for purpose {purpose!r} within its quota")
        self.purpose = purpose


class AlreadyCharged(LedgerError):
    """This study's round has its row already."""

    def __init__(self, study: str, round_: int) -> None:
        super().__init__(f"study {study!r} round {round_} is charged already; expected one charge a round")
        self.study = study
        self.round = round_


class LedgerCorrupt(LedgerError):
    """A row does not follow from the rows before it, or is not the one that was written.

    Attributes:
        index: the row's place, from 0.
        reason: what does not hold.
        offset: where in the row's body the one changed byte stands, if one byte explains it.
        field: the name of what stands there.
    """

    def __init__(self, index: int, reason: str, offset: int | None = None, field: str | None = None) -> None:
        place = "" if offset is None else f", byte {offset} ({field})"
        super().__init__(f"ledger row {index}{place}: {reason}")
        self.index = index
        self.reason = reason
        self.offset = offset
        self.field = field


def _figures(costs: tuple[float, ...]) -> str:
    return ", ".join(f"{cost:.6g}" for cost in costs)
