"""Consent records: a person's whole consent ledger in one file, which anyone with the leader's fingerprint can verify.

Pure, and total on hostile input: no network, no store, no clock. The device writes the file and signs where it ends.
The verifier believes no key because it is in the file: the leader's is believed for its fingerprint, which comes from
paper or another channel, and the device's for the receipts that it signed, or for a fingerprint where one is known.

What is noticed: an edited, forged, inserted, dropped or reordered row, a cut end, a receipt of another person, site,
device or leader, a confirmation by anybody else. What is not: a device that signs an older, or another, ledger of its
own. Only the leader, which holds what it confirmed, can show that.

A ledger that was damaged goes on after a restart, and what did not verify is set aside, not lost: the record carries
it, and shows which of it verifies by itself, as a receipt does that this device signed and perhaps the leader
confirmed. Epochs that no receipt of the record fills are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from consent.countersignatures import Countersignature, verify_countersignature
from consent.errors import ConsentError, RecordInvalid
from consent.instants import LATEST_SECONDS
from consent.ledger import replay
from consent.proofs import Found, ProvenReceipt, RecordFault, Restart, Verified, unseen_epochs
from consent.receipts import MAXIMUM_NAME_CHARACTERS, Receipt, receipt_digest
from consent.record_files import RECORD_TYPE, RECORD_VERSION, carried, content_of, read_record, record_digest, row_body
from consent.rotations import keys_of, verify_receipt_of
from consent.rows import Row, head_after
from consent.state import Parties
from privacy.crypto import CryptoError, SigningKey, VerifyKey, sign_document, verify_document

END_TYP: Final = "hearthside-consent-end+jwt"
_END_FIELDS: Final = {"head", "length", "at", "record"}


def make_record(
    key: SigningKey,
    parties: Parties,
    rows: Sequence[bytes],
    confirmations: Sequence[str],
    at: int,
    *,
    set_aside: Sequence[bytes] = (),
) -> dict[str, Any]:
    """The record of one ledger, as JSON. Run by the device. A ledger that does not verify is written as it is.

    Args:
        key: the device's key.
        parties: between whom.
        rows: the stored rows, in order; one that is no JSON is carried as text.
        confirmations: countersignatures without a row of their own.
        at: Unix seconds now.
        set_aside: rows that did not verify when the ledger was restarted, and receipts that are in no row.

    Raises:
        RecordInvalid: the key is not the device's.
    """
    if key.verify_key != parties.device_key:
        raise RecordInvalid(f"expected key {parties.device_key.fingerprint}, got {key.verify_key.fingerprint}")
    document: dict[str, Any] = {
        "type": RECORD_TYPE,
        "version": RECORD_VERSION,
        "device_key": parties.device_key.raw.hex(),
        "leader_key": parties.leader_key.raw.hex(),
        "site": parties.site,
        "person": parties.person,
        "rows": carried(rows),
        "set_aside": carried(set_aside),
        "confirmations": list(confirmations),
    }
    head = _head(parties, [row_body(row) for row in document["rows"][-1:]])
    end = {"head": head.hex(), "length": len(rows), "at": at, "record": record_digest(document).hex()}
    return {**document, "end": sign_document(key, END_TYP, end)}


def verify_record(data: bytes, leader_fingerprint: str, device_fingerprint: str | None = None) -> Verified:
    """Say what a record shows; never raises. Run by anyone.

    Args:
        data: the file, in any spelling of its JSON.
        leader_fingerprint: the leader's, from paper or another channel.
        device_fingerprint: the device's, where it is known.
    """
    try:
        document = read_record(data)
        parties = _parties(document, leader_fingerprint, device_fingerprint)
    except RecordInvalid as error:
        return Verified(fault=RecordFault(None, str(error)))
    bodies = [row_body(row) for row in document["rows"]]
    state = replay(parties, bodies)
    rows = [Row.parse(body) for body in bodies[: state.length]]
    keys = keys_of(parties, rows)
    own = [(receipt_digest(row.content), row) for row in rows if row.kind == "receipt"]
    names = {name for name, _ in own}
    others = {name: found for name, found in _signed(parties, keys, document["set_aside"]).items() if name not in names}
    confirmed, refused = _confirmations(parties, names | set(others), rows, document)
    ended_at, unended = _ended_at(parties, document, bodies)
    broken = None if state.fault is None else RecordFault(state.length, state.fault)
    fault = next((fault for fault in (broken, unended, refused) if fault is not None), None)
    receipts = tuple(_proven(keys, name, row, confirmed.get(name)) for name, row in own)
    found = tuple(Found(place, name, what, confirmed.get(name)) for name, (place, what) in others.items())
    restarts = tuple(Restart.parse(row) for row in rows if row.kind == "restart")
    return Verified(
        site=parties.site,
        person=parties.person,
        device=parties.device_key.fingerprint,
        leader=parties.leader_key.fingerprint,
        rows=state.length,
        ended_at=ended_at,
        receipts=receipts,
        restarts=restarts,
        set_aside=len(document["set_aside"]),
        found=found,
        unseen_epochs=unseen_epochs(receipts, restarts, found),
        standing=() if fault is not None else state.granted,
        gpc_seen=state.gpc_seen,
        fault=fault,
    )


def _parties(document: dict[str, Any], leader_fingerprint: str, device_fingerprint: str | None) -> Parties:
    names = (document["site"], document["person"])
    if any(not 0 < len(name) <= MAXIMUM_NAME_CHARACTERS for name in names):
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


def _head(parties: Parties, bodies: Sequence[bytes]) -> bytes:
    """Where the chain ends, whether or not it verifies."""
    return head_after(bodies[-1]) if bodies else parties.genesis()


def _ended_at(
    parties: Parties, document: dict[str, Any], bodies: Sequence[bytes]
) -> tuple[int | None, RecordFault | None]:
    """When the device signed that the ledger ends here, or what is wrong with that."""
    try:
        end = verify_document(document["end"], END_TYP, (parties.device_key,))
    except CryptoError as error:
        return None, RecordFault(None, f"the end: {error}")
    at = end.get("at")
    if set(end) != _END_FIELDS or type(at) is not int or not 0 <= at <= LATEST_SECONDS:
        return None, RecordFault(None, f"the end: expected the fields {sorted(_END_FIELDS)} with a time")
    if end["length"] != len(bodies):
        reason = f"the end: the device signed {end['length']} rows, here are {len(bodies)}: cut off or added to"
        return None, RecordFault(None, reason)
    if end["head"] != _head(parties, bodies).hex() or end["record"] != record_digest(document).hex():
        return None, RecordFault(None, "the end: the device signed another record than this one")
    return at, None


def _signed(parties: Parties, keys: Sequence[VerifyKey], set_aside: Sequence[Any]) -> dict[bytes, tuple[int, Receipt]]:
    """The receipts among what was set aside that this device signed for these parties, with their places."""
    found: dict[bytes, tuple[int, Receipt]] = {}
    for place, content in enumerate(map(content_of, set_aside)):
        try:
            receipt = verify_receipt_of(content, keys)
        except ConsentError:
            continue
        names = (receipt.leader, receipt.site, receipt.person)
        if names == (parties.leader_key.fingerprint, parties.site, parties.person):
            found.setdefault(receipt_digest(content), (place, receipt))
    return found


def _confirmations(
    parties: Parties, named: set[bytes], rows: Sequence[Row], document: dict[str, Any]
) -> tuple[dict[bytes, int], RecordFault | None]:
    """When the leader confirmed what, by the receipt's digest."""
    inside = [row.content for row in rows if row.kind == "countersignature"]
    words = [*_words(parties, inside), *_words(parties, map(content_of, document["set_aside"]))]
    confirmed = dict[bytes, int]()
    for word in words:
        confirmed.setdefault(word.receipt, word.accepted_at)
    for number, content in enumerate(document["confirmations"]):
        try:
            word = verify_countersignature(content, parties.leader_key)
        except ConsentError as error:
            return confirmed, RecordFault(None, f"confirmation {number}: {error}")
        if word.receipt not in named:
            return confirmed, RecordFault(None, f"confirmation {number}: expected one of a receipt in this record")
        confirmed.setdefault(word.receipt, word.accepted_at)
    return confirmed, None


def _words(parties: Parties, contents: Any) -> Iterator[Countersignature]:
    for content in contents:
        try:
            yield verify_countersignature(content, parties.leader_key)
        except ConsentError:
            continue


def _proven(keys: Sequence[VerifyKey], name: bytes, row: Row, confirmed_at: int | None) -> ProvenReceipt:
    return ProvenReceipt(row.index, name, verify_receipt_of(row.content, keys), row.at, confirmed_at)
