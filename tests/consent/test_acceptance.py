"""The leader takes receipts in."""

from dataclasses import replace

import pytest

from consent import (
    INTENT,
    NO_SIGNALS,
    PERSONA,
    PURPOSES,
    Accepted,
    Refused,
    accept,
    decide,
    decline,
    notice,
    open_ledger,
    receipt_digest,
    record,
    replay,
    verify_countersignature,
)
from tests.consent.scenes import DAY, LEADER, NOW, PARTIES, SITE, STRANGER, Scene, a_grant, next_version, signed


def code(receipt_or_jws, state=None, now=NOW, registry=PURPOSES):
    jws = receipt_or_jws if isinstance(receipt_or_jws, str) else signed(receipt_or_jws)
    answer = accept(state or open_ledger(PARTIES), jws, LEADER, now, registry)
    assert isinstance(answer, Refused), answer
    return answer.code


def allowed(state, purpose=INTENT):
    return decide("accept", purpose, state, NO_SIGNALS, NOW).allowed


def test_a_grant_and_its_withdrawal_are_countersigned_and_decide_the_gate():
    """Device and leader hold the same epoch, and the same answer, after each delivery."""
    scene = Scene()
    for act, expected in ((scene.grant, True), (scene.decline, False)):
        jws = act(INTENT)
        answer = scene.deliver(jws)
        confirmed = verify_countersignature(answer.countersignature, LEADER.verify_key)
        assert confirmed == (receipt_digest(jws), NOW)
        assert allowed(scene.leader) is expected
        assert scene.leader.epoch == scene.device.epoch


def test_the_leaders_state_is_rebuilt_from_the_receipts_it_countersigned():
    """Its rows replay like a device's."""
    scene = Scene()
    scene.deliver(scene.grant(INTENT, PERSONA))
    scene.deliver(scene.decline(PERSONA))
    assert replay(PARTIES, scene.leader_rows, scene.leader.mirror) == scene.leader


def test_a_retry_gets_identical_bytes_and_changes_nothing():
    """A lost answer costs nothing, even a day later."""
    scene = Scene()
    jws = scene.grant(INTENT)
    first = scene.deliver(jws)
    scene.clock += DAY
    again = scene.deliver(jws)
    assert again.countersignature == first.countersignature
    assert again.row is None
    assert again.state == first.state


def test_a_refusal_is_never_taken_in():
    """It belongs at home; a device that sends one is told so."""
    assert code(Scene().decline(INTENT)) == "refusal_stays_home"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"leader": STRANGER.verify_key.fingerprint}, "wrong_audience"),
        ({"site": "https://other.example"}, "wrong_site"),
        ({"person": "person-2"}, "wrong_person"),
        ({"issued_at": NOW + 301}, "issued_in_future"),
        ({"issued_at": NOW - 180 * DAY}, "expired"),
        ({"purpose_versions": ((INTENT, 2),)}, "purpose_version"),
        ({"chosen": ("x",), "granted": ("x",), "purpose_versions": (("x", 1),)}, "purpose_unknown"),
        ({"notice_hash": bytes(32)}, "notice_unknown"),
        ({"language": "de"}, "notice_unknown"),
    ],
)
def test_a_receipt_for_something_else_is_refused_with_its_code(change, expected):
    """Audience, site, person, time, version, purpose and notice are all checked."""
    assert code(replace(a_grant(), **change)) == expected


def test_a_forged_or_edited_receipt_is_refused():
    """Only the enrolled device speaks for itself."""
    jws = signed(a_grant())
    assert code(jws[:-4] + "AAAA") == "signature_invalid"
    assert code("junk") == "signature_invalid"


def test_an_old_yes_after_a_no_is_refused_and_the_no_stands():
    """A replay changes nothing, and the answer says which epoch stands."""
    scene = Scene()
    yes = scene.grant(INTENT)
    scene.deliver(yes)
    scene.deliver(scene.decline(INTENT))
    answer = accept(scene.leader, yes, LEADER, NOW)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.last_epoch) == ("epoch_not_after", 2)
    assert not allowed(scene.leader)


def test_a_restored_device_can_sign_beyond_the_epoch_that_stands():
    """The refusal's epoch lets it withdraw even after losing its ledger."""
    scene = Scene()
    scene.deliver(scene.grant(INTENT))
    scene.deliver(scene.grant(PERSONA))
    lost = open_ledger(PARTIES)
    no = decline(lost, [INTENT, PERSONA], notice=notice(SITE, "en"), issued_at=NOW, epoch_after=scene.leader.epoch)
    assert (no.kind, no.epoch) == ("withdrawal", scene.leader.epoch + 1)
    record(lost, signed(no), NOW)
    scene.deliver(signed(no))
    assert not scene.leader.granted


def test_a_lost_withdrawal_is_made_good_by_the_next_receipt():
    """What a later receipt no longer lists has ended, whatever went missing between."""
    scene = Scene()
    scene.deliver(scene.grant(INTENT))
    scene.decline(INTENT)
    scene.deliver(scene.grant(PERSONA))
    assert scene.leader.granted_versions == {PERSONA: 1}


def test_a_withdrawal_passes_whatever_the_clock_the_notice_and_the_versions_say():
    """Nothing but a forgery or an old epoch stands in its way."""
    scene = Scene()
    scene.deliver(scene.grant(INTENT))
    scene.registry = next_version(PURPOSES, INTENT)
    jws = scene.decline(INTENT)
    answer = accept(scene.leader, jws, LEADER, NOW - 900 * DAY, PURPOSES)
    assert isinstance(answer, Accepted)
    assert not answer.state.granted


def test_a_key_that_is_not_the_leaders_is_the_callers_mistake():
    """A server cannot countersign with another's state."""
    with pytest.raises(ValueError, match="expected key"):
        accept(open_ledger(PARTIES), signed(a_grant()), STRANGER, NOW)


def test_a_faulty_store_at_the_leader_refuses():
    """The leader's own corrupt rows never become consent."""
    assert code(a_grant(), state=replay(PARTIES, [b"junk"])) == "ledger_faulty"
