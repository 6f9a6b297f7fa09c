"""Receipts and countersignatures."""

import base64
import json
from dataclasses import replace

import pytest

from consent import (
    INTENT,
    PERSONA,
    CountersignatureInvalid,
    Receipt,
    ReceiptInvalid,
    countersign,
    receipt_digest,
    sign_receipt,
    verify_countersignature,
    verify_receipt,
)
from consent.receipts import RECEIPT_TYP
from privacy.crypto import sign_document
from tests.consent.scenes import DEVICE, LEADER, NOW, STRANGER, a_grant, signed


def refused(jws, key=DEVICE.verify_key):
    with pytest.raises(ReceiptInvalid) as caught:
        verify_receipt(jws, key)
    return caught.value.code


def test_a_receipt_says_the_same_after_signing_and_verifying():
    """Every field survives, for several purposes at once."""
    receipt = a_grant(purposes=(INTENT, PERSONA))
    assert verify_receipt(signed(receipt), DEVICE.verify_key) == receipt
    assert receipt.expires_at == NOW + 180 * 86_400


def test_a_receipt_is_linked_data_in_the_vocabulary_of_the_standard():
    """The mandatory metadata of ISO/IEC TS 27560 and the DPV terms of subject, controller, notice, purpose, status."""
    receipt = a_grant(purposes=(INTENT, PERSONA))
    document = receipt.document()
    assert document["@context"]["dpv"] == "https://w3id.org/dpv#"
    assert document["@type"] == "dpv:ConsentReceipt"
    assert {"dct:identifier", "dct:conformsTo"} <= set(document)
    assert document["dpv:hasConsentStatus"]["@type"] == "dpv:ConsentGiven"
    assert document["dpv:hasConsentStatus"]["dpv:isIndicatedAtTime"] == "2026-05-28T20:26:40Z"
    names = [f"urn:hearthside:purpose:{purpose}:{version}" for purpose, version in receipt.purpose_versions]
    assert [process["dpv:hasPurpose"] for process in document["dpv:hasProcess"]] == [{"@id": name} for name in names]


def test_a_receipt_of_another_key_is_refused():
    """A forger cannot speak for a device, and a device signs only what names it."""
    assert refused(signed(a_grant()), STRANGER.verify_key) == "signature_invalid"
    with pytest.raises(ReceiptInvalid, match="wrong_device"):
        sign_receipt(STRANGER, a_grant())
    posing = sign_document(STRANGER, RECEIPT_TYP, a_grant().document())
    assert refused(posing, STRANGER.verify_key) == "wrong_device"


def test_every_edited_character_is_refused():
    """Header, payload and signature are covered alike."""
    jws = signed(a_grant())
    for position in range(0, len(jws), 37):
        other = "B" if jws[position] == "A" else "A"
        edited = jws[:position] + other + jws[position + 1 :]
        assert refused(edited) == "signature_invalid"


@pytest.mark.parametrize("junk", ["", "a", "a.b", "a.b.c", "....", "é", "x" * 20_000])
def test_what_is_no_receipt_is_refused(junk):
    """Garbage of any length has one answer."""
    assert refused(junk) in {"signature_invalid", "malformed"}


def test_a_header_nested_deeper_than_the_parser_goes_is_refused():
    """A hostile header cannot end the process."""
    header = base64.urlsafe_b64encode(b"[" * 9_000).decode().rstrip("=")
    assert refused(f"{header}.e30.AA") == "signature_invalid"


def test_a_signed_payload_nested_deeper_than_the_parser_goes_is_refused():
    """Nor can an enrolled device that signs nonsense with its own key."""
    header = {"alg": "Ed25519", "typ": RECEIPT_TYP, "kid": DEVICE.verify_key.fingerprint}
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (json.dumps(header).encode(), b"[" * 9_000)]
    signature = base64.urlsafe_b64encode(DEVICE.sign(b".".join(parts))).rstrip(b"=")
    assert refused(b".".join([*parts, signature]).decode()) == "signature_invalid"


def test_another_type_of_document_is_no_receipt():
    """What a device signed for another purpose is never taken as consent."""
    assert refused(sign_document(DEVICE, "hearthside-report+jwt", a_grant().document())) == "signature_invalid"


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(extra=1),
        lambda d: d.pop("hearthside:gpc"),
        lambda d: d.update({"hearthside:gpc": 1}),
        lambda d: d.update({"hearthside:gpc": 0}),
        lambda d: d.update({"hearthside:epoch": "1"}),
        lambda d: d.update({"hearthside:epoch": True}),
        lambda d: d.update({"dpv:hasProcess": []}),
        lambda d: d.update({"dpv:hasProcess": 7}),
        lambda d: d["dpv:hasProcess"].append(d["dpv:hasProcess"][0]),
        lambda d: d["dpv:hasProcess"][0].update({"dpv:hasPurpose": {}}),
        lambda d: d["dpv:hasProcess"][0].update({"dpv:hasPurpose": {"@id": "urn:hearthside:purpose:intent:01"}}),
        lambda d: d["dpv:hasProcess"][0].update({"dpv:hasPurpose": {"@id": "intent:1"}}),
        lambda d: d["dpv:hasProcess"][0].update({"dpv:hasPurpose": {"@id": "urn:hearthside:purpose:intent"}}),
        lambda d: d["hearthside:standing"][0].update({"@id": 7}),
        lambda d: d["dpv:hasDataController"].update({"dpv:hasContact": "https://elsewhere.example"}),
        lambda d: d["dpv:hasConsentStatus"].update({"@type": "dpv:ConsentRefused"}),
        lambda d: d["dpv:hasConsentStatus"].update({"dpv:isIndicatedAtTime": "2026-05-28T20:26:40+00:00"}),
        lambda d: d["dpv:hasConsentStatus"]["dpv:hasDuration"].update({"rdf:value": "P9999D"}),
        lambda d: d["dpv:hasNotice"].update({"dct:language": "fr"}),
        lambda d: d["dpv:hasDataSubject"].update({"dct:identifier": ["person-1"]}),
        lambda d: d.update({"@context": {}}),
        lambda d: d["dct:conformsTo"].pop(0),
        lambda d: d["dct:conformsTo"][1].update({"@id": "urn:hearthside:receipt:2"}),
    ],
)
def test_a_signed_document_of_another_shape_is_refused(edit):
    """Even the right key cannot sign something that merely resembles a receipt."""
    document = json.loads(json.dumps(a_grant().document()))
    edit(document)
    assert refused(sign_document(DEVICE, RECEIPT_TYP, document)) == "malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"chosen": ()},
        {"chosen": (INTENT, INTENT)},
        {"granted": ()},
        {"kind": "withdrawal"},
        {"kind": "maybe"},
        {"purpose_versions": ()},
        {"purpose_versions": ((INTENT, 0),)},
        {"notice_hash": b"short"},
        {"epoch": 0},
        {"issued_at": -1},
        {"valid_days": 0},
        {"valid_days": 396},
        {"site": ""},
        {"version": 2},
    ],
)
def test_a_receipt_that_contradicts_itself_cannot_be_made(change):
    """Each field has one meaning, checked on construction."""
    with pytest.raises(ReceiptInvalid, match="malformed"):
        replace(a_grant(), **change)


def test_a_countersignature_names_the_receipt_and_the_time():
    """It is deterministic, so that a retry gets identical bytes."""
    jws = signed(a_grant())
    confirmation = countersign(LEADER, jws, NOW)
    assert verify_countersignature(confirmation, LEADER.verify_key) == (receipt_digest(jws), NOW)
    assert countersign(LEADER, jws, NOW) == confirmation


def test_a_countersignature_of_another_leader_is_refused():
    """Only the leader that the receipt addresses can confirm it; a receipt is no confirmation either."""
    jws = signed(a_grant())
    for bad in (countersign(STRANGER, jws, NOW), jws, "junk"):
        with pytest.raises(CountersignatureInvalid):
            verify_countersignature(bad, LEADER.verify_key)


def test_a_receipt_holds_the_public_key_only():
    """Nothing secret is in the document."""
    assert DEVICE.seed().hex() not in json.dumps(a_grant().document())
    assert isinstance(Receipt.parse(a_grant().document()), Receipt)
