"""Who gives way where connections are too many, how an answer must be read, and whose name a target has."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import httptools
import pytest

from aggregator.connections import Reading, authority_of, obey_target
from aggregator.crowds import Addresses, Crowd, subscriber
from aggregator.server import make_server
from aggregator.settings import HelperSettings
from models.wire.guards import HostGuard
from privacy.crypto import SigningKey

BIG = 12 * 2**20


class Line:
    """A connection as a crowd knows it."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd, self.waited_since, self.moved_bytes, self.held, self.cut_for = crowd, None, 0, False, ""

    def is_held_up(self) -> bool:
        return self.held

    def cut(self, reason: str) -> None:
        self.cut_for = reason
        self.crowd.leave(self)

    def waits(self, since: float, moved_bytes: int) -> "Line":
        self.crowd.resting.pop(self, None)
        self.waited_since, self.moved_bytes = since, moved_bytes
        self.crowd.waiting.add(self)
        return self

    def works(self) -> "Line":
        self.crowd.resting.pop(self, None)
        return self


def entered(crowd: Crowd, now: float) -> Line:
    line = Line(crowd)
    assert crowd.enter(line, now)
    return line


def test_the_slowest_gives_way_after_those_that_rest():
    """First who has rested longest, then who sends or reads least for the time; not who works, nor who is held up."""
    crowd = Crowd(5)
    works = entered(crowd, 0.0).works()
    quick, slow = entered(crowd, 0.0).waits(0.0, 10**6), entered(crowd, 0.0).waits(0.0, 2_400)
    held, rests = entered(crowd, 0.0).waits(0.0, 0), entered(crowd, 0.0)
    held.held = True
    leaving = []
    for _ in range(3):
        entered(crowd, 10.0).works()
        leaving.append([line.cut_for for line in (rests, slow, quick, held, works)])
    gone = "crowded-out"
    assert leaving == [[gone, "", "", "", ""], [gone, gone, "", "", ""], [gone, gone, gone, "", ""]]
    assert not crowd.enter(Line(crowd), 10.0)


def test_who_has_just_begun_is_not_the_slowest():
    """A body of which nothing has come yet stays before one that has dripped for ten seconds."""
    crowd = Crowd(2)
    fresh, drips = entered(crowd, 9.9).waits(9.9, 0), entered(crowd, 0.0).waits(0.0, 2_400)
    entered(crowd, 10.0)
    assert (fresh.cut_for, drips.cut_for) == ("", "crowded-out")


def test_an_address_has_its_limit_and_a_proxy_none():
    """A subscriber of IPv6 is one address, however many it uses; what nobody uses any more is forgotten."""
    addresses = Addresses(2, ("10.0.0.1",))
    own = addresses.of("2001:db8::1")
    assert own is not None
    assert addresses.of("2001:db8::ffff") is own
    assert addresses.of("2001:db8:0:1::1") is not own
    assert subscriber("::ffff:192.0.2.7") == subscriber("192.0.2.7")
    assert addresses.of("10.0.0.1") is None
    assert Addresses(2, ("10.0.0.0/8",)).of("10.9.9.9") is None
    assert Addresses(2, ("10.0.0.0/8",)).of("11.9.9.9") is not None
    assert Addresses(2, ("*",)).of("11.9.9.9") is None
    addresses.tidy("2001:db8::1")
    assert addresses.of("2001:db8::1") is not own


def test_a_steady_reader_is_not_slow_and_a_pause_or_a_trickle_is():
    """The pause counts from the last byte that was taken, not from the first wait; on the whole there is a rate."""
    steady, trickle = Reading(0.0, 10**7), Reading(0.0, 10**7)
    for second in range(1, 301):
        steady.look(second, 10**7 - 1_000 * second)
        trickle.look(second, 10**7 - 100 * second)
    assert not steady.is_slow(300.0, 30.0, 240)
    assert trickle.is_slow(300.0, 30.0, 240)
    assert not steady.is_slow(329.0, 30.0, 240)
    assert steady.is_slow(331.0, 30.0, 240)


def test_a_target_that_names_an_authority_is_what_the_host_is():
    """As RFC 9112 has it; two Host fields stay two, for the guard to refuse."""
    assert authority_of(b"/v1/work?to=http://x") is None
    assert authority_of(b"http://elsewhere.test:80/v1/work") == b"elsewhere.test:80"
    headers = [(b"accept", b"*/*"), (b"host", b"here.test")]
    obey_target(b"http://elsewhere.test/v1", headers)
    assert headers == [(b"accept", b"*/*"), (b"host", b"elsewhere.test")]
    twice = [(b"host", b"here.test"), (b"host", b"other.test")]
    obey_target(b"http://here.test/", twice)
    assert len(twice) == 2


async def answer(scope, receive, send):
    """A body is read whole; then comes a large answer or a small one."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = bytes(BIG if scope["path"] == "/big" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(tmp_path, **settings):
    """A real server; yields its port and why it cut connections."""
    read = HelperSettings.read(tmp_path, site="shop", leader_key=SigningKey(b"l" * 32).verify_key.raw.hex(), **settings)
    cuts, listener = [], socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = make_server(HostGuard(answer, ["here.test"]), read, cuts.append)
    server.config.lifespan = "off"
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield listener.getsockname()[1], cuts
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def connected(port: int, head: str = "GET / HTTP/1.1", *more: str, buffer_bytes: int | None = None) -> socket.socket:
    line = socket.socket()
    if buffer_bytes:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    line.settimeout(10)
    line.connect(("127.0.0.1", port))
    line.sendall("\r\n".join([head, "Host: here.test", *more, "", ""]).encode())
    return line


def slow_body(port: int) -> socket.socket:
    """A request whose body the service waits for."""
    line = connected(port, "POST / HTTP/1.1", "Content-Length: 9999", "Expect: 100-continue")
    assert line.recv(99).startswith(b"HTTP/1.1 100")
    return line


def test_slow_bodies_up_to_the_limit_keep_nobody_out(tmp_path):
    """Ten bodies that drip, where ten connections are allowed: one of them gives way to each request."""
    with serving(tmp_path, connection_limit=10) as (port, cuts):
        slow = [slow_body(port) for _ in range(10)]
        for _ in range(3):
            with connected(port, "GET / HTTP/1.1", "Connection: close") as line:
                assert line.recv(15) == b"HTTP/1.1 200 OK"
        assert cuts[0] == "crowded-out"
        for line in slow:
            line.close()


def test_one_address_keeps_to_its_own_limit(tmp_path):
    """With one more than it may have, its own slowest gives way, whatever room there is for others."""
    with serving(tmp_path, connection_limit=100, address_connection_limit=2) as (port, cuts):
        slow = [slow_body(port) for _ in range(5)]
        with connected(port) as line:
            assert line.recv(15) == b"HTTP/1.1 200 OK"
        assert cuts == 4 * ["crowded-out"]
        for line in slow:
            line.close()


def test_a_slow_but_steady_reader_gets_its_whole_answer(tmp_path):
    """It takes several times as long as a pause may; whoever stops reading is cut."""
    with serving(tmp_path, send_pause_seconds=1.0, keep_alive_seconds=1) as (port, cuts):
        with connected(port, "GET /big HTTP/1.1", buffer_bytes=65_536) as line:
            got, wait = 0, threading.Event()
            while got < BIG:
                part = line.recv(2**20)
                assert part, (got, cuts)
                got += len(part)
                wait.wait(len(part) / (4 * 2**20))
        assert cuts == []
        with connected(port, "GET /big HTTP/1.1", buffer_bytes=65_536) as line:
            for _ in range(60):
                if cuts:
                    break
                wait.wait(0.1)
        assert cuts == ["unread-answer"]


@pytest.mark.parametrize(
    ("target", "status"),
    [("http://elsewhere.test/v1/work", b"421"), ("http://here.test/v1/work", b"200"), ("/v1/work", b"200")],
)
def test_a_request_for_another_authority_is_not_answered(tmp_path, target, status):
    """Whatever the Host field says beside it."""
    assert httptools  # the parser of the leader; the helper's own answers 404 to all of this form
    with serving(tmp_path) as (port, _), connected(port, f"GET {target} HTTP/1.1") as line:
        assert line.recv(12).split()[1] == status
