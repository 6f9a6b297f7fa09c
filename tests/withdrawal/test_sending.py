"""A request that a withdrawal cuts: over real sockets, and at the gate where reports leave."""

import errno
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from client_agent import connection, streaming
from client_agent.connection import LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.federation.child import AnswerProcess
from consent.instants import CLOCK_SKEW_SECONDS
from models.wire.problems import ProblemError
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.test_worker import NORMAL, Ready, worker_of
from tests.client_agent.world import START_MS, federate, populate
from tests.withdrawal.servers import ARRIVED_BYTES, StallingServer, certify

_YEAR_SECONDS = 366 * 86_400
_BODY_BYTES = 32 * 1024 * 1024
"""More than the kernel's buffers on both sides hold."""
_HANDED_SLICES = 16
"""So many slices the kernel takes in for a leader that reads nothing: 256 KiB."""
_POSTING = """
import sys
from client_agent.connection import LeaderConnection
LeaderConnection(sys.argv[1]).post_reports([bytes(int(sys.argv[2]))])
"""
_PROMISE_SECONDS = 1.0
_STARVED_SECONDS = 9.0
"""What a machine may keep back that runs other things as well. The promise itself is asserted in bytes and in order."""


@pytest.fixture(params=["http", "https"])
def stalling(request, tmp_path, monkeypatch):
    certificate = certify(tmp_path) if request.param == "https" else None
    if certificate is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = StallingServer(certificate)
    yield server
    server.close()


def test_a_request_that_a_stalling_leader_holds_up_is_cut(stalling, caplog):
    """The write waits for a leader that does not read; the withdrawal ends it; the kernel's buffer is dropped."""
    withdrawn, leader = threading.Event(), LeaderConnection(stalling.url)
    problems = []

    def post():
        try:
            leader.post_reports([bytes(_BODY_BYTES)], lambda: not withdrawn.is_set())
        except ProblemError as problem:
            problems.append(problem.code)

    sending = threading.Thread(target=post, daemon=True)
    sending.start()
    assert stalling.accepted.wait(10)
    time.sleep(0.3)  # both kernels' buffers are full by now
    assert sending.is_alive()
    withdrawn.set()
    sending.join(_PROMISE_SECONDS + _STARVED_SECONDS)
    # The leader has read nothing, and the request has no time-out so short: only the cut can have ended it.
    assert problems == ["leader-unavailable"]
    stalling.close()
    assert stalling.read <= ARRIVED_BYTES, "only what had arrived was there to be read"
    assert not caplog.records, "nothing stopped the cut"
    leader.close()


def test_a_request_that_ends_between_two_slices_leaves_nothing_in_the_kernel(stalling, monkeypatch):
    """No write waits, and no watch looks: the connection ends, and takes with it what the kernel still has."""
    monkeypatch.setattr(streaming, "WATCH_SECONDS", 3_600.0)
    leader, asked = LeaderConnection(stalling.url), iter([True] * _HANDED_SLICES)
    with pytest.raises(ProblemError) as stopped:
        leader.post_reports([bytes(_BODY_BYTES)], lambda: next(asked, False))
    assert "BodyStopped" in str(stopped.value), "a write that waited would show nothing"
    stalling.close()
    assert stalling.read <= ARRIVED_BYTES < _HANDED_SLICES * streaming.SLICE_BYTES
    leader.close()


def test_a_request_that_timed_out_leaves_nothing_in_the_kernel(stalling, monkeypatch):
    """Nobody could cut that connection any more when the withdrawal comes."""
    monkeypatch.setattr(connection, "TIMEOUT", httpx.Timeout(10.0, write=0.3))
    leader = LeaderConnection(stalling.url)
    with pytest.raises(ProblemError) as stopped:
        leader.post_reports([bytes(_BODY_BYTES)])
    assert "WriteTimeout" in str(stopped.value) or "ReadTimeout" in str(stopped.value)
    stalling.close()
    assert stalling.read <= ARRIVED_BYTES
    leader.close()


def test_a_process_that_is_killed_leaves_nothing_in_the_kernel(stalling):
    """The worker dies in the middle of a request: what it had handed over does not go on its own."""
    command = (sys.executable, "-c", _POSTING, stalling.url, str(_BODY_BYTES))
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as worker:
        assert stalling.accepted.wait(60)
        time.sleep(0.3)  # both kernels' buffers are full by now
        assert worker.poll() is None
        worker.kill()
    stalling.close()
    assert stalling.read <= ARRIVED_BYTES


@pytest.mark.parametrize(("code", "said"), [(errno.EBADF, 0), (errno.ENOTCONN, 0), (errno.EPERM, 1)])
def test_what_keeps_a_line_from_being_cut_is_said_unless_it_is_closed(code, said, caplog):
    """A connection that has gone is nothing to report, also when it is cut once more; whatever else stops a cut is."""

    class Stubborn(socket.socket):
        def setsockopt(self, *_):
            raise OSError(code, "no")

    stubborn, line = Stubborn(), streaming.Line()
    line.trace("connection.connect_tcp.complete", {"return_value": Streamed(stubborn)})
    line.cut()
    stubborn.close()
    line.cut()
    assert len(caplog.records) == said


def test_a_cut_leaves_the_tls_of_a_connection_on():
    """A write of another thread that is not over yet meets a line that is down, never one in the clear."""
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context()
    secured = context.wrap_socket(ours, do_handshake_on_connect=False, server_hostname="leader.example")
    line = streaming.Line()
    line.trace("connection.start_tls.complete", {"return_value": Streamed(secured)})
    line.cut()
    theirs.settimeout(_PROMISE_SECONDS + _STARVED_SECONDS)
    assert theirs.recv(1) == b"", "it is cut"
    assert secured._sslobj is not None
    secured.close()
    theirs.close()


class Streamed:
    """What the trace of a connection shows."""

    def __init__(self, raw):
        self._raw = raw

    def get_extra_info(self, name):
        return self._raw if name == "socket" else None


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
            job.result(_PROMISE_SECONDS + _STARVED_SECONDS)
        assert child.poll() is not None
        assert computing._jobs[second.found.key, second.participant.participant_id].result(10) is None
        assert read == [first.participant.participant_id]
    finally:
        computing.close()
