"""A request that a withdrawal cuts: over real sockets, and at the gate where reports leave."""

import socket
import threading
import time

import pytest

from client_agent.connection import LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.federation.child import AnswerProcess
from consent.instants import CLOCK_SKEW_SECONDS
from models.wire.problems import ProblemError
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.test_worker import NORMAL, Ready, worker_of
from tests.client_agent.world import START_MS, federate, populate

_YEAR_SECONDS = 366 * 86_400
_BODY_BYTES = 32 * 1024 * 1024
"""More than the kernel's buffers on both sides hold."""
_RECEIVED_BYTES = 8 * 1024
"""The receiver's buffer: little arrives, and the sender's kernel holds the rest."""
_ARRIVED_BYTES = 64 * 1024
_GENEROUS_SECONDS = 5.0


class StallingServer:
    """Takes a connection and reads nothing of it until it is told to."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.accepted, self.read, self.go = threading.Event(), 0, threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        connection, _ = self._socket.accept()
        self.accepted.set()
        self.go.wait(30)
        with connection:
            connection.settimeout(10)
            try:
                while piece := connection.recv(1 << 20):
                    self.read += len(piece)
            except OSError:
                pass  # the other side threw away what it had not sent

    def close(self):
        self.go.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def stalling():
    server = StallingServer()
    yield server
    server.close()


def test_a_request_that_a_stalling_leader_holds_up_is_cut(stalling):
    """The write waits for a leader that does not read; the withdrawal ends it; the kernel's buffer is dropped."""
    withdrawn, leader = threading.Event(), LeaderConnection(stalling.url)
    problems = []

    def post():
        try:
            leader.post_reports([bytes(_BODY_BYTES)], lambda: not withdrawn.is_set())
        except ProblemError as problem:
            problems.append(problem.code)

    sending = threading.Thread(target=post)
    sending.start()
    assert stalling.accepted.wait(10)
    time.sleep(0.3)  # both kernels' buffers are full by now
    assert sending.is_alive()
    withdrawn.set()
    started = time.monotonic()
    sending.join(20)
    assert time.monotonic() - started < _GENEROUS_SECONDS
    stalling.close()
    assert problems == ["leader-unavailable"]
    assert stalling.read <= _ARRIVED_BYTES, "only what had arrived was there to be read"
    leader.close()


def test_the_others_of_a_cut_request_are_sent_again(world, store):
    """One of three takes a report back in the middle of the request: the other two arrive, the same bytes."""
    people = populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    frames = {item.participant_id: item.frame for item in store.reports.due(world.clock.ms, 256)}
    keeper, post = ConsentKeeper(store, world.pins, world.clock), federation.leader.post_reports

    def withdrawn_meanwhile(encoded, standing):
        if len(encoded) == 3:
            keeper.withdraw(people[0])
        return post(encoded, standing)

    federation.leader.post_reports = withdrawn_meanwhile
    delivery = federation.send_due()
    assert (delivery.accepted, delivery.interrupted, delivery.unreachable) == (2, 1, None)
    bodies = [body for body in world.bodies if any(frame in body for frame in frames.values())]
    assert [frames[who] in bodies[0] for who in people] == [False, True, True]
    assert len(bodies) == 1


def test_a_grant_that_ends_while_a_report_waits_lets_nothing_leave(world, store):
    """The gate is asked again when a report leaves: an expired grant deletes it, and the list says that it stayed."""
    (who,) = populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    world.clock.advance(2 * _YEAR_SECONDS + CLOCK_SKEW_SECONDS)
    assert federation.send_due().accepted == 0
    assert world.reports == {}
    assert [item.outcome for item in store.contributions.releases_of(who)] == ["unsent"]
    world.clock.advance(-2 * _YEAR_SECONDS)
    assert federation.send_due().accepted == 0, "turning the clock back does not bring it back"


def test_a_row_that_was_freed_in_the_middle_is_nobody_elses(world, store):
    """A report that was taken back while its request was under way leaves the next report in its place untouched."""
    first, second = populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    federation.finalise(found, federation.reserve_all(found, [first]))
    world.clock.advance(9.0)
    keeper, post = ConsentKeeper(store, world.pins, world.clock), federation.leader.post_reports

    def taken_in_and_withdrawn(encoded, standing):
        answer = post(encoded, standing)
        keeper.withdraw(first)
        federation.reserve_all(found, [second])
        return answer

    federation.leader.post_reports = taken_in_and_withdrawn
    federation.send_due()
    states = store._database.fetch("SELECT participant_id, state FROM reports")
    assert states == [(second, "reserved")]


def test_nothing_more_is_computed_for_who_withdrew(world, store):
    """The worker forgets the reservation at its next step; the others' are answered."""
    people = populate(world, store, 3)
    federation, computing = federate(world, store), Ready()
    worker = worker_of(federation, computing, world.clock)
    world.open_round(world.study())
    worker.step()
    ConsentKeeper(store, world.pins, world.clock).withdraw(people[1])
    worker.step()
    assert [entry for entry in computing.trace if entry[0] == "forgotten"] == [("forgotten", people[1])]
    assert {r.participant.participant_id for r in worker._waiting} == {people[0], people[2]}


def test_a_child_that_computes_for_who_withdrew_is_ended(world, store):
    """The data is not read for a job that was not begun, and a job that is at it ends within the second."""
    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study())
    first, second = federation.reserve_all(only_round(federation))
    read, standing = [], {first.participant.participant_id, second.participant.participant_id}
    sleeper = (*NORMAL[:1], "-c", "import time; time.sleep(600)")
    computing = AnswerProcess(
        lambda who: read.append(who) or [], lambda: START_MS, sleeper, lambda _, who: who in standing
    )
    try:
        computing.submit(first)
        computing.submit(second)
        deadline = time.monotonic() + 10
        while not read and time.monotonic() < deadline:
            time.sleep(0.01)
        job, child = computing._jobs[first.found.key, first.participant.participant_id], computing._child
        standing.clear()
        with pytest.raises(Exception, match="could not be computed"):
            job.result(_GENEROUS_SECONDS)
        assert child.poll() is not None
        assert computing._jobs[second.found.key, second.participant.participant_id].result(10) is None
        assert read == [first.participant.participant_id]
    finally:
        computing.close()
