"""Events as data, accountants, the contract with its Renyi filter, and the ledger that enforces it.

Importing this package loads no scipy, numpy or dp-accounting: only ``rdp``, ``epsilon`` and ``suggest_order`` with an
event load dp-accounting, when called.
"""

from privacy.accounting.accountants import epsilon, rdp, unit_of
from privacy.accounting.contract import DAY_SECONDS, Contract, suggest_order
from privacy.accounting.errors import (
    AccountingError,
    AlreadyCharged,
    BudgetExhausted,
    ChargeInvalid,
    ContractInvalid,
    EventInvalid,
    LedgerCorrupt,
    LedgerError,
    MethodUnavailable,
    NotAttainable,
    UnitsMixed,
)
from privacy.accounting.events import CarriedEvent, Event, LocalEvent, ResponseEvent, SumEvent, TreeEvent
from privacy.accounting.ledger import (
    Active,
    LedgerState,
    can_pay,
    charge,
    forfeit,
    is_charged,
    lifetime_epsilon,
    open_ledger,
    reopen,
    replay,
    spent_epsilon,
    spent_rdp,
)
from privacy.accounting.rows import Charge, Row
from privacy.accounting.times import Elapsed, Times

__all__ = [
    "DAY_SECONDS",
    "AccountingError",
    "Active",
    "AlreadyCharged",
    "BudgetExhausted",
    "CarriedEvent",
    "Charge",
    "ChargeInvalid",
    "Contract",
    "ContractInvalid",
    "Elapsed",
    "Event",
    "EventInvalid",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerState",
    "LocalEvent",
    "MethodUnavailable",
    "NotAttainable",
    "ResponseEvent",
    "Row",
    "SumEvent",
    "Times",
    "TreeEvent",
    "UnitsMixed",
    "can_pay",
    "charge",
    "epsilon",
    "forfeit",
    "is_charged",
    "lifetime_epsilon",
    "open_ledger",
    "rdp",
    "reopen",
    "replay",
    "spent_epsilon",
    "spent_rdp",
    "suggest_order",
    "unit_of",
]
