"""The agent's own processes against real services on sockets: how long after a withdrawal the last byte arrives."""

import asyncio
import contextlib
import datetime as dt
import logging
import os
import socket
import threading
import time
from dataclasses import replace

import httpx
import uvicorn

from aggregator.helper.app import create_app as helper_app
from aggregator.leader.app import create_app as leader_app
from aggregator.settings import HelperSettings, LeaderSettings
from client_agent.agent import Addresses, set_up
from client_agent.clocks import SystemClock
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol, pin
from client_agent.keys import FileKeyring
from client_agent.resident import Resident
from models.wire.studies import TransitionsQuery
from privacy.accounting import Contract
from simulations.demo.parties import Analyst, Officer
from simulations.house import build_house
from tests.client_agent.test_services import STUDY

CONTRACT = Contract(epsilon=4.0, delta=1e-6, order=7)
PEOPLE = 12
CATEGORIES = 400
"""So many that a report is half a megabyte: far more than is under way at any time between the two."""
_PAUSE_SECONDS = 0.2
_PROMISE_SECONDS = 1.0
_STARVED_SECONDS = 9.0
"""What a machine may keep back that runs other things as well. The promise itself is asserted in bytes and in order."""
_BUFFERED_BYTES = 128 * 1024
"""What the leader's own side can hold of a request that it has not looked at: its kernel's buffer and its server's."""
_PATIENCE_SECONDS = 90.0


class Tap:
    """ASGI wrapper that notes when it is given something on a path; it can be made to read slowly, or to answer late.

    Args:
        app: the service.
        path: what is noted.
        pause_seconds: before each read of a body on that path.
        deaf: a path that is never answered while the test runs.
    """

    def __init__(self, app, path, pause_seconds=0.0, deaf=""):
        self._app, self._path, self._pause_seconds, self._deaf = app, path, pause_seconds, deaf
        self.times = []
        self.pieces = []
        """(when, how many bytes, number of the request) of whatever it was given there."""
        self._requests = 0
        self.over = threading.Event()

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        if self._deaf and path == self._deaf:
            await asyncio.to_thread(self.over.wait, _PATIENCE_SECONDS)

        self._requests += 1
        number = self._requests

        async def noted():
            await asyncio.sleep(self._pause_seconds)
            message = await receive()
            if body := message.get("body"):
                self.times.append(time.monotonic())
                self.pieces.append((self.times[-1], len(body), number))
            return message

        await self._app(scope, noted if path == self._path else receive, send)


def _listener():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    listener.bind(("127.0.0.1", 0))
    return listener


@contextlib.contextmanager
def serve(listener, app):
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    _until(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


def _until(condition):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_last_byte_after_a_withdrawal_and_the_first_word_to_the_helper(tmp_path, record_property):
    """A leader that reads slowly and answers no receipt: nothing follows the withdrawal, and the helper hears it."""
    lines = _listener(), _listener()
    ports = [line.getsockname()[1] for line in lines]
    house = build_house(tmp_path / "house", "shop.example", CONTRACT, *ports, dt.datetime.now(dt.UTC))
    helper = Tap(helper_app(HelperSettings.read(house.helper_folder)), "/v1/withdrawals")
    leader = Tap(leader_app(LeaderSettings.read(house.leader_folder)), "/v1/reports", pause_seconds=_PAUSE_SECONDS)
    with serve(lines[1], helper), serve(lines[0], leader):
        resident, agent, people = _agent(tmp_path / "agent", house)
        _start_study(house)
        leader._deaf = "/v1/receipts"
        loop = threading.Thread(target=resident.loop)
        loop.start()
        try:
            _until(lambda: leader.times)
            keeper = ConsentKeeper(agent.store, agent.pins, SystemClock())
            underway_bytes = sum(
                item.size_bytes or 0 for who in people for item in agent.store.contributions.releases_of(who)
            )
            keeper.decline_many({who: {"measurement"} for who in people})
            withdrawn = time.monotonic()
            resident.chosen()
            _until(lambda: not agent.store.reports.taken_back())
            told = time.monotonic()
            time.sleep(1.5)
        finally:
            leader.over.set()
            resident.stop()
            loop.join()
        outcomes = {item.outcome for who in people for item in agent.store.contributions.releases_of(who)}
        agent.store.close()
    figures = {
        "last_report_byte_seconds": max(leader.times) - withdrawn,
        "first_word_to_helper_seconds": min(helper.times) - withdrawn,
        "helper_signed_all_seconds": told - withdrawn,
    }
    for name, seconds in figures.items():
        record_property(name, round(seconds, 3))
    record_property("bytes_read_after", sum(size for at, size, _ in leader.pieces if at > withdrawn))
    logging.getLogger(__name__).warning("after the withdrawal: %s", figures)
    late = [(size, number) for at, size, number in leader.pieces if at > withdrawn]
    assert outcomes == {"unsent", "kept_out"}
    assert len({number for _, number in late}) <= 1, "no request begins after the withdrawal"
    assert sum(size for size, _ in late) <= _BUFFERED_BYTES < underway_bytes, "nothing is read that had not arrived"
    assert max(figures.values()) < _PROMISE_SECONDS + _STARVED_SECONDS


def _agent(folder, house):
    """Pinned, enrolled, and with everybody's grant confirmed."""
    folder.mkdir()
    agent = set_up(folder, house.pins, Addresses(house.leader_url, house.helper_url), FileKeyring(folder))
    leader, helper, clock = agent.leader(), agent.helper(), SystemClock()
    prints = [house.pins.leader_key.fingerprint, house.pins.helper_key.fingerprint]
    pin(leader, helper, *prints, [key.fingerprint for key in house.pins.officers])
    names, token = [f"p{i}" for i in range(PEOPLE)], house.tokens["enrol"]
    records = enrol(agent.store, leader, house.pins, names, token=token, clock=clock, entropy=os.urandom)
    people = [record.participant_id for record in records]
    ConsentKeeper(agent.store, house.pins, clock).grant_many(dict.fromkeys(people, ("measurement",)))
    assert Courier(agent.store, house.pins, clock).deliver(leader) == PEOPLE
    leader.close()
    helper.close()
    return Resident(agent, clock, 0.2), agent, people


def _start_study(house):
    query = TransitionsQuery(categories=tuple(f"c{i}" for i in range(CATEGORIES)))
    draft = replace(STUDY, query=query, rounds=1, window_seconds=25.0)
    study = draft.build(house.parties(time.time_ns() // 10**6))
    with httpx.Client(base_url=house.leader_url) as leading, httpx.Client(base_url=house.helper_url) as helping:
        analyst = Analyst(leading, house.tokens["analyst"])
        analyst.propose(study)
        Officer(helping, house.officer).decide(study, "approve", "asks little", time.time_ns() // 10**6)
        analyst.start(study.study_id)
