"""The policy function behind the four gates."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent import (
    GATES,
    INTENT,
    MEASUREMENT,
    NO_SIGNALS,
    PERSONA,
    PERSONALISATION,
    PURPOSES,
    RULES,
    Signals,
    ask_again,
    decide,
    grant,
    notice,
    observe_gpc,
    open_ledger,
    receipt_digest,
    replay,
    withheld_by_gpc,
)
from tests.consent.scenes import DAY, NOW, PARTIES, SITE, Scene, next_version


def rule(scene, purpose=INTENT, gate="contribute", signals=NO_SIGNALS, now=NOW, registry=PURPOSES):
    return decide(gate, purpose, scene.device, signals, now, registry).rule


@pytest.mark.parametrize("gate", GATES)
def test_nothing_is_allowed_before_a_choice(gate):
    """Every gate is shut for every purpose by default."""
    scene = Scene()
    for purpose in PURPOSES:
        decision = decide(gate, purpose.id, scene.device, NO_SIGNALS, NOW)
        assert not decision.allowed
        assert decision.receipt is None


@pytest.mark.parametrize("gate", GATES)
def test_a_grant_opens_the_gates_of_its_purposes_and_names_its_receipt(gate):
    """One receipt may cover several purposes, and only those."""
    scene = Scene()
    jws = scene.grant(INTENT, PERSONA)
    for purpose in (INTENT, PERSONA):
        decision = decide(gate, purpose, scene.device, NO_SIGNALS, NOW)
        assert decision.allowed
        assert decision.receipt == receipt_digest(jws)
    assert rule(scene, MEASUREMENT, gate) == "not_granted"


def test_what_stays_at_home_never_passes_a_gate_out():
    """A grant of on-device personalisation opens collecting and using, never contributing."""
    scene = Scene()
    scene.grant(PERSONALISATION)
    assert [rule(scene, PERSONALISATION, gate) for gate in GATES] == ["granted", "granted"] + ["nothing_leaves"] * 2


@pytest.mark.parametrize(("subject", "expected"), [("child", "child"), ("unknown", "person_unknown")])
@pytest.mark.parametrize("gate", ["collect", "use", "contribute"])
def test_a_child_or_an_unknown_person_gets_no_profile_whatever_was_granted(gate, subject, expected):
    """Who is there is a fact like any other signal: it can only take away."""
    scene = Scene()
    scene.grant(INTENT)
    assert rule(scene, INTENT, gate) == "granted"
    assert rule(scene, INTENT, gate, Signals(subject=subject)) == expected
    assert rule(scene, INTENT, gate, Signals(gpc=True, subject=subject)) == expected


def test_a_no_names_the_receipt_that_said_it():
    """Not a later one about something else: after a refusal, a withdrawal, a second no, and from stored rows too."""
    scene = Scene()
    refused = scene.decline(PERSONA)
    granted = scene.grant(INTENT, MEASUREMENT)
    withdrawn = scene.decline(INTENT)
    expected = {PERSONA: ("declined", refused), INTENT: ("declined", withdrawn), MEASUREMENT: ("granted", granted)}
    for state in (scene.device, replay(PARTIES, scene.rows)):
        answers = {name: decide("use", name, state, NO_SIGNALS, NOW) for name in expected}
        assert {name: (a.rule, a.receipt) for name, a in answers.items()} == {
            name: (said, receipt_digest(jws)) for name, (said, jws) in expected.items()
        }
    scene.clock += 1
    again = scene.decline(PERSONA)
    assert again != refused
    assert decide("use", PERSONA, scene.device, NO_SIGNALS, NOW).receipt == receipt_digest(again)
    scene.grant(PERSONA)
    assert scene.device.declined_of(PERSONA) is None


def test_declining_shuts_the_gate_at_once():
    """The latest choice wins, for the purposes it names."""
    scene = Scene()
    scene.grant(INTENT, PERSONA)
    scene.decline(INTENT)
    assert rule(scene, INTENT) == "declined"
    assert rule(scene, PERSONA) == "granted"


def test_an_older_version_never_covers_a_newer_one():
    """After a purpose changed everyone is asked again, and nothing passes meanwhile."""
    scene = Scene()
    scene.grant(INTENT)
    newer = next_version(PURPOSES, INTENT)
    assert rule(scene, registry=newer) == "purpose_changed"
    assert INTENT in ask_again(scene.device, NOW, newer)
    assert INTENT not in ask_again(scene.device, NOW)


def test_a_newer_version_never_covers_an_older_one():
    """A rolled-back installation does not use a grant of what it does not know."""
    scene = Scene(registry=next_version(PURPOSES, INTENT))
    scene.grant(INTENT)
    assert rule(scene, registry=PURPOSES) == "purpose_changed"


def test_a_grant_ends_by_itself():
    """After 180 days the person is asked again; one second before, not yet."""
    scene = Scene()
    scene.grant(INTENT)
    assert rule(scene, now=NOW + 180 * DAY - 1) == "granted"
    assert rule(scene, now=NOW + 180 * DAY) == "expired"
    assert INTENT in ask_again(scene.device, NOW + 180 * DAY)


def test_another_choice_does_not_prolong_a_grant():
    """Each purpose keeps the receipt, and the age, of its own last yes."""
    scene = Scene()
    first = scene.grant(INTENT)
    scene.clock += 100 * DAY
    scene.grant(PERSONA)
    scene.decline(MEASUREMENT)
    assert decide("use", INTENT, scene.device, NO_SIGNALS, NOW).receipt == receipt_digest(first)
    assert rule(scene, INTENT, now=NOW + 180 * DAY) == "expired"


def test_a_clock_before_the_grant_is_not_believed():
    """Five minutes of difference are normal, more is not."""
    scene = Scene()
    scene.grant(INTENT)
    assert rule(scene, now=NOW - 300) == "granted"
    assert rule(scene, now=NOW - 301) == "clock_before_receipt"


def test_global_privacy_control_binds_until_a_later_yes():
    """It overrides what was granted before; a yes that was given knowing of it wins, for that purpose alone."""
    scene = Scene()
    scene.grant(INTENT, PERSONA)
    assert rule(scene, signals=Signals(gpc=True)) == "gpc_opt_out"
    scene.device, row = observe_gpc(scene.device, NOW)
    assert row is not None
    assert observe_gpc(scene.device, NOW) == (scene.device, None)
    assert rule(scene) == "gpc_opt_out"
    scene.grant(INTENT)
    assert rule(scene, INTENT, signals=Signals(gpc=True)) == "granted"
    assert rule(scene, PERSONA) == "gpc_opt_out"


def test_a_fresh_yes_of_a_device_that_lost_its_ledger_counts_at_the_leader_too():
    """What the leader remembers of the signal does not outlive a later yes that needed no knowledge of it."""
    scene = Scene()
    jws = scene.grant(PERSONA, gpc=True)
    scene.deliver(jws)
    scene.device = replace(open_ledger(PARTIES), epoch=scene.leader.epoch, behind=True)
    scene.deliver(scene.grant(INTENT))
    assert [rule(scene, INTENT, gate) for gate in ("contribute", "accept")] == ["granted"] * 2
    assert decide("accept", INTENT, scene.leader, NO_SIGNALS, NOW).allowed
    assert not decide("accept", PERSONA, scene.leader, NO_SIGNALS, NOW).allowed


def test_a_yes_of_a_page_that_did_not_know_of_the_signal_does_not_override_it():
    """Only a choice whose notice spoke of the signal is a choice against it."""
    scene = Scene()
    scene.grant(INTENT, gpc=False)
    scene.device, _ = observe_gpc(scene.device, NOW)
    unaware = replace(scene.device, gpc_observed=False, gpc_known=False)
    scene.device = unaware
    scene.grant(INTENT, gpc=False)
    assert rule(scene, signals=Signals(gpc=True)) == "gpc_opt_out"


def test_a_refusal_is_an_answer_until_the_purpose_changes():
    """Nobody is asked twice the same question."""
    scene = Scene()
    scene.decline(INTENT)
    assert INTENT not in ask_again(scene.device, NOW + 1000 * DAY)
    assert INTENT in ask_again(scene.device, NOW, next_version(PURPOSES, INTENT))


def test_a_faulty_ledger_shuts_every_gate():
    """A corrupt store never turns into consent."""
    scene = Scene()
    scene.grant(INTENT)
    scene.device = replay(PARTIES, [b"garbage"])
    assert {rule(scene, purpose.id, "use") for purpose in PURPOSES} == {"ledger_faulty"}


@given(
    gate=st.one_of(st.sampled_from(GATES), st.text(), st.none(), st.lists(st.integers())),
    purpose=st.one_of(
        st.sampled_from([p.id for p in PURPOSES]), st.text(), st.none(), st.dictionaries(st.text(), st.text())
    ),
    now=st.one_of(st.integers(), st.floats()),
    gpc=st.booleans(),
)
def test_the_policy_answers_whatever_it_is_asked(gate, purpose, now, gpc):
    """Total: unknown gates and purposes and impossible times are refused, never raised; every rule has words."""
    scene = Scene()
    scene.grant(INTENT)
    decision = decide(gate, purpose, scene.device, Signals(gpc=gpc), now)
    assert decision.explain()
    assert decision.rule in RULES
    assert decision.allowed == (gate in GATES and purpose == INTENT and NOW - 300 <= now < NOW + 180 * DAY and not gpc)


@pytest.mark.parametrize("now", [None, "1780000000", [NOW], b"", object()])
def test_a_time_that_is_no_time_opens_nothing(now):
    """Refused, never raised."""
    scene = Scene()
    scene.grant(INTENT)
    assert not decide("use", INTENT, scene.device, NO_SIGNALS, now).allowed


@pytest.mark.parametrize("gate", GATES)
def test_a_state_or_signals_that_are_none_open_nothing(gate):
    """Whatever stands in their place."""
    scene = Scene()
    scene.grant(INTENT)
    for nothing in (None, {}, "granted", object()):
        assert decide(gate, INTENT, nothing, NO_SIGNALS, NOW).rule == "ledger_faulty"
        assert decide(gate, INTENT, scene.device, nothing, NOW).rule == "person_unknown"


def test_the_latest_time_that_was_seen_counts_whatever_the_clock_says():
    """A grant that had ended by then has ended, also for the question whom to ask again and for the next receipt."""
    scene = Scene()
    scene.grant(INTENT)
    seen = replace(scene.device, seen_at=NOW + 180 * DAY)
    assert decide("use", INTENT, seen, NO_SIGNALS, NOW).rule == "expired"
    assert INTENT in ask_again(seen, NOW)
    receipt = grant(seen, [PERSONA], notice=notice(SITE, "en"), issued_at=NOW)
    assert receipt.granted == (PERSONA,)


def test_what_the_signal_alone_withholds_is_named():
    """Only where a grant would have opened the gate: neither an expired grant nor a purpose that was never granted."""
    scene = Scene()
    scene.grant(INTENT)
    assert withheld_by_gpc("use", scene.device, NO_SIGNALS, NOW) == ()
    assert withheld_by_gpc("use", scene.device, Signals(gpc=True), NOW) == (INTENT,)
    assert withheld_by_gpc("use", scene.device, Signals(gpc=True), NOW + 200 * DAY) == ()
