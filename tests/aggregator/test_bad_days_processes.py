"""A helper process on bad days: clients that waste its time, a full disk, signals, stores and keys that are wrong."""

import contextlib
import json
import os
import resource
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from aggregator.key_files import create_key
from privacy.crypto import SigningKey
from tests.certificates import self_signed

ROOT = Path(__file__).parents[2]
IMPATIENT = {
    "HEADER_SECONDS": "1",
    "BODY_PAUSE_SECONDS": "0.5",
    "SEND_PAUSE_SECONDS": "1",
    "CONNECTION_LIMIT": "12",
    "HEADER_LIMIT_BYTES": "4096",
    "KEEP_ALIVE_SECONDS": "2",
    "SHUTDOWN_SECONDS": "3",
    "DISK_LEAST_BYTES": "0",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Helper:
    """A helper as a child process."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder.with_suffix(".log")
        settings = {f"HEARTHSIDE_HELPER_{name}": value for name, value in {**IMPATIENT, **environment}.items()}
        command = [sys.executable, "-m", "aggregator.cli", "helper", "--dir", folder, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **settings}, stderr=log
            )

    def ready(self, *, verify=True, scheme="http") -> "Helper":
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{scheme}://127.0.0.1:{self.port}/ready", timeout=2, verify=verify).is_success:
                    return self
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=20)

    def connect(self, sent: bytes = b"") -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self.port), 10)
        line.sendall(sent)
        return line

    def end(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)


def make_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    create_key(folder / "service.key")
    leader = SigningKey.generate().verify_key.raw.hex()
    (folder / "settings.json").write_text(json.dumps({"leader_key": leader, "site": "shop"}))
    return folder


@pytest.fixture(scope="module")
def helper(tmp_path_factory):
    """One helper for all tests that leave it as they found it."""
    service = Helper(make_folder(tmp_path_factory.mktemp("bad") / "helper"))
    yield service.ready()
    service.end()


def until_closed(line: socket.socket, seconds: float) -> bytes:
    """What comes until the other end closes, which it must within so many seconds."""
    line.settimeout(seconds)
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := line.recv(65_536):
            got += part
    line.close()
    return got


def head(helper: Helper, line: str = "GET /health", *more: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: 127.0.0.1:{helper.port}", *more, "", ""]).encode()


def notice() -> dict:
    return {"report_id": os.urandom(32).hex(), "token": os.urandom(32).hex()}


def test_slow_headers_slow_bodies_and_silence_are_cut_while_others_are_served(helper):
    """Three ways of saying nothing end within seconds; requests in between are answered at once."""
    silent = helper.connect()
    dripping = helper.connect(head(helper)[:-10])
    body = helper.connect(
        head(helper, "POST /v1/withdrawals", "Content-Type: application/json", "Content-Length: 99") + b"{"
    )
    assert helper.get("/health").is_success
    assert b"408" in until_closed(body, 10).split(b"\r\n", 1)[0]
    assert until_closed(silent, 10) == b""
    assert until_closed(dripping, 10) == b""
    assert helper.get("/health").is_success
    page = helper.get("/metrics").text
    assert 'hearthside_cut_connections_total{reason="slow-headers"' in page


def test_idle_connections_beyond_the_limit_keep_nobody_out(helper):
    """Forty connections that say nothing, where twelve are allowed: the oldest give way, every request is answered."""
    idle = [helper.connect() for _ in range(40)]
    assert all(helper.get("/health").is_success for _ in range(5))
    idle[-1].sendall(head(helper))
    assert idle[-1].recv(15) == b"HTTP/1.1 200 OK"
    assert 'hearthside_cut_connections_total{reason="crowded-out"' in helper.get("/metrics").text
    for line in idle:
        line.close()


def test_large_headers_are_refused_whole_or_dripping(helper):
    """More than the limit in one piece is a problem; more than the limit without an end is cut."""
    answer = until_closed(helper.connect(head(helper, "GET /health", "X-Filler: " + 5_000 * "x")), 10)
    assert answer.startswith(b"HTTP/1.1 413")
    endless = helper.connect(head(helper)[:-2] + b"X-Filler: " + 5_000 * b"x")
    assert until_closed(endless, 10).startswith(b"HTTP/1.1 413")


def test_requests_sent_ahead_are_answered_in_order_and_not_without_end(helper):
    """Three at once get three answers, a hundred at once get the line cut; both leave the service well."""
    line = helper.connect(2 * head(helper) + head(helper, "GET /v1/none", "Connection: close"))
    got = until_closed(line, 10)
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]
    flood = until_closed(helper.connect(100 * head(helper)), 10)
    assert flood.count(b"HTTP/1.1 ") < 100
    assert helper.get("/health").is_success


def test_a_full_disk_refuses_clearly_loses_nothing_and_mends_itself(helper):
    """Files may not grow: 503 store-unavailable, nothing half kept; with room again, what was acknowledged is there."""
    kept = []
    store = helper.folder / "store.sqlite3"

    def send() -> httpx.Response:
        fresh = notice()
        answer = httpx.post(f"http://127.0.0.1:{helper.port}/v1/withdrawals", json=fresh, timeout=20)
        if answer.is_success:
            kept.append(bytes.fromhex(fresh["report_id"]))
        return answer

    def stored() -> set[bytes]:
        with contextlib.closing(sqlite3.connect(store)) as connection:
            return {row[0] for row in connection.execute("SELECT report_id FROM withdrawals")}

    probe = send()
    assert probe.status_code == 202, probe.text
    wal = Path(f"{store}-wal").stat().st_size
    _, most = resource.prlimit(helper.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(helper.process.pid, resource.RLIMIT_FSIZE, (max(wal, 16_384), most))
    refused = [answer for answer in (send() for _ in range(60)) if not answer.is_success]
    assert refused, "the limit was met"
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.json()["type"].rsplit(":", 1)[1] for answer in refused} == {"store-unavailable"}
    assert "retry-after" in refused[0].headers
    assert helper.get("/health").is_success
    resource.prlimit(helper.process.pid, resource.RLIMIT_FSIZE, (most, most))
    assert send().status_code == 202
    assert stored() == set(kept)
    assert "hearthside_store_failures_total" in helper.get("/metrics").text


def test_nothing_but_the_services_own_lines_is_in_its_log(helper):
    """After all this the log is the command's first line and JSON lines; no client's address or header is in it."""
    first, *lines = helper.log.read_text().splitlines()
    assert first.startswith("Hearthside helper: http://127.0.0.1:")
    assert {json.loads(line)["service"] for line in lines} <= {"helper"}
    assert not any("X-Filler" in line or "127.0.0.1" in line for line in lines)


def test_an_end_in_good_order_finishes_what_is_under_way_and_exits_0(tmp_path):
    """SIGTERM with half a request sent: its answer still comes; the exit code is 0; a start after it goes on."""
    service = Helper(make_folder(tmp_path / "helper")).ready()
    body = json.dumps(notice()).encode()
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    line = service.connect(head(service, "POST /v1/withdrawals", *headers) + body[:10])
    time.sleep(0.3)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    line.sendall(body[10:])
    assert until_closed(line, 10).startswith(b"HTTP/1.1 202")
    assert service.process.wait(20) == 0


def test_a_second_signal_ends_the_process_at_once(tmp_path):
    """A request that would hold the end up does not after the second signal."""
    service = Helper(make_folder(tmp_path / "helper"), SHUTDOWN_SECONDS="60", BODY_PAUSE_SECONDS="60").ready()
    line = service.connect(
        head(service, "POST /v1/withdrawals", "Content-Type: application/json", "Content-Length: 99")
    )
    time.sleep(0.3)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(1.3)
    assert service.process.poll() is None
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(5) == 128 + signal.SIGTERM
    line.close()


def test_tls_is_served_here_and_an_old_version_is_not(tmp_path):
    """With a certificate the service speaks TLS 1.2 or newer, says so for a year, and takes no plain request."""
    certificate, key = self_signed(tmp_path)
    arguments = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    service = Helper(make_folder(tmp_path / "helper"), *arguments)
    context = ssl.create_default_context(cafile=certificate)
    try:
        service.ready(verify=context, scheme="https")
        answer = httpx.get(f"https://127.0.0.1:{service.port}/health", verify=context)
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://127.0.0.1:{service.port}/health", verify=context)
        with pytest.raises(httpx.TransportError):
            service.get("/health")
    finally:
        assert service.end() == 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "service.key").chmod(0o644), "expected mode 0600"),
        (lambda folder: (folder / "service.key").write_text("x"), "is no key: expected 64 hexadecimal digits"),
        (lambda folder: (folder / "store.sqlite3").write_bytes(4_096 * b"x"), "the store cannot be opened"),
        (lambda folder: (folder / "settings.json").write_text('{"site": 5}'), "settings.json line 1"),
        (lambda folder: (folder / "settings.json").write_text("{}"), "setting leader_key: expected the public key"),
        (lambda folder: _make_newer(folder / "store.sqlite3"), "helper_9999, which this version does not know"),
    ],
    ids=["loose-key", "no-key", "damaged-store", "wrong-type", "no-leader", "newer-store"],
)
def test_a_start_that_cannot_be_is_one_line_and_exit_2(tmp_path, spoil, says, capsys, monkeypatch):
    """Whatever is wrong, the last line says what, no traceback is printed, and the folder is left as it was."""
    from aggregator.cli import main

    folder = make_folder(tmp_path / "helper")
    spoil(folder)
    monkeypatch.setattr(
        sys, "argv", ["hearthside-aggregator", "helper", "--dir", str(folder), "--port", str(free_port())]
    )
    monkeypatch.setattr("aggregator.logs.take_over", lambda _: None)  # of the test's own process
    with pytest.raises(SystemExit) as ended:
        main()
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Hearthside helper:")]
    assert ended.value.code == 2
    assert len(lines) == 1
    assert says in lines[0]


def _make_newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('helper_9999')")
        connection.commit()
