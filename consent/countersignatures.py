"""Countersignatures: the leader confirms a receipt, so that the person holds proof that it arrived.

Grants and withdrawals of grants are countersigned. Refusals stay on the device and never are.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from consent.errors import CountersignatureInvalid
from consent.instants import LATEST_SECONDS
from consent.receipts import receipt_digest
from privacy.crypto import CryptoError, SigningKey, VerifyKey, sign_document, verify_document

COUNTERSIGNATURE_TYP: Final = "hearthside-countersignature+jwt"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FIELDS: Final = {"receipt", "accepted_at"}


class Countersignature(NamedTuple):
    """What the leader confirmed.

    Attributes:
        receipt: digest of the signed receipt (32 bytes).
        accepted_at: Unix seconds by the leader's clock.
    """

    receipt: bytes
    accepted_at: int


def countersign(leader: SigningKey, receipt_jws: str, at: int) -> str:
    """Confirm a receipt that was checked; the same receipt and time give the same bytes. Run by the leader."""
    return sign_document(
        leader, COUNTERSIGNATURE_TYP, {"receipt": receipt_digest(receipt_jws).hex(), "accepted_at": at}
    )


def verify_countersignature(jws: str, leader_key: VerifyKey) -> Countersignature:
    """Return what this leader confirmed. Run by the device, and by anyone with the public key.

    Raises:
        CountersignatureInvalid: forged, of another type or malformed.
    """
    try:
        document = verify_document(jws, COUNTERSIGNATURE_TYP, (leader_key,))
    except (CryptoError, RecursionError) as error:  # a hostile header may nest deeper than the parser goes
        raise CountersignatureInvalid(str(error)) from None
    receipt, at = document.get("receipt"), document.get("accepted_at")
    if set(document) != _FIELDS or not isinstance(receipt, str) or type(at) is not int:
        raise CountersignatureInvalid(f"expected the fields {sorted(_FIELDS)}, got {sorted(document)}")
    if not _DIGEST.fullmatch(receipt) or not 0 <= at <= LATEST_SECONDS:
        raise CountersignatureInvalid("expected the receipt's digest in hexadecimal, and a time in Unix seconds")
    return Countersignature(bytes.fromhex(receipt), at)
