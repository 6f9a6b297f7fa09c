"""Enrolment and consent keeping against a leader that really checks."""

import dataclasses

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import Pins, check_pins, enrol, pin
from client_agent.errors import PinMismatch
from consent import NO_SIGNALS, countersign, decide
from models.wire.enrolment import ReceiptResponse, ReceiptResult
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from privacy.mechanisms import RandomStream
from tests.client_agent.world import START_MS, World, populate

STRANGER = SigningKey(b"x" * 32)


def join(world: World, store, people, token="token"):
    leader, _ = world.connections()
    entropy = RandomStream(b"k" * 32).bytes
    return enrol(store, leader, world.pins, people, token=token, clock=world.clock, entropy=entropy)


def may(keeper: ConsentKeeper, who: str, purpose: str) -> bool:
    return decide("contribute", purpose, keeper.state_of(who), NO_SIGNALS, START_MS // 1_000).allowed


def test_pinning_by_fingerprint_keeps_the_right_keys(world):
    """Fingerprints given out of band turn into keys; the officer's key comes from the helper."""
    leader, helper = world.connections()
    fingerprints = [key.verify_key.fingerprint for key in (world.leader, world.helper, world.officer)]
    pins = pin(leader, helper, fingerprints[0], fingerprints[1], [fingerprints[2]])
    assert pins == world.pins
    assert Pins.parse(pins.to_bytes()) == pins


def test_another_service_is_refused(world):
    """A leader, helper or officer with another fingerprint is not accepted."""
    leader, helper = world.connections()
    right = [key.verify_key.fingerprint for key in (world.leader, world.helper, world.officer)]
    for position in range(3):
        wrong = [*right[:position], STRANGER.verify_key.fingerprint, *right[position + 1 :]]
        with pytest.raises(PinMismatch, match="expected"):
            pin(leader, helper, wrong[0], wrong[1], [wrong[2]])


def test_nobody_enrols_at_another_leader(world, store):
    """The leader's key is compared before anything is sent."""
    leader, _ = world.connections()
    wrong = dataclasses.replace(world.pins, leader_key=STRANGER.verify_key)
    with pytest.raises(PinMismatch):
        check_pins(wrong, leader)
    with pytest.raises(PinMismatch):
        enrol(store, leader, wrong, ["a"], token="token", clock=world.clock, entropy=RandomStream(b"k" * 32).bytes)
    assert store.participants.all() == []


def test_many_people_enrol_in_batches(world, store):
    """300 people take two requests; each has a key and an id of their own."""
    records = join(world, store, [f"p{i}" for i in range(300)])
    assert sum(b'"enrolments"' in body for body in world.bodies) == 2
    assert len({record.device_id for record in records}) == len({record.seed for record in records}) == 300
    assert [record.person for record in records][:2] == ["p0", "p1"]
    assert set(world.devices) == {record.device_id for record in records}


def test_a_local_name_never_leaves(world, store):
    """The leader sees keys and pseudonyms, not what people are called here."""
    (record,) = join(world, store, ["grandmother"])
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant(record.participant_id, ["measurement"])
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert b"grandmother" not in b"".join(world.bodies)


def test_a_refused_enrolment_can_be_tried_again_with_the_same_key(world, store):
    """A wrong token is one clear problem; the key made then is the one that enrols later."""
    with pytest.raises(ProblemError) as refused:
        join(world, store, ["a"], token="wrong")
    assert refused.value.code == "forbidden"
    (kept,) = store.participants.all()
    (record,) = join(world, store, ["a"])
    assert record.seed == kept.seed
    assert record.device_id is not None


def test_enrolling_twice_changes_nothing(world, store):
    """Who is enrolled stays so, with the same key: the leader is asked again, as it may have forgotten them."""
    first = join(world, store, ["a", "b"])
    known = dict(world.states)
    assert join(world, store, ["b", "a"]) == first[::-1]
    assert dict(world.states) == known


def test_a_grant_is_in_force_here_before_the_leader_hears(world, store):
    """Choices are recorded locally first; delivery may come later."""
    (who,) = populate(world, store, 1, purposes=())
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant(who, ["measurement", "persona"])
    assert may(keeper, who, "measurement")
    assert not may(keeper, who, "intent")
    assert world.states == {}
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 1
    assert keeper.state_of(who).countersigned
    assert world.states[store.participants.get(who).device_id].epoch == keeper.state_of(who).epoch


def test_a_refusal_never_leaves(world, store):
    """Saying no to what was never granted is signed, kept and sent nowhere."""
    (who,) = populate(world, store, 1, purposes=())
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.decline(who)
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 0
    assert world.states == {}
    assert [receipt.state for receipt in store.consents.receipts_of(who)] == ["home"]


def test_a_withdrawal_of_one_purpose_leaves_the_others(world, store):
    """What was not taken back goes on standing, here and at the leader."""
    (who,) = populate(world, store, 1, purposes=("measurement", "persona"))
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(who, ["measurement"])
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert not may(keeper, who, "measurement")
    assert may(keeper, who, "persona")
    (state,) = world.states.values()
    assert set(state.granted_versions) == {"persona"}


def test_receipts_wait_while_the_leader_is_down(world, store):
    """A dead leader costs nothing: the receipt is delivered by the next attempt, once."""
    (who,) = populate(world, store, 1, purposes=())
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant(who, ["measurement"])
    world.down = True
    with pytest.raises(ProblemError):
        Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    world.down = False
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 1
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 0


def test_a_forged_countersignature_is_refused(world, store):
    """A confirmation by another key than the pinned leader's is not kept."""
    (who,) = populate(world, store, 1, purposes=())
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant(who, ["measurement"])

    def forge(request):
        forged = [countersign(STRANGER, item.receipt, START_MS // 1_000) for item in request.receipts]
        return ReceiptResponse(results=tuple(ReceiptResult(countersignature=jws) for jws in forged))

    world._receipts = forge
    with pytest.raises(ProblemError) as refused:
        Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert refused.value.code == "bad-signature"
    assert not keeper.state_of(who).countersigned


def test_gpc_takes_back_what_was_granted_without_it(world, store):
    """Once the signal was seen, an older grant no longer lets anything leave."""
    (who,) = populate(world, store, 1)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    assert may(keeper, who, "measurement")
    keeper.observe_gpc(who)
    assert not may(keeper, who, "measurement")
