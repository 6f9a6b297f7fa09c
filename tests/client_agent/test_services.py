"""The agent against the real leader and helper, in this process: every guard, store, seal and signature is real."""

import datetime as dt
import os
import time

import httpx
import numpy as np
import pytest

from aggregator.helper.app import create_app as helper_app
from aggregator.leader.app import create_app as leader_app
from aggregator.settings import HelperSettings, LeaderSettings
from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol, pin
from client_agent.federation.contribution import Slots
from client_agent.federation.federation import Federation
from client_agent.federation.worker import POLL_SECONDS
from models.wire.studies import TransitionsQuery
from privacy.accounting import Contract
from simulations.demo.parties import Analyst, Officer
from simulations.demo.plans import Draft
from simulations.house import build_house
from simulations.transport import InProcessServices
from tests.client_agent.world import make_store

CONTRACT = Contract(epsilon=4.0, delta=1e-6, order=7)
PEOPLE = 12
DEADLINE_SECONDS = 60
STUDY = Draft(
    study_id="pages",
    title="Pages",
    summary="Which page follows which.",
    purpose="measurement",
    query=TransitionsQuery(categories=("a", "b")),
    rounds=2,
    sampling_rate=1.0,
    noise_multiplier=8.0,
    window_seconds=3.0,
    epsilon_cap=4.0,
    minimum_cohort=4,
    delta=CONTRACT.delta,
)


@pytest.fixture
def house(tmp_path):
    return build_house(tmp_path / "house", "shop.example", CONTRACT, 8001, 8002, dt.datetime.now(dt.UTC))


@pytest.fixture
def services(house):
    def build():
        helper = helper_app(HelperSettings.read(house.helper_folder))
        leader = leader_app(LeaderSettings.read(house.leader_folder), helper_transport=httpx.ASGITransport(helper))
        return {"helper": helper, "leader": leader}

    with InProcessServices(build) as running:
        yield running


def test_two_rounds_with_the_real_services(house, services, tmp_path):
    """Pin, enrol, consent, two rounds with a withdrawal between: released sums, and everyone's ledger, agree."""
    leader = LeaderConnection(house.leader_url, services.transport("leader"))
    helper = HelperConnection(house.helper_url, services.transport("helper"))
    prints = [house.pins.leader_key.fingerprint, house.pins.helper_key.fingerprint]
    pins = pin(leader, helper, *prints, [key.fingerprint for key in house.pins.officers])
    assert pins == house.pins
    store, clock = make_store(tmp_path / "agent"), SystemClock()
    people = [f"p{i}" for i in range(PEOPLE)]
    records = enrol(store, leader, pins, people, token=house.tokens["enrol"], clock=clock, entropy=os.urandom)
    keeper = ConsentKeeper(store, pins, clock)
    courier = Courier(store, pins, clock)
    keeper.grant_many({record.participant_id: ["measurement"] for record in records[:-2]})
    keeper.decline(records[-2].participant_id)
    assert courier.deliver(leader) == PEOPLE - 2
    federation = Federation(store, leader, helper, pins, clock, os.urandom, CONTRACT, slots=Slots(0.0, 0.3))

    analyst = Analyst(
        httpx.Client(base_url=house.leader_url, transport=services.transport("leader")), house.tokens["analyst"]
    )
    officer = Officer(httpx.Client(base_url=house.helper_url, transport=services.transport("helper")), house.officer)
    study = STUDY.build(house.parties(clock.now_ms()))
    analyst.propose(study)
    officer.decide(study, "approve", "asks little", clock.now_ms())
    analyst.start("pages")

    sent_by_round = take_part_until_finished(federation, analyst, keeper, courier, records, leader, helper)
    assert federation.refused == {}
    results = analyst.results("pages")["rounds"]
    assert [row["opened"] for row in results] == [PEOPLE - 2, PEOPLE - 3]
    assert sent_by_round == {1: PEOPLE - 2, 2: PEOPLE - 3}
    # Both servers' noise at z = 8 and clip norm 1: a standard deviation of 8 sqrt 2 an entry; six of them is certain.
    for row, people_in in zip(results, (PEOPLE - 2, PEOPLE - 3), strict=True):
        assert np.abs(np.array(row["values"]) - [0, people_in, 0, 0]).max() < 6 * 8 * 2**0.5
    lengths = sorted(member.budget.contract.length for member in federation.roster)
    assert lengths == [0, 0] + [2] * (PEOPLE - 2), "a report that was taken back is charged all the same"


def take_part_until_finished(federation, analyst, keeper, courier, records, leader, helper) -> dict[int, int]:
    """Run the agent's loop; one person withdraws once round 1 is over."""
    sent: dict[int, int] = {}
    deadline = time.monotonic() + DEADLINE_SECONDS
    while analyst.status("pages")["state"] != "finished":
        assert time.monotonic() < deadline, analyst.status("pages")
        for found in federation.open_rounds():
            reserved = federation.reserve_all(found)
            for head in federation.flip_all(reserved):
                federation.answer(head, federation.encode_answer(found, np.array([0.0, 1.0, 0.0, 0.0])))
            federation.finalise(found, reserved)
            if reserved and found.round == 2:
                keeper.withdraw(records[0].participant_id)
                assert courier.deliver(leader) == 1
                # Round 1's token goes along: this device cannot know that the leader has handed its batch in.
                assert courier.tell_helper(helper) == 2
            sent[found.round] = sent.get(found.round, 0) + len(reserved) - (found.round == 2 and bool(reserved))
        federation.send_due()
        time.sleep(0.02)
    return sent


def test_an_officers_stop_reaches_a_real_agent_within_one_poll(house, services, tmp_path):
    """From a real leader and helper: at its next poll the agent takes part in nothing more and sends nothing more."""
    leader = LeaderConnection(house.leader_url, services.transport("leader"))
    helper = HelperConnection(house.helper_url, services.transport("helper"))
    prints = [house.pins.leader_key.fingerprint, house.pins.helper_key.fingerprint]
    pins = pin(leader, helper, *prints, [key.fingerprint for key in house.pins.officers])
    store, clock = make_store(tmp_path / "agent"), SystemClock()
    people = [f"p{i}" for i in range(PEOPLE)]
    records = enrol(store, leader, pins, people, token=house.tokens["enrol"], clock=clock, entropy=os.urandom)
    ConsentKeeper(store, pins, clock).grant_many({record.participant_id: ["measurement"] for record in records})
    assert Courier(store, pins, clock).deliver(leader) == PEOPLE
    federation = Federation(store, leader, helper, pins, clock, os.urandom, CONTRACT, slots=Slots(0.5, 0.9))
    analyst = Analyst(
        httpx.Client(base_url=house.leader_url, transport=services.transport("leader")), house.tokens["analyst"]
    )
    officer = Officer(httpx.Client(base_url=house.helper_url, transport=services.transport("helper")), house.officer)
    study = STUDY.build(house.parties(clock.now_ms()))
    analyst.propose(study)
    officer.decide(study, "approve", "asks little", clock.now_ms())
    analyst.start("pages")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := federation.open_rounds()):
        assert time.monotonic() < deadline, analyst.status("pages")
        time.sleep(0.02)
    reserved = federation.reserve_all(found[0])
    federation.finalise(found[0], reserved)
    assert len(reserved) == PEOPLE
    officer.decide(study, "stop", "asked by mistake", clock.now_ms())
    time.sleep(POLL_SECONDS)
    assert federation.open_rounds() == []  # the very next poll, as the worker times them
    assert federation.next_slot_ms() is None
    assert federation.send_due(clock.now_ms() + 10**9).accepted == 0
    while analyst.status("pages")["state"] != "stopped":
        assert time.monotonic() < deadline, analyst.status("pages")
        time.sleep(0.05)
    assert [row["state"] for row in analyst.status("pages")["rounds"]] == ["abandoned"]
