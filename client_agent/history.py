"""What a person chose, when, and who has signed that they heard of it: the consent ledger as it is read aloud."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from client_agent.confirmations import confirmed_at
from client_agent.store.consents import ReceiptState, StoredReceipt
from consent import ConsentError, Row, receipt_digest, verify_receipt_of
from consent.registry import Language
from privacy.crypto import VerifyKey

Act = Literal["grant", "withdrawal", "refusal", "gpc"]
"""A yes, a yes taken back, a no, and Global Privacy Control applied."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of the record.

    Attributes:
        at: Unix seconds at which it was recorded here.
        act: what happened.
        purposes: ids of the purposes that were answered; none for Global Privacy Control.
        language: in which it was shown; None for Global Privacy Control.
        state: where the receipt is on its way to the leader; ``home`` for what stays here.
        confirmed_at: Unix seconds by the leader's clock, from its verified signature; None without.
    """

    at: int
    act: Act
    purposes: tuple[str, ...]
    language: Language | None
    state: ReceiptState
    confirmed_at: int | None


def recount(
    rows: Iterable[bytes], receipts: Iterable[StoredReceipt], device: Sequence[VerifyKey], leader: VerifyKey
) -> list[Recorded]:
    """The record of one person towards one leader, the latest first. What does not verify is left out.

    Args:
        rows: the ledger's rows as stored, in order.
        receipts: the stored receipts of the same person.
        device: the keys that signed them.
        leader: the only key whose countersignature counts.
    """
    known = {receipt.digest: receipt for receipt in receipts}
    told = (_recorded(body, known, device, leader) for body in rows)
    return [line for line in told if line is not None][::-1]


def _recorded(
    body: bytes, known: dict[bytes, StoredReceipt], device: Sequence[VerifyKey], leader: VerifyKey
) -> Recorded | None:
    try:
        row = Row.parse(body)
        if row.kind == "gpc":
            return Recorded(row.at, "gpc", (), None, "home", None)
        if row.kind != "receipt":
            return None
        receipt = verify_receipt_of(row.content, device)
    except ConsentError:
        return None
    stored = known.get(receipt_digest(row.content))
    state: ReceiptState = stored.state if stored else "waiting"
    confirmed = confirmed_at(stored.countersignature, stored.digest, leader) if stored else None
    return Recorded(row.at, receipt.kind, receipt.chosen, receipt.language, state, confirmed)
