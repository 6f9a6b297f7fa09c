"""A device's change of key: one statement that the old key and the new one sign, so that consent goes on under the new.

The old key says who follows it; the new one says that it wants to follow, so that nobody makes another's key their
own. Both sign the same bytes, which name the leader: at another leader the statement is worth nothing. It stands as a
row in the consent ledgers of device and leader: a receipt before it verifies under the old key, one after it under the
new. The one thing that an old key may still sign is a withdrawal, for one may have been on its way, and taking consent
back never fails; whoever has stolen the key can do no more with it than that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from consent.errors import ConsentError, ReceiptInvalid, RotationInvalid
from consent.receipts import Receipt, verify_receipt
from consent.rows import Row
from consent.state import Parties
from privacy.crypto import CryptoError, SigningKey, VerifyKey, canonical_json, digest, parse_canonical

MAXIMUM_ROTATION_CHARACTERS: Final = 1_024
_FIELDS: Final = {"at", "new", "new_signature", "old", "old_signature"}
_MARK: Final = b'"kind":"rotation"'
_LATEST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Rotation:
    """What both keys signed.

    Attributes:
        old: the device's key until then.
        new: its key from then on.
        at: Unix seconds by the device's clock.
    """

    old: VerifyKey
    new: VerifyKey
    at: int


def make_rotation(old: SigningKey, new: SigningKey, leader: VerifyKey, at: int) -> str:
    """Sign a change of key with both keys; returns the statement as canonical JSON. Run by the device.

    Raises:
        RotationInvalid: both keys are the same.
    """
    rotation = Rotation(old.verify_key, new.verify_key, at)
    if rotation.old == rotation.new:
        raise RotationInvalid("expected a new key, got the old one")
    statement = _statement(rotation, leader)
    return canonical_json(
        {
            "at": at,
            "new": rotation.new.raw.hex(),
            "new_signature": new.sign(statement).hex(),
            "old": rotation.old.raw.hex(),
            "old_signature": old.sign(statement).hex(),
        }
    ).decode("utf-8")


def read_rotation(content: str, leader: VerifyKey) -> Rotation:
    """Verify a change of key: both signatures, over one statement, for this leader. Run by device and leader.

    Raises:
        RotationInvalid: forged, malformed, signed by one key only, or for another leader.
    """
    if len(content) > MAXIMUM_ROTATION_CHARACTERS:
        raise RotationInvalid(f"expected at most {MAXIMUM_ROTATION_CHARACTERS} characters, got {len(content)}")
    try:
        fields = parse_canonical(content.encode("utf-8"))
        rotation = _read(fields)
        statement = _statement(rotation, leader)
        rotation.old.verify(bytes.fromhex(fields["old_signature"]), statement)
        rotation.new.verify(bytes.fromhex(fields["new_signature"]), statement)
    except (CryptoError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"expected a change of key that both keys signed for this leader ({type(error).__name__})"
        raise RotationInvalid(reason) from None
    return rotation


def first_key(parties: Parties, rows: Iterable[Row | bytes]) -> VerifyKey:
    """Under which key a chain began: the old one of its first change of key, else the device's key of now."""
    for row in _rotations(rows):
        return read_rotation(row.content, parties.leader_key).old
    return parties.device_key


def keys_of(parties: Parties, rows: Iterable[Row | bytes]) -> tuple[VerifyKey, ...]:
    """The device's key and those that it had before, the present one first, by the changes that verify in its chain."""
    keys = [parties.device_key, *parties.former_keys]
    for row in _rotations(rows):
        try:
            keys.append(read_rotation(row.content, parties.leader_key).old)
        except RotationInvalid:
            continue
    return tuple(dict.fromkeys(keys))


def verify_receipt_of(jws: str, keys: Iterable[VerifyKey]) -> Receipt:
    """Return the receipt that one of a device's keys signed.

    Raises:
        ReceiptInvalid: none of them did, as the first of them finds.
    """
    refused: ReceiptInvalid | None = None
    for key in keys:
        try:
            return verify_receipt(jws, key)
        except ReceiptInvalid as error:
            if error.code not in {"signature_invalid", "wrong_device"}:
                raise
            refused = refused or error
    raise refused or ReceiptInvalid("signature_invalid", "expected a device with a key")


def verify_receipt_under(jws: str, parties: Parties) -> Receipt:
    """Return a receipt that counts now: signed by the device's key of now, or a withdrawal by a key that it had.

    Raises:
        ReceiptInvalid: with ``key_replaced`` for anything else that an earlier key signed.
    """
    receipt = verify_receipt_of(jws, (parties.device_key, *parties.former_keys))
    if receipt.device_key != parties.device_key and receipt.kind != "withdrawal":
        raise ReceiptInvalid("key_replaced", f"expected key {parties.device_key.fingerprint}, which took its place")
    return receipt


def _rotations(rows: Iterable[Row | bytes]) -> Iterable[Row]:
    for stored in rows:
        if isinstance(stored, bytes):
            if _MARK not in stored:
                continue
            try:
                row = Row.parse(stored)
            except ConsentError:
                continue
        else:
            row = stored
        if row.kind == "rotation":
            yield row


def _read(fields: dict[str, Any]) -> Rotation:
    at = fields["at"]
    if set(fields) != _FIELDS or type(at) is not int or not 0 <= at < _LATEST:
        raise ValueError("expected the fields of a change of key")
    rotation = Rotation(VerifyKey(bytes.fromhex(fields["old"])), VerifyKey(bytes.fromhex(fields["new"])), at)
    if rotation.old == rotation.new:
        raise ValueError("expected a new key")
    return rotation


def _statement(rotation: Rotation, leader: VerifyKey) -> bytes:
    return digest("device-rotation", leader.raw, rotation.old.raw, rotation.new.raw, rotation.at.to_bytes(8, "big"))
