"""Consent records: what a stranger with the leader's fingerprint can tell, and every way to tamper with the file."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import (
    CHURN,
    INTENT,
    PERSONA,
    PURPOSES,
    Parties,
    Receipt,
    RecordInvalid,
    Row,
    Verified,
    confirm,
    countersign,
    make_record,
    observe_gpc,
    receipt_digest,
    restart,
    sign_receipt,
    verify_record,
    write_record,
)
from consent.record_files import MAXIMUM_RECORD_BYTES, MAXIMUM_RECORD_MARKS, record_digest
from consent.records import END_TYP
from privacy.crypto import SigningKey, sign_document
from tests.consent.scenes import DEVICE, LEADER, NOW, PARTIES, STRANGER, Scene, a_grant

FINGERPRINT = LEADER.verify_key.fingerprint
Json = dict[str, Any]


def a_scene() -> Scene:
    """A grant that the leader confirmed, a signal, a refusal, a withdrawal that it has not confirmed."""
    scene = Scene()
    answer = scene.deliver(scene.grant(INTENT, PERSONA))
    scene.device, row = confirm(scene.device, answer.countersignature, NOW + 1)
    scene.rows.append(row)
    scene.device, seen = observe_gpc(scene.device, NOW + 2)
    assert seen is not None
    scene.rows.append(seen)
    scene.clock += 3
    scene.decline(CHURN)
    scene.decline(INTENT)
    return scene


SCENE = a_scene()


def a_record(scene: Scene = SCENE, confirmations: tuple[str, ...] = (), parties: Parties = PARTIES) -> Json:
    return make_record(DEVICE, parties, [row.body() for row in scene.rows], confirmations, NOW + 10)


def verified(document: Json, leader: str = FINGERPRINT, device: str | None = None) -> Verified:
    return verify_record(write_record(document), leader, device)


def signed_anew(document: Json, key: SigningKey = DEVICE) -> Json:
    """What a device, or a forger with another key, signs over whatever the file says."""
    parties = replace(PARTIES, device_key=key.verify_key, site=document["site"], person=document["person"])
    bodies = [write_record(row)[:-1] for row in document["rows"]]
    made = make_record(key, parties, bodies, document["confirmations"], NOW + 10)
    assert document["leader_key"] == made["leader_key"]
    return made


def chained(contents: list[tuple[str, str]], parties: Parties = PARTIES) -> list[Row]:
    """Rows with a fresh, unbroken chain: what a forger can always make, for digests need no key."""
    rows: list[Row] = []
    for kind, content in contents:
        previous = rows[-1].digest if rows else parties.genesis()
        rows.append(Row(len(rows), previous, kind, content, NOW + len(rows)))  # type: ignore[arg-type]  # any kind
    return rows


def refused(document: Json, row: int | None, reason: str) -> None:
    """The record does not verify, for this row and reason, and nothing stands."""
    result = verified(document)
    assert result.fault is not None
    assert (result.fault.row, reason in result.fault.reason) == (row, True), result.fault
    assert result.standing == ()
    assert json.loads(json.dumps(result.document()))["verified"] is False


def test_a_record_shows_every_choice_with_the_leaders_word():
    """Kind, purposes, times, whether it was confirmed and when; what stands at the end; who signed."""
    result = verified(a_record())
    assert result.holds
    assert [proven.receipt.kind for proven in result.receipts] == ["grant", "refusal", "withdrawal"]
    assert [proven.confirmed_at for proven in result.receipts] == [NOW, None, None]
    assert [proven.row for proven in result.receipts] == [0, 3, 4]
    assert [grant.purpose for grant in result.standing] == [PERSONA]
    assert (result.device, result.leader) == (DEVICE.verify_key.fingerprint, FINGERPRINT)
    assert (result.rows, result.ended_at, result.gpc_seen) == (5, NOW + 10, True)


def test_a_finding_is_json_with_stable_names():
    """What a program reads: names and ISO times, expiry for grants alone."""
    found = json.loads(json.dumps(verified(a_record()).document()))
    names = "verified site person device leader rows ended_at receipts restarts set_aside found unseen_epochs"
    assert list(found) == [*names.split(), "standing", "gpc_seen", "fault"]
    assert found["receipts"][0]["issued_at"] == "2026-05-28T20:26:40Z"
    assert [receipt["expires_at"] is None for receipt in found["receipts"]] == [False, True, True]
    assert found["standing"][0]["receipt"] == receipt_digest(SCENE.rows[0].content).hex()


def test_a_confirmation_that_came_too_late_for_a_row_counts():
    """A later choice overtook it: it is beside the ledger, and the receipt is confirmed all the same."""
    last = SCENE.rows[-1].content
    result = verified(a_record(confirmations=(countersign(LEADER, last, NOW + 5),)))
    assert result.holds
    assert result.receipts[-1].confirmed_at == NOW + 5


def test_an_empty_ledger_and_another_spelling_of_the_file_verify():
    """Nothing chosen is a record too; a file that was indented says the same."""
    assert verified(a_record(Scene())).holds
    assert verify_record(json.dumps(a_record(), indent=2).encode(), FINGERPRINT).holds


def test_a_ledger_that_was_restarted_verifies_with_nothing_granted():
    """The fault of long ago is in the chain, and shown; what was granted before it is not."""
    scene = a_scene()
    faulty = replace(scene.device, fault="lost")
    scene.device, row = restart(faulty, NOW + 9)
    scene.rows.append(row)
    result = verified(a_record(scene))
    assert result.holds
    assert result.standing == ()
    (shown,) = result.document()["restarts"]
    assert (shown["row"], shown["epoch"], shown["reason"]) == (5, 2, "lost")
    assert (result.set_aside, result.found, result.unseen_epochs) == (0, (), ())


def damaged_scene() -> tuple[Scene, list[bytes]]:
    """A withdrawal that the leader confirmed, its rows set aside after damage, and a new yes."""
    scene = Scene()
    kept = len(scene.rows)
    scene.deliver(scene.grant(INTENT))
    scene.clock += 5
    scene.deliver(scene.decline(INTENT))
    aside = [row.body() for row in scene.rows[kept:]]
    empty = replace(Scene().device, fault="row 0 is rotten", epoch=scene.device.epoch)
    scene.rows = []
    scene.device, row = restart(empty, scene.clock)
    scene.rows.append(row)
    scene.grant(PERSONA)
    return scene, aside


def made(scene: Scene, aside: list[bytes], confirmations: tuple[str, ...] = ()) -> Json:
    bodies = [row.body() for row in scene.rows]
    return make_record(DEVICE, PARTIES, bodies, confirmations, NOW + 99, set_aside=aside)


def test_a_withdrawal_that_was_set_aside_is_shown_with_the_leaders_word():
    """It counts for nothing in the ledger, and an auditor sees it all the same: signed, confirmed, and not hidden."""
    scene, aside = damaged_scene()
    aside = [aside[0].replace(b'"at":1', b'"at":2'), *aside[1:], b"\xff rotten"]
    word = countersign(LEADER, json.loads(aside[-2])["content"], NOW + 6)
    result = verified(made(scene, aside, (word,)))
    assert result.holds
    assert result.set_aside == len(aside)
    shown = result.document()
    assert [item["kind"] for item in shown["receipts"]] == ["grant"]
    assert [(item["kind"], item["confirmed_at"]) for item in shown["found"]] == [
        ("grant", None),
        ("withdrawal", "2026-05-28T20:26:46Z"),
    ]
    assert [item["place"] for item in shown["found"]] == [0, 1]
    assert [item["purpose"] for item in shown["standing"]] == [PERSONA]
    assert shown["unseen_epochs"] == []


def test_a_withdrawal_that_was_left_out_leaves_a_gap_of_epochs():
    """Nothing of it is in the file; the epoch that it had is, with the restart and with the next choice."""
    scene, aside = damaged_scene()
    assert verified(made(scene, [])).unseen_epochs == ((1, 2),)
    assert verified(made(scene, aside[:1])).unseen_epochs == ((2, 2),)
    assert verified(made(scene, aside[1:])).unseen_epochs == ((1, 1),)


def test_a_receipt_without_a_row_is_shown_and_what_is_set_aside_proves_nothing_else():
    """Whatever is set aside, the record verifies; only receipts of this device, for these parties, are shown."""
    scene, aside = damaged_scene()
    mine = json.loads(aside[1])["content"]
    others = [forged_receipt(STRANGER), forged_receipt(DEVICE, person="p2"), forged_receipt(DEVICE, site="https://x")]
    junk = [b"", b"null", b'{"content":7}', b'{"content":[[]]}', *(jws.encode() for jws in others)]
    result = verified(made(scene, [mine.encode(), aside[1], *junk, countersign(STRANGER, mine, NOW).encode()]))
    assert result.holds
    assert [(item.place, item.receipt.kind, item.confirmed_at) for item in result.found] == [(0, "withdrawal", None)]


def test_what_was_set_aside_cannot_be_added_or_taken_out_of_a_signed_record():
    """The device's word at the end covers it."""
    scene, aside = damaged_scene()
    document = made(scene, aside)
    for other in (aside[:1], [], [*aside, b"x"]):
        changed = {**document, "set_aside": made(scene, other)["set_aside"]}
        refused(changed, None, "the device signed another record")


def test_the_key_in_the_file_is_not_believed():
    """A leader that put its own key in signs for nothing: the fingerprint comes from outside of the file."""
    result = verify_record(write_record(a_record()), STRANGER.verify_key.fingerprint)
    assert result.fault is not None
    assert "expected the leader with fingerprint" in result.fault.reason
    assert result.receipts == ()


def test_a_known_device_is_insisted_on():
    """Where the device's fingerprint is known, a whole record of another device does not pass for its own."""
    assert verified(a_record(), device=DEVICE.verify_key.fingerprint).holds
    result = verified(a_record(), device=STRANGER.verify_key.fingerprint)
    assert result.fault is not None
    assert "expected the device with fingerprint" in result.fault.reason


@pytest.mark.parametrize("keep", range(5))
def test_a_cut_end_is_noticed(keep):
    """The device signed how many rows there are, and which is the last."""
    document = a_record()
    document["rows"] = document["rows"][:keep]
    refused(document, None, f"signed 5 rows, here are {keep}")


def test_rows_added_after_the_end_are_noticed():
    """A row that nobody but the chain would hold, such as an observed signal, needs the device's word too."""
    document = a_record(Scene())
    document["rows"] = [json.loads(row.body()) for row in chained([("gpc", "")])]
    refused(document, None, "signed 0 rows, here are 1")


def test_an_older_end_for_a_shorter_ledger_is_what_a_device_can_still_sign():
    """Said plainly: this cannot be noticed from the file alone, and the page says so."""
    scene = a_scene()
    scene.rows = scene.rows[:1]
    result = verified(a_record(scene))
    assert result.holds
    assert [grant.purpose for grant in result.standing] == [INTENT, PERSONA]


def test_reordered_dropped_and_doubled_rows_are_refused():
    """The row is named at which the chain stops to hold."""
    orders = (((1, 0, 2, 3, 4), 0), ((0, 2, 1, 3, 4), 1), ((0, 1, 2, 4, 3), 3), ((0, 1, 3, 4), 2), ((0, 0, 1, 2), 1))
    for order, row in orders:
        document = a_record()
        document["rows"] = [document["rows"][number] for number in order]
        refused(signed_anew(document), row, f"expected row {row} of this chain")


def forged_receipt(key: SigningKey, **changes: Any) -> str:
    receipt: Receipt = a_grant(**{**changes, "device_key": key.verify_key})
    return sign_receipt(key, receipt)


OTHERS_LEDGER = replace(PARTIES, person="person-2")
CASES: dict[str, tuple[Callable[[], list[tuple[str, str]]], int, str]] = {
    "a receipt of another device": (lambda: [("receipt", forged_receipt(STRANGER))], 0, "signature_invalid"),
    "a receipt of another person": (lambda: [("receipt", forged_receipt(DEVICE, person="p2"))], 0, "wrong_person"),
    "a receipt for another site": (lambda: [("receipt", forged_receipt(DEVICE, site="https://x"))], 0, "wrong_site"),
    "a receipt for another leader": (lambda: [("receipt", forged_receipt(DEVICE, leader="x"))], 0, "wrong_audience"),
    "an edited receipt": (lambda: [("receipt", SCENE.rows[0].content.replace("Z", "Y", 1))], 0, "signature_invalid"),
    "the same receipt twice": (lambda: [("receipt", SCENE.rows[0].content)] * 2, 1, "epoch_not_after"),
    "an older receipt again": (
        lambda: [(row.kind, row.content) for row in (*SCENE.rows, SCENE.rows[0])],
        5,
        "epoch_not_after",
    ),
    "another leader's confirmation": (
        lambda: [
            ("receipt", SCENE.rows[0].content),
            ("countersignature", countersign(STRANGER, SCENE.rows[0].content, NOW)),
        ],
        1,
        "not among the 1 accepted keys",
    ),
    "a confirmation of another receipt": (
        lambda: [
            ("receipt", SCENE.rows[0].content),
            ("countersignature", countersign(LEADER, SCENE.rows[4].content, NOW)),
        ],
        1,
        "expected a confirmation of the last receipt",
    ),
    "a receipt as a confirmation": (
        lambda: [("receipt", SCENE.rows[0].content), ("countersignature", SCENE.rows[0].content)],
        1,
        "expected a signed document of type",
    ),
    "a restart to an earlier epoch": (
        lambda: [("receipt", SCENE.rows[0].content), ("restart", '{"epoch":0}')],
        1,
        "expected a restart",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_row_is_named_with_its_reason(case):
    """Even when the chain was made anew around it and the device itself signed the end."""
    contents, row, reason = CASES[case]
    document = a_record()
    document["rows"] = [json.loads(made.body()) for made in chained(contents())]
    refused(signed_anew(document), row, reason)


def test_a_whole_ledger_of_another_person_is_refused_at_its_first_row():
    """Rows of one ledger never fit another, whoever signs the end."""
    document = {**a_record(), "person": "person-2"}
    refused(signed_anew(document), 0, "expected row 0 of this chain")
    rows = chained([(row.kind, row.content) for row in SCENE.rows], OTHERS_LEDGER)
    document["rows"] = [json.loads(row.body()) for row in rows]
    refused(signed_anew(document), 0, "wrong_person")


def test_an_end_of_another_key_type_or_record_is_refused():
    """Only this device's word on this record, made as such, ends it."""
    document = a_record()
    end = {"head": SCENE.rows[-1].digest.hex(), "length": 5, "at": NOW, "record": "00" * 32}
    refused({**document, "end": a_record(Scene())["end"]}, None, "signed 0 rows, here are 5")
    refused({**document, "end": sign_document(DEVICE, END_TYP, end)}, None, "signed another record")
    refused({**document, "end": sign_document(STRANGER, END_TYP, end)}, None, "not among the 1 accepted keys")
    refused({**document, "end": sign_document(DEVICE, "hearthside-receipt+jwt", end)}, None, "of type")
    refused({**document, "end": sign_document(DEVICE, END_TYP, {**end, "at": "now"})}, None, "expected the fields")


def test_a_confirmation_beside_the_ledger_is_checked_too():
    """One of another leader, of a receipt that is not here, or that is none: the record does not verify."""
    for bad, reason in (
        (countersign(STRANGER, SCENE.rows[0].content, NOW), "not among the 1 accepted keys"),
        (countersign(LEADER, "elsewhere", NOW), "expected one of a receipt in this record"),
        ("junk", "not a compact JWS"),
    ):
        refused(a_record(confirmations=(bad,)), None, reason)
        refused(a_record(confirmations=(bad,)), None, "confirmation 0: ")
    document = a_record()
    document["confirmations"] = [7]
    refused(document, None, "expected confirmations as text")


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def survives(data: bytes, position: int, bit: int) -> bool:
    return verify_record(flipped(data, position, bit), FINGERPRINT).holds


def test_a_flipped_bit_anywhere_is_noticed():
    """Sampled here; every bit of every byte in the long run. Only the line's end after the record says nothing."""
    data = write_record(a_record())[:-1]
    draw = random.Random(4)
    places = [(draw.randrange(len(data)), draw.randrange(8)) for _ in range(400)]
    assert [place for place in places if survives(data, *place)] == []


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_every_flipped_bit_is_noticed():
    """Each bit of a small record, one at a time."""
    scene = Scene()
    scene.deliver(scene.grant(INTENT))
    data = write_record(a_record(scene))[:-1]
    assert [p for p in range(len(data)) for bit in range(8) if survives(data, p, bit)] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"NaN",
        b"[" * 100_000,
        b'{"type":1e999}',
        b'{"version":' + b"9" * 5_000 + b"}",
        b'{"type":"\\ud800"}',
        b'{"rows":[],"rows":[]}',
        b" " * (MAXIMUM_RECORD_BYTES + 1),
        b"[" + b"{}," * MAXIMUM_RECORD_MARKS + b"0]",
    ],
    ids=range(13),
)
def test_what_is_no_record_has_one_answer(data):
    """Garbage of any kind and length is a finding, never an exception."""
    result = verify_record(data, FINGERPRINT)
    assert not result.holds
    assert json.dumps(result.document())


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_part_replaced_by_anything_is_noticed_and_raises_nothing(data):
    """A field, a row or a part of a row becomes something else: the verifier stays total."""
    document = json.loads(write_record(FULL))
    parts = [document, document["rows"], *document["rows"], document["set_aside"], *document["set_aside"]]
    target: Any = data.draw(st.sampled_from(parts))
    key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
    target[key] = data.draw(JUNK)
    result = verify_record(json.dumps(document).encode(), FINGERPRINT)
    assert json.dumps(result.document())
    assert not result.holds or write_record(document) == write_record(FULL)


FULL = made(*damaged_scene())


@settings(max_examples=150, deadline=None)
@given(st.lists(JUNK, max_size=4), st.lists(JUNK, max_size=4), JUNK)
def test_any_json_signed_by_the_device_is_judged_without_an_error(rows, aside, word):
    """A device may sign anything: rows, what is set aside and confirmations of any JSON, with a good end."""
    document = {**FULL, "rows": rows, "set_aside": aside, "confirmations": [word]}
    with contextlib.suppress(ValueError):  # of such a value there is no canonical form, so no record
        end = {"head": "00" * 32, "length": len(rows), "at": NOW, "record": record_digest(document).hex()}
        document["end"] = sign_document(DEVICE, END_TYP, end)
        assert json.dumps(verify_record(json.dumps(document).encode(), FINGERPRINT).document())


def test_a_bomb_is_refused_before_it_is_parsed(monkeypatch):
    """Two bytes of a list become seventy of memory: their number is bounded before the parser sees them."""
    monkeypatch.setattr("consent.record_files.json.loads", None)
    for bomb in (
        b"[" + b"[]," * MAXIMUM_RECORD_MARKS,
        b'{"":0}' * MAXIMUM_RECORD_MARKS,
        b"9" * MAXIMUM_RECORD_BYTES * 2,
    ):
        result = verify_record(bomb, FINGERPRINT)
        assert result.fault is not None
        assert "expected at most" in result.fault.reason


def test_a_record_that_cannot_be_parsed_deeper_than_its_form_is_refused():
    """What nests in a row is no row, and is not looked into."""
    document = {**a_record(), "rows": [{"content": {}}]}
    refused(document, None, "rows, number 0: expected text, or an object of text and numbers")


def test_a_choice_a_day_for_five_years_fits():
    """What the limit's reason says: the size and the marks of a confirmed choice of every purpose, times the days."""
    scene, names = Scene(), [purpose.id for purpose in PURPOSES]
    answer = scene.deliver(scene.grant(*names))
    scene.device, row = confirm(scene.device, answer.countersignature, NOW + 1)
    scene.rows.append(row)
    one = len(write_record(a_record(scene))) - len(write_record(a_record(Scene())))
    assert one * 5 * 365 < MAXIMUM_RECORD_BYTES
    assert MAXIMUM_RECORD_MARKS / 4 > 2 * 11 * 5 * 365


def test_a_name_twice_is_no_record():
    """Readers differ on which of two counts, so that a file with both would show two people two things."""
    data = write_record(a_record()).replace(b'"person":', b'"person":"person-2","person":', 1)
    assert json.loads(data) == a_record()
    result = verify_record(data, FINGERPRINT)
    assert result.fault is not None
    assert "in JSON" in result.fault.reason


def test_times_beyond_the_calendar_do_not_end_the_verifier():
    """A device may sign any number; a finding says no time rather than failing."""
    rows = [replace(row, at=2**53 - 1) for row in chained([("receipt", forged_receipt(DEVICE, issued_at=NOW))])]
    document = make_record(DEVICE, PARTIES, [row.body() for row in rows], [], NOW)
    assert json.dumps(verified(document).document())
    late = forged_receipt(DEVICE, issued_at=253_402_300_799)
    rows = [replace(row, at=253_402_300_799) for row in chained([("receipt", late)])]
    found = verified(make_record(DEVICE, PARTIES, [row.body() for row in rows], [], NOW))
    assert found.holds
    assert found.document()["receipts"][0]["expires_at"] is None


def test_a_record_is_made_by_the_device_itself():
    """Another key makes no record; rows that do not verify, or are no JSON, make one that says so."""
    with pytest.raises(RecordInvalid, match="expected key"):
        make_record(STRANGER, PARTIES, [], [], NOW)
    for body in (b"\xff", b"{", b'{"at":1.5}', SCENE.rows[0].body() + b" ", b'{"content":' + b"[" * 5_000, b'"row"'):
        document = make_record(DEVICE, PARTIES, [body], [], NOW)
        refused(document, 0, "expected a row in canonical JSON")
        assert "the end" not in str(verified(document).fault)
        assert verified(document).ended_at == NOW
    bodies = [row.body() for row in SCENE.rows]
    refused(make_record(DEVICE, PARTIES, bodies[1:], [], NOW), 0, "expected row 0 of this chain")
    assert DEVICE.seed().hex() not in json.dumps(a_record())
