"""Errors of ``privacy.accounting``.

::

    AccountingError
    ├── EventInvalid       a noise multiplier, sampling rate or count outside its range (also a ValueError)
    ├── UnitsMixed         one epsilon was asked for events of two privacy units (also a ValueError)
    ├── MethodUnavailable  the accountant that was asked for cannot speak of this event (also a ValueError)
    ├── NotAttainable      no noise, rate, count or group figure meets the target (also a ValueError)
    ├── ContractInvalid    an epsilon, delta, order or window that cannot be enforced (also a ValueError)
    ├── ChargeInvalid      a charge, time or row outside its range (also a ValueError)
    └── LedgerError
        ├── BudgetExhausted    the contract does not cover this charge now; nothing was charged
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


class ChargeInvalid(AccountingError, ValueError):
    """A charge, a time or an encoded row is outside its range."""


class LedgerError(AccountingError):
    """The ledger refuses; its state is unchanged."""


class BudgetExhausted(LedgerError):
    """The contract does not cover this charge now."""

    def __init__(self, asked_rdp: float, left_rdp: float) -> None:
        super().__init__(f"expected a charge of at most {left_rdp:.6g} (Renyi, nats), got {asked_rdp:.6g}")
        self.asked_rdp = asked_rdp
        self.left_rdp = left_rdp


class AlreadyCharged(LedgerError):
    """This study's round has its row already."""

    def __init__(self, study: str, round_: int) -> None:
        super().__init__(f"study {study!r} round {round_} is charged already; expected one charge a round")
        self.study = study
        self.round = round_


class LedgerCorrupt(LedgerError):
    """A row does not follow from the rows before it."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"ledger row {index}: {reason}")
        self.index = index
        self.reason = reason
