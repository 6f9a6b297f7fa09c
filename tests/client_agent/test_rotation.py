"""Another key for a device, against the real leader: at every step a crash loses neither key nor consent nor report."""

import datetime as dt
import os

import httpx
import numpy as np
import pytest

from aggregator.helper.app import create_app as helper_app
from aggregator.leader.app import create_app as leader_app
from aggregator.settings import HelperSettings, LeaderSettings
from client_agent import rotation
from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol
from client_agent.federation.contribution import Slots
from client_agent.federation.federation import Federation
from client_agent.pauses import Pauses
from models.wire.problems import ProblemError
from privacy.accounting import Contract
from privacy.crypto import SigningKey
from simulations.demo.parties import Analyst, Officer
from simulations.house import build_house
from simulations.transport import InProcessServices
from tests.client_agent.test_services import STUDY
from tests.client_agent.world import make_store

CONTRACT = Contract(epsilon=4.0, delta=1e-6, order=7)


class Scene:
    """One agent with some people, enrolled and consenting at a real leader."""

    def __init__(self, house, services, folder) -> None:
        self.house, self.services = house, services
        self.leader = LeaderConnection(house.leader_url, services.transport("leader"))
        self.helper = HelperConnection(house.helper_url, services.transport("helper"))
        self.pins, self.clock, self.store = house.pins, SystemClock(), make_store(folder)
        people = [f"p{i}" for i in range(5)]
        enrol(
            self.store,
            self.leader,
            self.pins,
            people,
            token=house.tokens["enrol"],
            clock=self.clock,
            entropy=os.urandom,
        )
        self.keeper = ConsentKeeper(self.store, self.pins, self.clock)
        self.courier = Courier(self.store, self.pins, self.clock)
        self.keeper.grant_many({record.participant_id: ["measurement"] for record in self.records})
        assert self.courier.deliver(self.leader) == len(people)

    @property
    def records(self):
        return self.store.participants.all(self.pins.leader_key.raw)

    def begin(self) -> None:
        assert rotation.begin(self.store, self.pins, self.clock, os.urandom) == len(self.records)

    def finish(self) -> int:
        return rotation.finish(self.store, self.leader, self.pins, self.clock)

    def granted(self) -> list[bool]:
        states = [self.keeper.state_of(record.participant_id) for record in self.records]
        return [state.fault is None and state.grant_of("measurement") is not None for state in states]

    def held(self, record) -> dict:
        return self.leader.standing(rotation.signer_of(record, self.pins, self.clock)).document()


@pytest.fixture
def scene(tmp_path):
    house = build_house(tmp_path / "house", "shop.example", CONTRACT, 8001, 8002, dt.datetime.now(dt.UTC))

    def build():
        helper = helper_app(HelperSettings.read(house.helper_folder))
        leader = leader_app(LeaderSettings.read(house.leader_folder), helper_transport=httpx.ASGITransport(helper))
        return {"helper": helper, "leader": leader}  # in this order: a leader that starts asks the helper

    with InProcessServices(build) as running:
        yield Scene(house, running, tmp_path / "agent")


def test_a_crash_at_any_step_is_taken_up_again(scene, monkeypatch):
    """Before the leader heard, after it heard and before this device did, and in the middle of taking over."""
    before = {record.participant_id: record for record in scene.records}
    scene.begin()
    planned = {record.participant_id: record.next_seed for record in scene.records}
    scene.begin()  # again changes nothing: the keys that were planned stay
    assert {record.participant_id: record.next_seed for record in scene.records} == planned
    first = scene.records[0]
    # The leader hears of the first, and its answer is lost: the device still has the old key.
    scene.leader.change_key(rotation.signer_of(first, scene.pins, scene.clock), first.rotation)
    with pytest.raises(ProblemError, match="another key"):
        scene.held(scene.records[0])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # the process dies in the transaction that takes the key over
        patched.setattr(ConsentKeeper, "sign_anew", killed)
        with pytest.raises(KeyboardInterrupt):
            scene.finish()
    assert scene.records[0].seed == before[first.participant_id].seed
    scene.courier.deliver(scene.leader)  # the resident's next delivery takes it up
    assert [record.next_seed for record in scene.records] == [None] * 5
    assert {record.participant_id: record.seed for record in scene.records} == planned
    assert scene.granted() == [True] * 5
    for record in scene.records:
        held = scene.held(record)
        assert held["device_key"] == SigningKey(record.seed).verify_key.raw.hex()
        assert held["device_id"] == before[record.participant_id].device_id.hex()
        assert [grant["purpose"] for grant in held["granted"]] == ["measurement"]
    assert scene.finish() == 0


def test_choices_of_before_arrive_and_choices_of_after_are_signed_by_the_new_key(scene):
    """A withdrawal that waited is honoured under the old key; a yes that waited is signed anew; a later no is heard."""
    taking_back, saying_yes, later = (record.participant_id for record in scene.records[:3])
    scene.begin()
    scene.keeper.withdraw(taking_back)
    scene.keeper.grant(saying_yes, ["persona"])
    scene.finish()
    scene.keeper.withdraw(later)
    scene.courier.deliver(scene.leader)
    held = {record.participant_id: scene.held(record) for record in scene.records}
    assert held[taking_back]["granted"] == held[later]["granted"] == []
    assert [grant["purpose"] for grant in held[saying_yes]["granted"]] == ["measurement", "persona"]
    state = scene.keeper.state_of(saying_yes)
    assert state.countersigned
    assert state.epoch == held[saying_yes]["epoch"]
    waiting = [item.state for who in held for item in scene.store.consents.receipts_of(who)]
    assert "waiting" not in waiting


def test_a_round_that_is_open_counts_everybody_once(scene):
    """Reports made under the old keys, one of which had arrived, are counted under the new ones, once each."""
    federation = Federation(
        scene.store, scene.leader, scene.helper, scene.pins, scene.clock, os.urandom, CONTRACT, slots=Slots(0.0, 0.01)
    )
    analyst = Analyst(
        httpx.Client(base_url=scene.house.leader_url, transport=scene.services.transport("leader")),
        scene.house.tokens["analyst"],
    )
    transport = scene.services.transport("helper")
    officer = Officer(httpx.Client(base_url=scene.house.helper_url, transport=transport), scene.house.officer)
    study = STUDY.build(scene.house.parties(scene.clock.now_ms())).model_copy(update={"rounds": 1})
    analyst.propose(study)
    officer.decide(study, "approve", "asks little", scene.clock.now_ms())
    analyst.start("pages")
    found = []
    while not found:
        found = federation.open_rounds()
    reserved = federation.reserve_all(found[0])
    for head in federation.flip_all(reserved):
        federation.answer(head, federation.encode_answer(found[0], np.array([0.0, 1.0, 0.0, 0.0])))
    federation.finalise(found[0], reserved)
    ids = {item.report_id for item in scene.store.reports.due(2**60, 9)}
    one = scene.store.reports.due(2**60, 1)[0]
    assert scene.leader.post_reports([one.frame]) == ("accepted",)  # and the answer is lost
    scene.begin()
    scene.finish()
    delivery = federation.send_due(2**60)
    assert (delivery.accepted, dict(delivery.refused)) == (5, {})
    assert len(ids) == 5
    while analyst.status("pages")["state"] not in {"finished", "failed"}:
        pass
    (row,) = analyst.results("pages")["rounds"]
    assert row["opened"] == 5


def test_a_change_that_the_leader_refuses_is_dropped(scene):
    """A device that was revoked keeps its old key, and no change waits for ever."""
    record = scene.records[0]
    assert scene.leader.revoke(rotation.signer_of(record, scene.pins, scene.clock), "gone").dropped_reports == 0
    scene.begin()
    with pytest.raises(ProblemError, match="revoked"):
        scene.finish()
    assert [item.rotations for item in scene.records] == [0, 1, 1, 1, 1]
    assert scene.store.participants.rotating(scene.pins.leader_key.raw) == []


class Adrift:
    """A clock so many minutes off."""

    def __init__(self, clock, minutes) -> None:
        self._clock, self._off_ms = clock, minutes * 60_000

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._off_ms


@pytest.mark.parametrize("heard", [False, True])
def test_a_clock_that_is_wrong_costs_no_key(scene, heard):
    """Whether the leader had made the change or not: both keys stay, and with the clock right it is gone on with."""
    scene.begin()
    planned = {record.participant_id: record.next_seed for record in scene.records}
    if heard:
        for record in scene.records:
            scene.leader.change_key(rotation.signer_of(record, scene.pins, scene.clock), record.rotation)
    for minutes in (-5, 90):
        with pytest.raises(ProblemError) as refused:
            rotation.finish(scene.store, scene.leader, scene.pins, Adrift(scene.clock, minutes))
        assert refused.value.code == "stale"
        assert {record.participant_id: record.next_seed for record in scene.records} == planned
    assert scene.finish() == len(planned)
    assert {record.participant_id: record.seed for record in scene.records} == planned
    assert scene.granted() == [True] * len(planned)


@pytest.mark.parametrize("code", ["bad-signature", "key-replaced", "unknown-device", "wrong-state", "malformed"])
def test_a_refusal_of_what_was_done_is_no_reason_to_forget_the_new_key(scene, monkeypatch, code):
    """The new key asks what the leader holds: it is taken over where it holds; else it is kept beside the old one."""
    scene.begin()
    known = scene.records[0]
    scene.leader.change_key(rotation.signer_of(known, scene.pins, scene.clock), known.rotation)

    def refuse(*_):
        raise ProblemError(code)

    with monkeypatch.context() as patched:
        patched.setattr(scene.leader, "change_key", refuse)
        with pytest.raises(ProblemError):
            scene.finish()
    assert [record.rotations for record in scene.records] == [1, 0, 0, 0, 0]
    assert scene.finish() == 4
    assert scene.granted() == [True] * 5


def test_two_processes_that_change_a_key_at_once_lose_none(scene, monkeypatch):
    """The one that is slower finds the change made, whatever it is told; a later change is no business of it."""
    scene.begin()
    leader, change_key = scene.leader, scene.leader.change_key
    beside = LeaderConnection(scene.house.leader_url, scene.services.transport("leader"))
    first = scene.records[0].participant_id

    def slower(signer, content):
        if scene.store.participants.get(first).rotations == 0:
            rotation.finish(scene.store, beside, scene.pins, scene.clock)
            scene.begin()
            rotation.finish(scene.store, beside, scene.pins, scene.clock)
            scene.begin()
        return change_key(signer, content)

    waiting = {record.participant_id for record in scene.records}
    with monkeypatch.context() as patched:
        patched.setattr(leader, "change_key", slower)
        assert scene.finish() == len(waiting)
    assert [record.rotations for record in scene.records] == [2] * 5
    assert all(record.next_seed is not None for record in scene.records), "the third change still waits"
    assert scene.finish() == 5
    assert scene.granted() == [True] * 5


def test_a_service_that_asks_to_wait_is_not_asked_again_before():
    """After 429 nothing of that kind is sent until time and jitter are over; choices have a pause of their own."""
    now = [0.0]
    pauses = Pauses(lambda: now[0], lambda: 1.0)
    pauses.hear("/v1/reports", httpx.Response(429, headers={"retry-after": "10"}))
    pauses.require("/v1/receipts")
    for at, paused in ((9.9, True), (14.9, True), (15.1, False)):
        now[0] = at
        if paused:
            with pytest.raises(ProblemError) as refused:
                pauses.require("/v1/work")
            assert refused.value.code == "slow-down"
            assert refused.value.problem_type.retry
        else:
            pauses.require("/v1/work")
    for value in ("soon", "", "-1", "9" * 40):
        pauses.hear("/v1/receipts", httpx.Response(429, headers={"retry-after": value}))
    now[0] += 3_600 * 1.5 + 1
    pauses.require("/v1/receipts")
