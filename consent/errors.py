"""Errors of ``consent``.

::

    ConsentError
    ├── RegistryInvalid          a purpose that is declared twice, or lacks what a person must be told
    ├── FactsInvalid             an operator's fact for the documents that is missing or not of its kind
    ├── ChoiceInvalid            local misuse: a choice that cannot be put into a receipt
    ├── ReceiptInvalid           a receipt that is refused; ``code`` says why, for machines
    ├── CountersignatureInvalid  a leader's confirmation that does not check out
    ├── RecordInvalid            a file that is no consent record, or of other parties than expected
    ├── RotationInvalid          a change of a device's key that not both keys signed, or of another leader's
    ├── LedgerFaulty             a consent ledger whose chain does not verify: no consent follows from it
    └── SignalError              a signal's string that does not decode (``consent.signals.errors``)
"""

from __future__ import annotations

from typing import Literal

RefusalCode = Literal[
    "malformed",
    "signature_invalid",
    "wrong_device",
    "wrong_audience",
    "wrong_site",
    "wrong_person",
    "refusal_stays_home",
    "refusal_of_granted",
    "epoch_not_after",
    "epoch_too_far",
    "issued_in_future",
    "expired",
    "purpose_unknown",
    "purpose_version",
    "notice_unknown",
    "ledger_faulty",
    "key_replaced",
]
"""Why a receipt was refused. The API maps each code to a problem type (RFC 9457)."""


class ConsentError(Exception):
    """Something about consent did not check out; the message never carries a person's data."""


class RegistryInvalid(ConsentError):
    """The declared purposes contradict each other or lack a text."""


class FactsInvalid(ConsentError):
    """A fact that the documents need is missing, unknown or not of its kind; the message names the field."""


class ChoiceInvalid(ConsentError):
    """A choice that the caller made up: an unknown purpose, nothing chosen, a key of another party."""


class ReceiptInvalid(ConsentError):
    """A receipt is refused.

    Attributes:
        code: one of ``RefusalCode``.
        reason: what was expected and what was got, for people.
    """

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code: RefusalCode = code
        self.reason = reason


class CountersignatureInvalid(ConsentError):
    """A countersignature is forged, malformed, or confirms another receipt."""


class RotationInvalid(ConsentError):
    """A change of a device's key is forged, malformed, or for another leader."""


class RecordInvalid(ConsentError):
    """A consent record that cannot be read or made; what was read and does not verify is no error but a finding."""


class LedgerFaulty(ConsentError):
    """A row does not fit the chain, or a change was asked of a ledger that does not verify."""
