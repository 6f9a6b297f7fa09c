"""Bad input of every kind, at the device and at the leader: refused with its code, nothing changed, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent import (
    GATES,
    INTENT,
    NO_SIGNALS,
    PERSONA,
    Accepted,
    ConsentError,
    ConsentState,
    CountersignatureInvalid,
    Receipt,
    ReceiptInvalid,
    Refused,
    Row,
    accept,
    confirm,
    countersign,
    decide,
    grant,
    notice,
    observe_gpc,
    open_ledger,
    record,
    replay,
    restart,
    sign_receipt,
)
from privacy.crypto import sign_document
from tests.consent.scenes import DAY, DEVICE, LEADER, NOW, PARTIES, SITE, STRANGER, Scene, signed


def a_life() -> Scene:
    """Granted, withdrawn, granted again: both sides agree, and an old yes and an old no are about."""
    scene = Scene()
    for jws in (scene.grant(INTENT, PERSONA), scene.decline(PERSONA), scene.grant(PERSONA)):
        scene.deliver(jws)
    return scene


def next_grant(scene: Scene, **changes) -> Receipt:
    """The grant that would be accepted now, with any field changed."""
    shown = changes.pop("notice", notice(SITE, "en"))
    return replace(grant(scene.device, [INTENT], notice=shown, issued_at=scene.clock), **changes)


def by(key, receipt: Receipt) -> str:
    """A receipt that names another key than the one that signs it, put together by hand."""
    return sign_document(key, "hearthside-receipt+jwt", receipt.document())


def edited(scene: Scene) -> str:
    head, body, signature = signed(next_grant(scene)).split(".")
    return f"{head}.{body[:40]}{'A' if body[40] != 'A' else 'B'}{body[41:]}.{signature}"


def with_version(scene: Scene, version: int) -> str:
    receipt = next_grant(scene)
    versions = tuple((name, version if name == INTENT else v) for name, v in receipt.purpose_versions)
    return signed(replace(receipt, purpose_versions=versions))


def unknown_purpose(scene: Scene) -> str:
    receipt = next_grant(scene)
    versions = tuple(sorted((*receipt.purpose_versions, ("telepathy", 1))))
    both = tuple(sorted((*receipt.granted, "telepathy")))
    return signed(replace(receipt, chosen=("telepathy",), granted=both, purpose_versions=versions))


RECEIPTS = {
    "forged": (lambda scene: by(STRANGER, next_grant(scene)), "signature_invalid"),
    "edited": (edited, "signature_invalid"),
    "garbage": (lambda _: "not.a.receipt", "signature_invalid"),
    "oversized": (lambda _: "x" * 20_000, "malformed"),
    "another document of this key": (lambda _: sign_document(DEVICE, "hearthside-receipt+jwt", {"a": 1}), "malformed"),
    "a countersignature": (lambda scene: countersign(LEADER, scene.rows[-1].content, NOW), "signature_invalid"),
    "expired": (lambda scene: signed(next_grant(scene, issued_at=NOW - 181 * DAY)), "expired"),
    "future-dated": (lambda scene: signed(next_grant(scene, issued_at=NOW + DAY)), "issued_in_future"),
    "replayed": (lambda scene: scene.rows[0].content, "epoch_not_after"),
    "an old no": (lambda scene: scene.rows[1].content, "epoch_not_after"),
    "reordered": (lambda scene: signed(next_grant(scene, epoch=scene.device.epoch)), "epoch_not_after"),
    "for another leader": (
        lambda scene: signed(next_grant(scene, leader=STRANGER.verify_key.fingerprint)),
        "wrong_audience",
    ),
    "for another site": (lambda scene: signed(next_grant(scene, site="https://other.example")), "wrong_site"),
    "for another person": (lambda scene: signed(next_grant(scene, person="person-2")), "wrong_person"),
    "for an unknown purpose": (unknown_purpose, "purpose_unknown"),
    "for an older version": (lambda scene: with_version(scene, 99), "purpose_version"),
}
LEADER_ONLY = {
    "a refusal": (lambda scene: a_refusal(scene.device), "refusal_stays_home"),
    "after another notice": (lambda scene: signed(next_grant(scene, notice_hash=bytes(32))), "notice_unknown"),
}


def a_refusal(state: ConsentState) -> str:
    """A signed no to something that was never granted."""
    return Scene(device=replace(state, granted=())).decline("churn")


@pytest.mark.parametrize("case", RECEIPTS)
def test_the_device_refuses_a_bad_receipt_and_goes_on(case):
    """The code says why; the state is what it was; the next honest choice is recorded."""
    make, code = RECEIPTS[case]
    scene = a_life()
    before = scene.device
    with pytest.raises(ReceiptInvalid) as refused:
        record(scene.device, make(scene), scene.clock)
    assert (refused.value.code, bool(refused.value.reason)) == (code, True)
    assert scene.device == before
    scene.decline(INTENT)
    assert not scene.device.grant_of(INTENT)
    assert scene.device.grant_of(PERSONA)


@pytest.mark.parametrize("case", RECEIPTS | LEADER_ONLY)
def test_the_leader_refuses_a_bad_receipt_and_goes_on(case):
    """Likewise, with the epoch that stands; what it held before goes on to stand."""
    make, code = (RECEIPTS | LEADER_ONLY)[case]
    scene = a_life()
    before = scene.leader
    answer = accept(scene.leader, make(scene), LEADER, scene.clock)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.last_epoch) == (code, before.epoch)
    assert scene.leader == before
    scene.deliver(scene.decline(INTENT))
    assert not scene.leader.grant_of(INTENT)
    assert scene.leader.grant_of(PERSONA)


@pytest.mark.parametrize("case", RECEIPTS)
def test_a_bad_receipt_that_got_into_a_stored_ledger_ends_in_no_consent(case):
    """Whoever wrote it there with the right digests: the fault names the row, and nothing is granted."""
    make, _ = RECEIPTS[case]
    scene = a_life()
    row = Row(scene.device.length, scene.device.head, "receipt", make(scene), scene.clock)
    state = replay(PARTIES, [*scene.rows, row])
    if case in {"for an unknown purpose", "for an older version"}:
        # Stored choices are not measured by today's registry: the policy is, at every gate.
        assert decide("use", INTENT, state, NO_SIGNALS, NOW).rule in {"granted", "purpose_changed"}
        assert decide("use", "telepathy", state, NO_SIGNALS, NOW).rule == "unknown_purpose"
        return
    assert f"row {row.index}" in (state.fault or "")
    shut(state)


def shut(state) -> None:
    assert not state.granted
    for gate in GATES:
        assert decide(gate, INTENT, state, NO_SIGNALS, NOW).rule == "ledger_faulty"


def swapped(rows):
    return [rows[1], rows[0], *rows[2:]]


LEDGERS = {
    "truncated": lambda scene: scene.rows[:-1],
    "emptied": lambda _: [],
    "its first row gone": lambda scene: scene.rows[1:],
    "a row gone": lambda scene: [scene.rows[0], *scene.rows[2:]],
    "reordered": lambda scene: swapped(scene.rows),
    "a row twice": lambda scene: [*scene.rows, scene.rows[-1]],
    "edited": lambda scene: [replace(scene.rows[0], at=NOW + 1), *scene.rows[1:]],
    "garbage": lambda scene: [*scene.rows, b"\xff\x00"],
    "an older copy": lambda scene: scene.rows[:1],
    "another's": lambda _: other_ledger(),
    "extended": lambda scene: [*scene.rows, Row(scene.device.length, scene.device.head, "gpc", "", NOW)],
}


def other_ledger():
    """A whole ledger of the same key, of another person."""
    state, row = observe_gpc(open_ledger(replace(PARTIES, person="person-2")), NOW)
    assert state.gpc_seen
    return [row]


@pytest.mark.parametrize("case", LEDGERS)
def test_a_bad_ledger_grants_nothing_and_the_next_choice_restarts_it(case):
    """With the mirror that was remembered: a fault with its reason, then a restart, and nothing old passes again."""
    scene = a_life()
    rows = LEDGERS[case](scene)
    state = replay(PARTIES, rows, scene.device.mirror)
    assert state.fault
    shut(state)
    with pytest.raises(ConsentError):
        record(state, signed(next_grant(scene, epoch=99)), scene.clock)
    again, row = restart(state, scene.clock)
    assert state.fault in row.content
    assert again.may_stand_at_leader
    for old in scene.rows:
        with pytest.raises(ReceiptInvalid, match="epoch_not_after"):
            record(again, old.content, scene.clock)
    fresh = Scene(device=again, leader=scene.leader, clock=scene.clock)
    fresh.deliver(fresh.grant(INTENT))
    assert [held.purpose for held in fresh.device.granted] == [INTENT]
    assert [held.purpose for held in fresh.leader.granted] == [INTENT]


def test_a_no_on_a_restarted_ledger_is_a_withdrawal_for_the_leader():
    """The leader may hold what was lost here, so it has to hear."""
    scene = a_life()
    again, _ = restart(replay(PARTIES, [], scene.device.mirror), scene.clock)
    fresh = Scene(device=again, leader=scene.leader, clock=scene.clock)
    answer = fresh.deliver(fresh.decline("churn"))
    assert isinstance(answer, Accepted)
    assert answer.receipt.kind == "withdrawal"
    assert not fresh.leader.granted
    assert not fresh.device.behind


@pytest.mark.parametrize(
    "make",
    [
        lambda scene: countersign(STRANGER, scene.rows[-1].content, NOW),
        lambda scene: countersign(LEADER, scene.rows[0].content, NOW),
        lambda scene: sign_receipt(DEVICE, next_grant(scene)),
        lambda _: "",
    ],
    ids=["forged", "of another receipt", "a receipt", "nothing"],
)
def test_a_bad_confirmation_confirms_nothing(make):
    """The choice stands all the same: consent follows from what the person signed, not from who confirms it."""
    scene = a_life()
    before = scene.device
    with pytest.raises(CountersignatureInvalid):
        confirm(scene.device, make(scene), NOW)
    assert scene.device == before
    assert not scene.device.countersigned
