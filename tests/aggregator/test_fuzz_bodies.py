"""Malformed, oversized, slow and misleading requests over real sockets: every one is answered, none breaks anything."""

from __future__ import annotations

import gzip
import json
import os
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from models.wire.frames import REPORTS_MEDIA_TYPE, SEALS_MEDIA_TYPE, ReportFrame
from tests.frames import encode_batch, encode_seals

from .besieged import Besieged, nested, object_with, read_raw, require_sane
from .world import vectors

QUICK = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
FEW, MANY = 12, 2_000
LEADER_POSTS = ("/v1/enrolments", "/v1/receipts", "/v1/studies", "/v1/bundles", "/v1/reports")
HELPER_POSTS = ("/v1/proposals", "/v1/rounds", "/v1/decisions", "/v1/withdrawals")
MALFORMED = (
    b"",
    b"\x00",
    b"{",
    b"null",
    b"NaN",
    b'"text"',
    b"[]",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b"\xc3\x28",
    b'{"enrolments":[],"enrolments":[{}]}',
    b'{"receipts":' + b"9" * 5_000 + b"}",
    b'{"receipts":1e999999}',
    b'{"at_ms":-0.0,"enrolments":[{"at_ms":NaN}]}',
    b'{"jws":"\\ud800"}',
    b'{"jws":"\\u0000.\\u0000.\\u0000"}',
    b'{"study_id":"\\udfff\\ud800"}',
    object_with("rounds", b"1" + b"0" * 400),
    nested(100),
    nested(100_000),
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
)


@pytest.fixture(scope="module")
def besieged(tmp_path_factory):
    with Besieged(tmp_path_factory.mktemp("bodies")) as both:
        yield both


def post(besieged: Besieged, role: str, path: str, body: bytes, media_type: str = "application/json"):
    """Past the door of either service."""
    if role == "helper" and path not in {"/v1/decisions", "/v1/withdrawals"}:
        return require_sane(besieged.as_leader(path, body, media_type))
    headers = {"authorization": f"Bearer {besieged.bearer}", "content-type": media_type}
    return require_sane(besieged.ask(role, "POST", path, content=body, headers=headers))


def values():
    """JSON values, with numbers that no standard allows and text that no encoding has."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-(10**40), 10**40), st.floats(), st.text(st.characters(), max_size=8)
    )
    names = st.sampled_from(("enrolments", "receipts", "version", "study_id", "plan", "jws", "seal", "token", "at_ms"))
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner), max_leaves=9)


@pytest.mark.parametrize(("role", "paths"), [("leader", LEADER_POSTS), ("helper", HELPER_POSTS)])
def test_malformed_json_is_refused(besieged, role, paths):
    """Duplicate names, huge numbers, deep nesting, NaN, lone surrogates, marks of order, wrong bytes: 4xx each."""
    for number, body in enumerate(MALFORMED):
        response = post(besieged, role, paths[number % len(paths)], body)
        assert 400 <= response.status_code < 500


def any_json(besieged, examples):
    @settings(QUICK, max_examples=examples)
    @given(st.sampled_from([("leader", p) for p in LEADER_POSTS] + [("helper", p) for p in HELPER_POSTS]), values())
    def refused(place, value):
        body = json.dumps(value).encode("utf-8", "surrogatepass")
        assert post(besieged, *place, body).status_code in range(200, 500)

    refused()


def test_any_json_is_answered(besieged):
    """Whatever the document says, the answer is a result or a problem."""
    any_json(besieged, FEW)


@pytest.mark.soak
def test_any_json_is_answered_at_length(besieged):
    """The same with many more."""
    any_json(besieged, MANY)


# Binary frames and seals


def batch(besieged: Besieged) -> bytes:
    """A batch of reports that would be accepted."""
    world = besieged.world
    return encode_batch(
        [
            ReportFrame(
                device.name, device.consent.epoch, world.report(device, besieged.study, besieged.opening, vector)
            )
            for device, vector in zip(besieged.devices[:2], vectors(2), strict=True)
        ]
    )


def damaged(body: bytes):
    """The same bytes with one bit, one length or one end that is not right."""
    positions = st.integers(0, len(body) - 1)
    flipped = st.tuples(positions, st.integers(0, 7)).map(
        lambda at: body[: at[0]] + bytes([body[at[0]] ^ 1 << at[1]]) + body[at[0] + 1 :]
    )
    cut = positions.map(lambda at: body[:at])
    longer = st.binary(min_size=1, max_size=40).map(lambda more: body + more)
    spliced = st.tuples(positions, st.binary(max_size=8)).map(lambda it: body[: it[0]] + it[1] + body[it[0] + 8 :])
    return st.one_of(flipped, cut, longer, spliced)


def any_frame(besieged, examples):
    whole, study = batch(besieged), besieged.study.study_hash().hex()
    seals = encode_seals(sorted(os.urandom(1_240) for _ in range(3)))

    @settings(QUICK, max_examples=examples)
    @given(damaged(whole), damaged(seals))
    def refused(frames, sealed):
        response = post(besieged, "leader", "/v1/reports", frames, REPORTS_MEDIA_TYPE)
        if response.status_code == 200:
            # A bit of the epoch is nobody's signature: then consent decides, and the other report is as good as ever.
            assert len(response.json()["results"]) == 2
        assert post(besieged, "helper", f"/v1/rounds/{study}/1/share", sealed, SEALS_MEDIA_TYPE).status_code >= 400

    refused()


def test_damaged_frames_are_refused(besieged):
    """Flipped bits, wrong lengths, missing and trailing bytes, seals that are noise: a code each, and no share."""
    any_frame(besieged, FEW)


@pytest.mark.soak
def test_damaged_frames_are_refused_at_length(besieged):
    """The same with many more."""
    any_frame(besieged, MANY)


# Forms of sending


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "\u00ff/json"]
)
def test_a_wrong_content_type_is_refused(besieged, media_type):
    """JSON goes by its own name, frames by theirs."""
    headers = {"authorization": f"Bearer {besieged.bearer}", "content-type": media_type.encode("latin-1")}
    for path in ("/v1/enrolments", "/v1/reports"):
        response = require_sane(besieged.ask("leader", "POST", path, content=b"{}", headers=headers))
        assert response.status_code in {400, 415}


def test_a_compressed_bomb_stays_folded(besieged):
    """Nothing is unpacked: what says it is gzip is read as the bytes that it is."""
    bomb = gzip.compress(bytes(500 * 2**20 // 16), 9)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    started = time.monotonic()
    response = require_sane(besieged.ask("leader", "POST", "/v1/receipts", content=bomb, headers=headers))
    assert response.status_code in {400, 415}
    assert time.monotonic() - started < 2


def test_oversized_bodies_are_refused(besieged):
    """By the length that is declared and by what really comes; nothing of them is kept waiting for the rest."""
    head = b"POST /v1/receipts HTTP/1.1\r\nhost: leader.test\r\ncontent-type: application/json\r\n"
    declared = besieged.raw("leader", head + b"content-length: 99999999999\r\n\r\n{")
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    arrived = besieged.raw("leader", head + b"transfer-encoding: chunked\r\n\r\n" + 2 * piece + b"0\r\n\r\n")
    for answer in (declared, arrived):
        assert read_raw(answer)[0][0] == 413


def test_a_body_that_does_not_come_is_given_up(besieged):
    """A sender that stops in the middle is told so soon after the pause that is allowed."""
    import socket

    head = b"POST /v1/receipts HTTP/1.1\r\nhost: leader.test\r\ncontent-type: application/json\r\ncontent-length: 9\r\n"
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", besieged.ports["leader"]), timeout=5) as line:
        line.sendall(head + b"\r\n{")
        answer = b""
        while part := line.recv(65_536):
            answer += part
    assert read_raw(answer)[0][0] == 408
    assert time.monotonic() - started < 4


SMUGGLED = b"GET /v1/secret HTTP/1.1\r\nhost: leader.test\r\n\r\n"
TWO_MINDS = (
    b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    b"content-length: 0\r\ncontent-length: 50\r\n\r\n" + SMUGGLED,
    b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
    b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"content-length: -1\r\n\r\n",
    b"content-length: 0x10\r\n\r\n",
    b"content-length : 4\r\n\r\n{}{}",
    b"host: helper.test\r\ncontent-length: 2\r\n\r\n{}",
)


@pytest.mark.parametrize("rest", TWO_MINDS, ids=range(len(TWO_MINDS)))
def test_requests_of_two_minds_are_not_believed(besieged, rest):
    """Two lengths, two hosts, lengths that are none: refused, and what hides behind them is no request of its own."""
    head = b"POST /v1/receipts HTTP/1.1\r\nhost: leader.test\r\ncontent-type: application/json\r\n"
    answers = read_raw(besieged.raw("leader", head + rest))
    assert all(400 <= status < 500 for status, _ in answers), answers
    assert len(answers) <= 1, "one request, one answer"


# Paths and methods

TRICKS = (
    b"/tuf/metadata/../../service.key",
    b"/tuf/metadata/%2e%2e/%2e%2e/service.key",
    b"/tuf/metadata/..%2f..%2fservice.key",
    b"/tuf/metadata/%252e%252e%252fservice.key",
    b"/tuf/targets/..\\..\\service.key",
    b"/tuf/targets//../../settings.json",
    b"/tuf/targets/%00",
    b"/tuf/metadata/root.json%00.html",
    b"//service.key",
    b"/tuf/metadata//etc/passwd",
    b"/tuf/metadata/" + b"a" * 5_000,
    b"/v1/models/" + b"../" * 30 + b"service.key",
    b"/v1/studies/%2e%2e%2f%2e%2e",
    b"/v1/studies/\xff\xfe",
    b"http://leader.test/../service.key",
    b"http://elsewhere.test/service.key",
    b"/v1/log/tiles/0/99999999999999999999",
    b"/static/../console.html",
    b"*",
    b"",
)
METHODS = (b"TRACE", b"CONNECT", b"PUT", b"DELETE", b"PATCH", b"PROPFIND", b"get", b"M\x00", b"A" * 200)


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_tricks_with_paths_find_nothing(besieged, role):
    """Dots, doubled and encoded slashes, null bytes, addresses of other hosts: no file, no 5xx."""
    keys = [(besieged.world.folder / role / name).read_bytes() for name in ("service.key",)]
    for path in TRICKS:
        request = b"GET " + path + b" HTTP/1.1\r\nhost: " + f"{role}.test".encode() + b"\r\nconnection: close\r\n\r\n"
        for status, body in read_raw(besieged.raw(role, request)):
            assert status < 500, (path, body)
            assert status >= 300, (path, body)
            assert not any(key in body for key in keys)
            assert b"root:" not in body


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_strange_methods_are_answered(besieged, role):
    """TRACE echoes nothing, CONNECT connects nothing, HEAD and OPTIONS change nothing and carry no body of HEAD's."""
    for method in METHODS:
        request = method + b" /v1/identity HTTP/1.1\r\nhost: " + f"{role}.test".encode() + b"\r\nx-echo: canary\r\n\r\n"
        answer = besieged.raw(role, request)
        assert b"canary" not in answer
        assert all(400 <= status < 500 for status, _ in read_raw(answer)), (method, answer)
    assert require_sane(besieged.ask(role, "HEAD", "/v1/identity")).content == b""
    assert require_sane(besieged.ask(role, "OPTIONS", "/v1/identity")).status_code in range(400, 500)


def test_the_walls_stand_at_the_end(besieged):
    """After all that the round still takes an honest report, and both services are ready."""
    assert besieged.ask("helper", "GET", "/ready").status_code == 200
    response = post(besieged, "leader", "/v1/reports", batch(besieged), REPORTS_MEDIA_TYPE)
    assert set(response.json()["results"]) <= {"accepted", "report-conflict"}
