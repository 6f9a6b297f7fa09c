"""Events as data, accountants, the contract with its Renyi filter, and the ledger that enforces it.

Importing this package loads no scipy, numpy or dp-accounting: only ``rdp``, ``price``, ``epsilon`` and
``suggest_order`` with an event load dp-accounting, when called.
"""

from privacy.accounting.accountants import epsilon, rdp, unit_of
from privacy.accounting.book import LedgerState, open_ledger
from privacy.accounting.carrying import forfeit, reopen
from privacy.accounting.contract import DAY_SECONDS, ZCDP, Contract, Costs, Order, read_terms, suggest_order
from privacy.accounting.errors import (
    AccountingError,
    AlreadyCharged,
    BudgetExhausted,
    ChargeInvalid,
    ContractInvalid,
    EventInvalid,
    EventUnsuited,
    LedgerCorrupt,
    LedgerError,
    MethodUnavailable,
    NotAttainable,
    QuotaExhausted,
    QuotaInvalid,
    UnitsMixed,
)
from privacy.accounting.events import CarriedEvent, Event, LocalEvent, ResponseEvent, SumEvent, TreeEvent
from privacy.accounting.ledger import (
    can_pay,
    charge,
    follow,
    is_charged,
    lifetime_epsilon,
    replay,
    spent,
    spent_epsilon,
    spent_shares,
)
from privacy.accounting.pricing import price
from privacy.accounting.quotas import ANY_OTHER, NO_QUOTAS, Quotas
from privacy.accounting.rows import Charge, Row, row_digest
from privacy.accounting.times import Elapsed, Times
from privacy.accounting.verification import explain

__all__ = [
    "ANY_OTHER",
    "DAY_SECONDS",
    "NO_QUOTAS",
    "ZCDP",
    "AccountingError",
    "AlreadyCharged",
    "BudgetExhausted",
    "CarriedEvent",
    "Charge",
    "ChargeInvalid",
    "Contract",
    "ContractInvalid",
    "Costs",
    "Elapsed",
    "Event",
    "EventInvalid",
    "EventUnsuited",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerState",
    "LocalEvent",
    "MethodUnavailable",
    "NotAttainable",
    "Order",
    "QuotaExhausted",
    "QuotaInvalid",
    "Quotas",
    "ResponseEvent",
    "Row",
    "SumEvent",
    "Times",
    "TreeEvent",
    "UnitsMixed",
    "can_pay",
    "charge",
    "epsilon",
    "explain",
    "follow",
    "forfeit",
    "is_charged",
    "lifetime_epsilon",
    "open_ledger",
    "price",
    "rdp",
    "read_terms",
    "reopen",
    "replay",
    "row_digest",
    "spent",
    "spent_epsilon",
    "spent_shares",
    "suggest_order",
    "unit_of",
]
