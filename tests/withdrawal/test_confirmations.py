"""What the services sign about a withdrawal, what counts as signed, and what the person is told of each report."""

import os
import threading
import time

import httpx
import pytest

from client_agent.confirmations import read_withdrawn
from client_agent.connection import HelperConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol
from client_agent.errors import StoreUnreadable
from client_agent.federation.contribution import SEAL_GRACE_SECONDS
from client_agent.resident import Attempts, Lane
from client_agent.store import ParticipantRecord
from consent import receipt_digest
from models.wire.enrolment import REMOVAL_TYPE, Removal, RemovedReport
from models.wire.problems import ProblemError
from models.wire.rounds import WITHDRAWN_TYPE, WithdrawalAnswer, Withdrawn
from privacy.crypto import SigningKey, sign_document
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.world import federate, populate


@pytest.fixture
def sent(world, store):
    """Three people whose reports of one round have been sent."""
    people = populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    assert federation.send_due().accepted == 3
    return federation, people


def outcome_of(store, who):
    (item,) = store.contributions.releases_of(who)
    return item.outcome


def test_the_helpers_signed_word_is_kept_with_the_report(world, store, sent):
    """The device holds, for each report, what the helper signed: anyone with the helper's public key can read it."""
    _, (who, *_) = sent
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    assert outcome_of(store, who) == "possible"
    Courier(store, world.pins, world.clock).tell_helper(world.connections()[1])
    (item,) = store.contributions.releases_of(who, ["measurement"])
    assert item.outcome == "kept_out"
    assert not item.may_be_in_release
    word = read_withdrawn(item.confirmation, world.helper.verify_key, item.study_hash, item.round, item.report_id)
    assert (word.outcome, item.study_id, item.title, item.purpose) == ("kept", "pages", "t", "measurement")
    assert store.contributions.releases_of(who, ["intent"]) == []


@pytest.mark.parametrize("lie", ["forged", "another report", "another round", "another kind", "nothing"])
def test_a_word_that_does_not_verify_is_no_confirmation(world, store, sent, lie):
    """Another key's, another report's or no signature: the notice waits, and the report may be in the release."""
    _, (who, other, _) = sent
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    (honest,) = store.reports.taken_back()
    told = {
        "study_hash": honest.study_hash.hex(), "round": honest.round, "report_id": honest.report_id.hex(),
        "outcome": "kept", "at_ms": world.clock.ms,
    }  # fmt: skip
    told |= {"another report": {"report_id": "11" * 32}, "another round": {"round": 2}}.get(lie, {})
    key = SigningKey.generate() if lie == "forged" else world.helper
    kind = "hearthside-answer+jwt" if lie == "another kind" else WITHDRAWN_TYPE
    jws = None if lie == "nothing" else sign_document(key, kind, Withdrawn(**told).document())
    body = WithdrawalAnswer(status="kept", confirmation=jws).model_dump_json()
    lying = HelperConnection("http://h", httpx.MockTransport(lambda _: httpx.Response(202, text=body)))
    with pytest.raises(ProblemError) as refused:
        Courier(store, world.pins, world.clock).tell_helper(lying)
    assert refused.value.code == "bad-signature"
    assert store.reports.taken_back() == [honest]
    assert outcome_of(store, who) == "possible"
    assert outcome_of(store, other) == "standing"


def test_a_late_word_says_that_the_report_may_be_in_the_release(world, store, sent):
    """``late`` settles the notice, and the list says ``possible``, whatever the leader signed."""
    _, (who, *_) = sent
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    (taken,) = store.reports.taken_back()
    word = Withdrawn(
        study_hash=taken.study_hash.hex(), round=1, report_id=taken.report_id.hex(), outcome="late",
        at_ms=world.clock.ms,
    )  # fmt: skip
    jws = sign_document(world.helper, WITHDRAWN_TYPE, word.document())
    body = WithdrawalAnswer(status="late", confirmation=jws).model_dump_json()
    late = HelperConnection("http://h", httpx.MockTransport(lambda _: httpx.Response(202, text=body)))
    assert Courier(store, world.pins, world.clock).tell_helper(late) == 1
    with store.transaction():
        store.contributions.note_removal(who, [(taken.study_hash, 1)], "signed by the leader")
    assert outcome_of(store, who) == "possible"
    assert store.reports.taken_back() == []


def test_the_list_outlives_the_round_and_goes_with_the_person(world, store, sent):
    """Rounds close and tokens are forgotten; the list stays as long as the receipts, until the person is erased."""
    federation, (who, *_) = sent
    world.clock.advance(SEAL_GRACE_SECONDS + 10)
    federation.open_rounds()
    assert [item.outcome for item in store.contributions.releases_of(who)] == ["standing"]
    store.erase(who)
    assert store.contributions.releases_of(who) == []


def test_a_report_that_was_never_sent_is_said_to_have_stayed(world, store):
    """What a withdrawal finds in the queue has not left, and a new grant does not bring it back."""
    (who,) = populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(who)
    keeper.grant(who, ["measurement"])
    assert outcome_of(store, who) == "unsent"
    assert not federation.stands(reserved[0])
    federation.finalise(found, reserved)
    restarted = federate(world, store)
    assert restarted.reserve_all(only_round(restarted)) == [], "there is no second report of a round"
    world.clock.advance(9.5)
    assert restarted.send_due().accepted == federation.send_due().accepted == 0


@pytest.mark.parametrize(
    "lie", ["", "forged", "another device", "another receipt", "another report", "another round", "none had come"]
)
def test_the_leaders_word_counts_if_it_is_signed_and_about_this_report(world, store, sent, lie):
    """``removed`` rests on the leader's own signature over this device, this receipt, this round and this report.

    The leader had accepted the report: its word that none had come says nothing of where it is.
    """
    _, (who, *_) = sent
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    (taken,), honest = store.reports.taken_back(), world._receipts
    removed = {"study_hash": taken.study_hash.hex(), "round": 1, "report_id": taken.report_id.hex()}
    lies = {
        "another report": {"report_id": "11" * 32},
        "another round": {"round": 2},
        "none had come": {"report_id": None},
    }
    removed |= lies.get(lie, {})

    def answer(request):
        response = honest(request)
        (item,) = request.receipts
        word = Removal(
            device_id="11" * 16 if lie == "another device" else item.device_id,
            receipt="11" * 32 if lie == "another receipt" else receipt_digest(item.receipt).hex(),
            reports=(RemovedReport(**removed),),
            at_ms=world.clock.ms,
        )
        key = SigningKey.generate() if lie == "forged" else world.leader
        jws = sign_document(key, REMOVAL_TYPE, word.document())
        return response.model_copy(update={"results": (response.results[0].model_copy(update={"removal": jws}),)})

    world._receipts = answer
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 1
    assert outcome_of(store, who) == ("possible" if lie else "removed")


def test_a_leader_that_is_down_for_days_hears_of_it_when_it_is_back(world, store, sent):
    """The helper hears at once; the withdrawal waits for the leader, whose clock and rounds have long gone on."""
    _, (who, *_) = sent
    device, courier = store.participants.get(who).device_id, Courier(store, world.pins, world.clock)
    world.down = True
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    leader, helper = world.connections()
    assert [problem.code for problem in courier.tell_both(leader, helper)] == ["leader-unavailable"]
    assert outcome_of(store, who) == "kept_out"
    world.clock.advance(5 * 86_400)
    assert world.states[device].granted
    world.down = False
    assert courier.tell_both(leader, helper) == []
    assert not world.states[device].granted


def test_a_leader_that_hangs_does_not_keep_the_helper_from_hearing(world, store, sent):
    """Both are told at once: the helper has heard before a leader that does not answer has even timed out."""
    _, (who, *_) = sent
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    leader, helper = world.connections()
    released = threading.Event()
    honest = world._receipts
    world._receipts = lambda request: honest(request) if released.wait(20) else None
    telling = threading.Thread(target=Courier(store, world.pins, world.clock).tell_both, args=(leader, helper))
    telling.start()
    deadline = time.monotonic() + 10
    while not world.withdrawals and time.monotonic() < deadline:
        time.sleep(0.005)
    heard = len(world.withdrawals)
    released.set()
    telling.join()
    assert heard == 1


def test_a_helper_that_hangs_does_not_keep_the_leader_from_hearing(world, store, sent):
    """The other way round: the leader has the withdrawal while the helper still does not answer."""
    _, (who, *_) = sent
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    leader, helper = world.connections()
    released, honest, device = threading.Event(), world._withdraw, store.participants.get(who).device_id
    world._withdraw = lambda body: honest(body) if released.wait(20) else None
    telling = threading.Thread(target=Courier(store, world.pins, world.clock).tell_both, args=(leader, helper))
    telling.start()
    deadline = time.monotonic() + 10
    while world.states[device].granted and time.monotonic() < deadline:
        time.sleep(0.005)
    heard = not world.states[device].granted
    released.set()
    telling.join()
    assert heard


def test_a_bad_answer_about_one_person_holds_nobody_elses_up(world, store):
    """Two people behind one gateway: a confirmation that does not verify leaves the other's in force."""
    first, second = populate(world, store, 2)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.decline_many({first: {"measurement"}, second: {"measurement"}})
    honest = world._receipts

    def forge(request):
        answer = honest(request)
        bad = answer.results[0].model_copy(update={"countersignature": answer.results[1].countersignature})
        return answer.model_copy(update={"results": (bad, *answer.results[1:])})

    world._receipts = forge
    with pytest.raises(ProblemError) as refused:
        Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert refused.value.code == "bad-signature"
    assert keeper.state_of(second).countersigned
    assert not keeper.state_of(first).countersigned
    assert [item.participant_id for item in store.consents.waiting(256)] == [first]


def test_a_withdrawal_that_a_grant_overtook_is_confirmed_by_its_own_signature_only(world, store):
    """Back and forth within a second: the leader's word on the grant is none on the withdrawal."""
    (who,) = populate(world, store, 1)
    keeper, courier = ConsentKeeper(store, world.pins, world.clock), Courier(store, world.pins, world.clock)
    keeper.withdraw(who)
    keeper.grant(who, ["measurement"])
    honest = world._receipts

    def swap(request):
        answer = honest(request)
        return answer.model_copy(update={"results": answer.results[::-1]})

    world._receipts = swap
    with pytest.raises(ProblemError):
        courier.deliver(world.connections()[0])
    assert len(store.consents.waiting(256)) == 2
    world._receipts = honest
    courier.deliver(world.connections()[0])
    assert store.consents.waiting(256) == []
    assert keeper.state_of(who).granted


def test_a_lane_acts_again_when_it_was_woken_while_it_acted():
    """A choice that comes while another is delivered is delivered right after it, and a problem ends nothing."""
    acted, go = [], threading.Event()

    def act():
        acted.append(time.monotonic())
        if len(acted) == 1:
            go.wait(10)
            raise ProblemError("leader-unavailable")

    lane = Lane("test", act, 60.0)
    lane.start()
    try:
        deadline = time.monotonic() + 10
        while not acted and time.monotonic() < deadline:
            time.sleep(0.005)
        lane.wake()
        go.set()
        while len(acted) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        lane.stop()
    assert len(acted) == 2


@pytest.mark.parametrize("error", [StoreUnreadable("the file could not be rewritten"), OSError(28, "no space left")])
def test_a_lane_survives_what_nobody_expected_and_says_so_once(error, caplog):
    """A full disk or an unreadable store ends no lane: it is logged when it begins, and the lane acts again."""
    acted = []

    def act():
        acted.append(time.monotonic())
        if len(acted) < 4:
            raise error

    lane = Lane("traces", act, 0.005)
    lane.start()
    try:
        deadline = time.monotonic() + 10
        while len(acted) < 5 and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        lane.stop()
    assert len(acted) >= 5
    (said,) = [record for record in caplog.records if record.name == "client_agent.resident"]
    assert said.levelname == "ERROR"
    assert said.getMessage().startswith(f"traces failed and is tried again: {type(error).__name__} at test_confirm")
    assert said.exc_info is None
    assert str(error) not in caplog.text


def test_a_lane_goes_on_after_a_mistake_and_names_nobody(world, store, caplog):
    """A connection that fails as nobody foresaw: the same lane delivers the withdrawal at the next attempt."""
    (who,) = populate(world, store, 1)
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    leader, _ = world.connections()
    courier, submit, failures = Courier(store, world.pins, world.clock), leader.submit_receipts, [TypeError(who)]

    def submit_receipts(receipts):
        if failures:
            raise failures.pop()
        return submit(receipts)

    leader.submit_receipts = submit_receipts
    lane = Lane("choices to the leader", lambda: courier.deliver(leader), 0.01)
    lane.start()
    try:
        deadline = time.monotonic() + 10
        while store.consents.waiting(1) and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        lane.stop()
    assert store.consents.waiting(1) == []
    assert "choices to the leader failed and is tried again: TypeError at test_confirmations.py:" in caplog.text
    assert "delivering.py:" in caplog.text, "where it began"
    assert who not in caplog.text


def test_a_failure_that_comes_back_after_a_success_is_said_again(caplog):
    """What was well in between is another failure; a service that is away is none."""
    outcomes = [OSError(), OSError(), None, OSError(), ProblemError("leader-unavailable"), OSError()]

    def act():
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    attempts = Attempts("traces", act)
    assert [attempts.once() for _ in range(6)] == [False, False, True, False, True, False]
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 3


def enrolled_by_half(world, store, name):
    """Somebody whose enrolment the leader never answered, with a yes of theirs; their participant's id."""
    participant = ParticipantRecord(f"{name}-id", name, world.pins.site, world.pins.leader_key.raw, b"s" * 32, None)
    with store.transaction():
        store.participants.add([participant])
    ConsentKeeper(store, world.pins, world.clock).grant(participant.participant_id, ["measurement"])
    return participant.participant_id


def test_who_is_enrolled_by_half_waits_and_holds_nobody_up(world, store):
    """Their yes counts here and is sent once the leader knows them; the others' withdrawals go out before."""
    keeper, courier = ConsentKeeper(store, world.pins, world.clock), Courier(store, world.pins, world.clock)
    leader, _ = world.connections()
    (other,) = populate(world, store, 1)
    half = enrolled_by_half(world, store, "new")
    keeper.withdraw(other)
    assert courier.deliver(leader) == 1
    assert keeper.state_of(other).countersigned
    assert [item.participant_id for item in store.consents.waiting(256)] == [half]
    assert keeper.state_of(half).granted
    assert courier.deliver(leader) == 0
    enrol(store, leader, world.pins, ["new"], token="token", clock=world.clock, entropy=os.urandom)
    assert courier.deliver(leader) == 1
    assert keeper.state_of(half).countersigned


def test_256_who_are_enrolled_by_half_hold_nobody_up_either(world, store):
    """However many of them wait, and for however long, they fill no request."""
    names = [f"new-{number}" for number in range(257)]
    half = [
        ParticipantRecord(name, name, world.pins.site, world.pins.leader_key.raw, os.urandom(32), None)
        for name in names
    ]
    with store.transaction():
        store.participants.add(half)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant_many({name: {"measurement"} for name in names})
    (other,) = populate(world, store, 1)
    keeper.withdraw(other)
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 1
    assert keeper.state_of(other).countersigned
