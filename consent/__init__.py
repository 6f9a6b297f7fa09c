"""Consent that is enforced, provable and easy to take back.

A registry of purposes; notices and documents generated from it; receipts signed by the device and countersigned by
the leader; a hash-chained ledger; and one policy function that every gate asks. Nothing here performs I/O or reads a
clock.

Read in this order: ``registry``, ``purposes``, ``device_records``, ``notices``, ``receipts``, ``choices``,
``countersignatures``, ``state``, ``rows``, ``ledger``, ``policy``, ``acceptance``, ``records``.
"""

from consent.acceptance import Accepted, Refused, accept
from consent.choices import beyond, decline, grant, notice_for, withdraw_all
from consent.countersignatures import Countersignature, countersign, verify_countersignature
from consent.errors import (
    ChoiceInvalid,
    ConsentError,
    CountersignatureInvalid,
    LedgerFaulty,
    ReceiptInvalid,
    RecordInvalid,
    RefusalCode,
    RegistryInvalid,
    RotationInvalid,
)
from consent.ledger import confirm, distrust, observe_gpc, open_ledger, record, replay, restart, rotate
from consent.notices import Notice, notice, notice_hashes, what_leaves
from consent.policy import GATES, RULES, Decision, Gate, Rule, ask_again, decide, lapsed, withheld_by_gpc
from consent.proofs import ProvenReceipt, RecordFault, Verified
from consent.purposes import (
    CHURN,
    EXPERIMENTS,
    INTENT,
    MEASUREMENT,
    NEXT_ACTION,
    PERSONA,
    PERSONALISATION,
    POLICY_UPDATED,
    PURPOSES,
    registry_hash,
)
from consent.receipts import Receipt, receipt_digest, sign_receipt, verify_receipt
from consent.record_files import write_record
from consent.records import make_record, verify_record
from consent.registry import LANGUAGES, Language, Purpose, PurposeText, Registry
from consent.rotations import Rotation, keys_of, make_rotation, read_rotation, verify_receipt_of
from consent.rows import Row
from consent.signals import NO_SIGNALS, Signals, read_gpc, well_known_gpc
from consent.state import ConsentState, Declined, Grant, Mirror, Parties
from consent.wording import Mode

__all__ = [
    "CHURN",
    "EXPERIMENTS",
    "GATES",
    "INTENT",
    "LANGUAGES",
    "MEASUREMENT",
    "NEXT_ACTION",
    "NO_SIGNALS",
    "PERSONA",
    "PERSONALISATION",
    "POLICY_UPDATED",
    "PURPOSES",
    "RULES",
    "Accepted",
    "ChoiceInvalid",
    "ConsentError",
    "ConsentState",
    "Countersignature",
    "CountersignatureInvalid",
    "Decision",
    "Declined",
    "Gate",
    "Grant",
    "Language",
    "LedgerFaulty",
    "Mirror",
    "Mode",
    "Notice",
    "Parties",
    "ProvenReceipt",
    "Purpose",
    "PurposeText",
    "Receipt",
    "ReceiptInvalid",
    "RecordFault",
    "RecordInvalid",
    "RefusalCode",
    "Refused",
    "Registry",
    "RegistryInvalid",
    "Rotation",
    "RotationInvalid",
    "Row",
    "Rule",
    "Signals",
    "Verified",
    "accept",
    "ask_again",
    "beyond",
    "confirm",
    "countersign",
    "decide",
    "decline",
    "distrust",
    "grant",
    "keys_of",
    "lapsed",
    "make_record",
    "make_rotation",
    "notice",
    "notice_for",
    "notice_hashes",
    "observe_gpc",
    "open_ledger",
    "read_gpc",
    "read_rotation",
    "receipt_digest",
    "record",
    "registry_hash",
    "replay",
    "restart",
    "rotate",
    "sign_receipt",
    "verify_countersignature",
    "verify_receipt",
    "verify_receipt_of",
    "verify_record",
    "well_known_gpc",
    "what_leaves",
    "withdraw_all",
    "withheld_by_gpc",
    "write_record",
]
