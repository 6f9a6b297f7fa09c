"""Consent records: a person's whole consent ledger in one file, which anyone with the leader's fingerprint can verify.

Pure, and total on hostile input: no network, no store, no clock. The device writes the file and signs where it ends.
The verifier believes no key because it is in the file: the leader's is believed for its fingerprint, which comes from
paper or another channel, and the device's for the receipts that it signed, or for a fingerprint where one is known.

What is noticed: an edited, forged, inserted, dropped or reordered row, a cut end, a receipt of another person, site,
device or leader, a confirmation by anybody else. What is not: a device that signs an older, or another, ledger of its
own. Only the leader, which holds what it confirmed, can show that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from consent.countersignatures import verify_countersignature
from consent.errors import ConsentError, RecordInvalid
from consent.instants import LATEST_SECONDS
from consent.ledger import replay
from consent.proofs import ProvenReceipt, RecordFault, Verified
from consent.receipts import MAXIMUM_NAME_CHARACTERS, receipt_digest, verify_receipt
from consent.rows import Row
from consent.state import ConsentState, Parties
from privacy.crypto import CryptoError, SigningKey, VerifyKey, canonical_json, digest, sign_document, verify_document

RECORD_TYPE: Final = "hearthside-consent-record"
RECORD_VERSION: Final = 1
END_TYP: Final = "hearthside-consent-end+jwt"
MAXIMUM_RECORD_BYTES: Final = 64 * 2**20
_FIELDS: Final = {
    "type", "version", "device_key", "leader_key", "site", "person", "rows", "confirmations", "end"
}  # fmt: skip
_END_FIELDS: Final = {"head", "length", "at", "record"}


def make_record(
    key: SigningKey, parties: Parties, rows: Sequence[bytes], confirmations: Sequence[str], at: int
) -> dict[str, Any]:
    """The record of one ledger, as JSON. Run by the device. A ledger that does not verify is written as it is.

    Args:
        key: the device's key.
        parties: between whom.
        rows: the stored rows, in order.
        confirmations: countersignatures that came too late for a row of their own.
        at: Unix seconds now.

    Raises:
        RecordInvalid: the key is not the device's, or a row is no JSON.
    """
    if key.verify_key != parties.device_key:
        raise RecordInvalid(f"expected key {parties.device_key.fingerprint}, got {key.verify_key.fingerprint}")
    try:
        parsed = [json.loads(row) for row in rows]
    except ValueError:
        raise RecordInvalid("expected rows in JSON") from None
    document = {
        "type": RECORD_TYPE,
        "version": RECORD_VERSION,
        "device_key": parties.device_key.raw.hex(),
        "leader_key": parties.leader_key.raw.hex(),
        "site": parties.site,
        "person": parties.person,
        "rows": parsed,
        "confirmations": list(confirmations),
    }
    end = {"head": _head(parties, rows).hex(), "length": len(rows), "at": at, "record": _digest(document).hex()}
    return {**document, "end": sign_document(key, END_TYP, end)}


def write_record(document: dict[str, Any]) -> bytes:
    """A record as a file: canonical JSON and a line's end."""
    return canonical_json(document) + b"\n"


def verify_record(data: bytes, leader_fingerprint: str, device_fingerprint: str | None = None) -> Verified:
    """Say what a record shows; never raises. Run by anyone.

    Args:
        data: the file, in any spelling of its JSON.
        leader_fingerprint: the leader's, from paper or another channel.
        device_fingerprint: the device's, where it is known.
    """
    try:
        document = _read(data)
        parties = _parties(document, leader_fingerprint, device_fingerprint)
    except RecordInvalid as error:
        return Verified(fault=RecordFault(None, str(error)))
    bodies = [_body(row) for row in document["rows"]]
    state = replay(parties, bodies)
    faults = [] if state.fault is None else [RecordFault(state.length, state.fault)]
    rows = [Row.parse(body) for body in bodies[: state.length]]
    confirmed, refused = _confirmations(parties, rows, document["confirmations"])
    ended_at, unended = _ended_at(parties, document, bodies)
    faults += [fault for fault in (unended, refused) if fault is not None]
    return _verified(parties, state, _proven(parties, rows, confirmed), ended_at, faults)


def _verified(
    parties: Parties,
    state: ConsentState,
    receipts: tuple[ProvenReceipt, ...],
    ended_at: int | None,
    faults: list[RecordFault],
) -> Verified:
    return Verified(
        site=parties.site,
        person=parties.person,
        device=parties.device_key.fingerprint,
        leader=parties.leader_key.fingerprint,
        rows=state.length,
        ended_at=ended_at,
        receipts=receipts,
        standing=() if faults else state.granted,
        gpc_seen=state.gpc_seen,
        fault=faults[0] if faults else None,
    )


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MAXIMUM_RECORD_BYTES:
        raise RecordInvalid(f"expected at most {MAXIMUM_RECORD_BYTES} bytes, got {len(data)}")
    try:
        document = json.loads(data, object_pairs_hook=_each_once)
        canonical_json(document)
    except (ValueError, RecursionError) as error:
        raise RecordInvalid(f"expected a consent record in JSON ({type(error).__name__})") from None
    if not isinstance(document, dict) or set(document) != _FIELDS:
        raise RecordInvalid(f"expected the fields {sorted(_FIELDS)} of a consent record")
    kinds = {"rows": list, "confirmations": list, "end": str, "device_key": str, "leader_key": str}
    if document["type"] != RECORD_TYPE or document["version"] != RECORD_VERSION:
        raise RecordInvalid(f"expected a {RECORD_TYPE} of version {RECORD_VERSION}")
    if any(not isinstance(document[name], kind) for name, kind in kinds.items()):
        raise RecordInvalid("expected rows and confirmations in lists, keys and the end as text")
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("expected each name once")
    return fields


def _parties(document: dict[str, Any], leader_fingerprint: str, device_fingerprint: str | None) -> Parties:
    names = (document["site"], document["person"])
    if any(not isinstance(name, str) or not 0 < len(name) <= MAXIMUM_NAME_CHARACTERS for name in names):
        raise RecordInvalid(f"expected a site and a person of 1 to {MAXIMUM_NAME_CHARACTERS} characters")
    leader = _key(document["leader_key"], "leader", leader_fingerprint)
    return Parties(_key(document["device_key"], "device", device_fingerprint), leader, *names)


def _key(text: str, role: str, fingerprint: str | None) -> VerifyKey:
    try:
        key = VerifyKey(bytes.fromhex(text))
    except (ValueError, CryptoError):
        raise RecordInvalid(f"expected the {role}'s public key in hexadecimal") from None
    if fingerprint is not None and key.fingerprint != fingerprint:
        raise RecordInvalid(f"expected the {role} with fingerprint {fingerprint}, got {key.fingerprint}")
    return key


def _body(row: object) -> bytes:
    try:
        return canonical_json(row)
    except (ValueError, RecursionError):
        return b""  # which is no row


def _head(parties: Parties, bodies: Sequence[bytes]) -> bytes:
    """Where the chain ends, whether or not it verifies: what ``Row.digest`` gives for its last row."""
    return digest("consent-row", bodies[-1]) if bodies else parties.genesis()


def _digest(document: dict[str, Any]) -> bytes:
    return digest("consent-record", canonical_json(document))


def _ended_at(
    parties: Parties, document: dict[str, Any], bodies: Sequence[bytes]
) -> tuple[int | None, RecordFault | None]:
    """When the device signed that the ledger ends here, or what is wrong with that."""
    try:
        end = verify_document(document["end"], END_TYP, (parties.device_key,))
    except (CryptoError, RecursionError) as error:
        return None, RecordFault(None, f"the end: {error}")
    at = end.get("at")
    if set(end) != _END_FIELDS or type(at) is not int or not 0 <= at <= LATEST_SECONDS:
        return None, RecordFault(None, f"the end: expected the fields {sorted(_END_FIELDS)} with a time")
    if end["length"] != len(bodies):
        reason = f"the end: the device signed {end['length']} rows, here are {len(bodies)}: cut off or added to"
        return None, RecordFault(None, reason)
    rest = {name: value for name, value in document.items() if name != "end"}
    if end["head"] != _head(parties, bodies).hex() or end["record"] != _digest(rest).hex():
        return None, RecordFault(None, "the end: the device signed another record than this one")
    return at, None


def _confirmations(
    parties: Parties, rows: Sequence[Row], others: Sequence[object]
) -> tuple[dict[bytes, int], RecordFault | None]:
    """When the leader confirmed what, by the receipt's digest."""
    named = {receipt_digest(row.content) for row in rows if row.kind == "receipt"}
    inside = [
        verify_countersignature(row.content, parties.leader_key) for row in rows if row.kind == "countersignature"
    ]
    confirmed = {found.receipt: found.accepted_at for found in inside}
    for number, content in enumerate(others):
        try:
            found = verify_countersignature(str(content), parties.leader_key)
        except ConsentError as error:
            return confirmed, RecordFault(None, f"confirmation {number}: {error}")
        if found.receipt not in named:
            return confirmed, RecordFault(None, f"confirmation {number}: expected one of a receipt in this record")
        confirmed.setdefault(found.receipt, found.accepted_at)
    return confirmed, None


def _proven(parties: Parties, rows: Sequence[Row], confirmed: dict[bytes, int]) -> tuple[ProvenReceipt, ...]:
    return tuple(
        ProvenReceipt(row.index, name, verify_receipt(row.content, parties.device_key), row.at, confirmed.get(name))
        for row in rows
        if row.kind == "receipt"
        for name in (receipt_digest(row.content),)
    )
