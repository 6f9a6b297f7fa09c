"""Attacks on the bundle's way, over real HTTP, against the library's own client and against the agent's.

The server is hostile: it has the leader's real files, may serve any of them under any name, for ever or drop by drop,
and has stolen the keys that a test says. Nothing here is simulated but its bad will.
"""

import datetime as dt
import gc
import gzip
import shutil
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater

from aggregator.leader.ceremony import Change
from aggregator.leader.distribution import Distribution
from aggregator.leader.officers import sign
from aggregator.leader.repository import RoleKeys, signer
from client_agent.distribution import BundleSource
from models.wire.bundle import parse_bundle
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from tests import bundles
from tests.bundles import bundle, change

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
OFFICER, SECOND, STRANGER = SigningKey(b"o" * 32), SigningKey(b"p" * 32), SigningKey(b"s" * 32)
ENDLESS_BYTES = 24 * 2**20
TLS = ssl.create_default_context()
"""Made once: it takes longer than a fetch."""
pytestmark = pytest.mark.timeout(60)
# The library leaves the connection of a download that it has given up to the garbage collector, which complains.
LEFT_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Hostile(ThreadingHTTPServer):
    """Serves a folder as a leader does, but for the names in ``lies``: those are answered as it likes."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.lies, self.sent = folder, {}, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that hangs up is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        for name, lie in self.server.lies.items():
            if self.path.endswith(name):
                return lie(self)
        path = self.server.folder / self.path.removeprefix("/tuf/")
        return self.answer(path.read_bytes()) if path.is_file() else self.answer(b"", 404)

    def answer(self, body, status=200, headers=()):
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self):
        """Bytes without end, and without saying how many."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while self.server.sent < ENDLESS_BYTES:
                self.server.sent += self.wfile.write(b" " * 65_536)


@contextmanager
def serving(hostile):
    """Serve until the block ends."""
    thread = threading.Thread(target=lambda: hostile.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield hostile
    finally:
        hostile.shutdown()
        thread.join()
        hostile.server_close()


@pytest.fixture
def server(tmp_path):
    with serving(Hostile(tmp_path / "leader")) as hostile:
        yield hostile


class Library:
    """TUF's own client, with its own way to download."""

    def __init__(self, folder, url, root):
        self._folder, self._url, self._root = folder, url, root
        (folder / "targets").mkdir(parents=True)

    def fetch(self):
        updater = Updater(
            str(self._folder),
            f"{self._url}/tuf/metadata/",
            str(self._folder / "targets"),
            f"{self._url}/tuf/targets/",
            bootstrap=self._root,
        )
        entry = updater.get_targetinfo("bundle.json")
        if entry is None:
            return None
        path = updater.find_cached_target(entry) or updater.download_target(entry)
        return parse_bundle(Path(path).read_bytes())


class Agent:
    """The agent's."""

    def __init__(self, folder, url, root, **options):
        self._arguments = (folder, url, root, "shop.example")
        self._options = options

    def fetch(self):
        limits = httpx.Limits(max_connections=1)
        with httpx.Client(limits=limits, trust_env=False, verify=TLS) as client:
            return BundleSource(*self._arguments, client, **self._options).fetch(NOW)


@pytest.fixture(params=[Library, Agent], ids=["library", "agent"])
def client(request, server, tmp_path):
    """Makes clients that trust the first root."""

    def make(name="one"):
        root = (tmp_path / "leader" / "metadata" / "1.root.json").read_bytes()
        return request.param(tmp_path / f"client-{name}", server.url, root)

    return make


def refused(one) -> None:
    with pytest.raises((RepositoryError, DownloadError, ProblemError)) as caught:
        one.fetch()
    if isinstance(caught.value, ProblemError):
        assert caught.value.code == "bundle-invalid", caught.value


@pytest.fixture
def house(tmp_path):
    """A repository with one officer and one bundle."""
    made = bundles.repository(tmp_path / "leader", [OFFICER], NOW)
    made.publish(bundle(1), NOW)
    return made


def newest(made: Distribution, role: str):
    return max(made.metadata_dir.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


def rewrite(path, key):
    """What somebody with another key can make of a file."""
    metadata = Metadata.from_file(str(path))
    metadata.sign(signer(key))
    metadata.to_file(str(path))


def test_an_honest_repository_is_followed(house, client):
    """Both clients get the bundle, the next one, and what a new publishing key signs."""
    one = client()
    assert one.fetch() == bundle(1)
    house.publish(bundle(2), NOW)
    assert one.fetch() == bundle(2)
    change(house, [OFFICER], NOW, publishing=house.keys.create())
    assert one.fetch() == bundle(2)
    house.publish(bundle(3), NOW)
    assert one.fetch() == bundle(3)


def test_arbitrary_software(house, client, server):
    """Bytes of the right length under the right name are not the bundle."""
    (target,) = house.targets_dir.iterdir()
    server.lies["bundle.json"] = lambda handler: handler.answer(target.read_bytes().replace(b"shop", b"ship"))
    refused(client())


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "publishing", "targets"])
def test_a_wrong_signature(house, client, role):
    """A role that a stranger signed is refused, each of them."""
    path = house.metadata_dir / "timestamp.json" if role == "timestamp" else newest(house, role)
    rewrite(path, STRANGER)
    refused(client())


def test_the_leader_cannot_lend_itself_the_right_to_publish(house, client):
    """With both of its keys the leader signs other targets: only officers' signatures count there."""
    state = house.files.state()
    online = house.keys.find(state.root.signed.roles["timestamp"].keyids)
    state.targets.signed.version += 1
    state.targets.signatures.clear()
    state.targets.sign(online)
    data = house.files.write(f"{state.targets.signed.version}.targets.json", state.targets)
    state.snapshot.signed.meta["targets.json"].version += 1
    state.snapshot.signed.meta["targets.json"].length = len(data)
    state.snapshot.signed.meta["targets.json"].hashes = None
    bundles.release(house.files, state, bundles.Signers(None, [online]), NOW)
    refused(client())


def test_a_threshold_of_two_is_not_met_by_one_officer_twice(tmp_path, client):
    """A root that needs two officers is not replaced by one, however often that one signs."""
    both = [OFFICER, SECOND]
    made = bundles.repository(tmp_path / "leader", both, NOW, threshold=2)
    made.publish(bundle(1), NOW)
    one = client()
    assert one.fetch() == bundle(1)
    asked = made.request(Change(threshold=1), NOW)
    sign(asked, OFFICER, NOW)
    sign(asked, OFFICER, NOW)
    made.files.write("2.root.json", asked.root)
    refused(one)
    sign(asked, SECOND, NOW)
    made.files.write("2.root.json", asked.root)
    assert one.fetch() == bundle(1)


@pytest.mark.parametrize("whole", [True, False], ids=["everything", "snapshot"])
def test_rollback(house, client, server, tmp_path, whole):
    """Last week's files, all or but for the timestamp, are refused by who saw newer ones."""
    shutil.copytree(tmp_path / "leader", tmp_path / "old")
    old = newest(house, "snapshot").read_bytes()
    house.publish(bundle(2), NOW)
    one = client()
    assert one.fetch() == bundle(2)
    house.publish(bundle(3), NOW)
    if whole:
        server.folder = tmp_path / "old"
    else:
        newest(house, "snapshot").write_bytes(old)
    refused(one)


def test_freeze(tmp_path, client):
    """Files that hold for a week are refused after it, however well they are signed; the leader refreshes them."""
    made = bundles.repository(tmp_path / "leader", [OFFICER], NOW - dt.timedelta(days=8))
    made.publish(bundle(1), NOW - dt.timedelta(days=8))
    one = client()
    refused(one)
    assert made.refresh_if_due(NOW)
    assert one.fetch() == bundle(1)


def test_mix_and_match(house, client, server):
    """Each role's file of the release before, under the new one's name, is refused."""
    old = {role: newest(house, role).read_bytes() for role in ("snapshot", "publishing")}
    house.publish(bundle(2), NOW)
    for role, data in old.items():
        name = newest(house, role).name
        server.lies = {name: lambda handler, data=data: handler.answer(data)}
        refused(client(role))
    server.lies = {}
    assert client("good").fetch() == bundle(2)


@LEFT_OPEN
@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "snapshot.json", "publishing.json", "bundle.json"])
@pytest.mark.usefixtures("house")
def test_endless_data(client, server, name):
    """Whatever never ends is given up at its greatest length."""
    server.lies[name] = _Handler.endless
    refused(client())
    gc.collect()
    assert server.sent < ENDLESS_BYTES / 2


def test_fast_forward_and_the_way_back(house, client):
    """Whoever had the online key has counted far ahead: a new online key, and agents start from its numbers."""
    one = client()
    state = house.files.state()
    online = house.keys.find(state.root.signed.roles["timestamp"].keyids)
    honest = {path.name: path.read_bytes() for path in house.metadata_dir.iterdir()}
    state.snapshot.signed.version = state.timestamp.signed.version = 2**40
    bundles.release(house.files, state, bundles.Signers(None, [online]), NOW)
    assert one.fetch() == bundle(1)
    for path in house.metadata_dir.iterdir():
        path.write_bytes(honest[path.name]) if path.name in honest else path.unlink()
    refused(one)
    change(house, [OFFICER], NOW, online=house.keys.create())
    assert one.fetch() == bundle(1)
    house.publish(bundle(2), NOW)
    assert one.fetch() == bundle(2)


def test_a_revoked_publishing_key_signs_in_vain(house, client, tmp_path):
    """Its bundle is dropped by everybody; what its thief signs with the online key's help is refused."""
    one = client()
    assert one.fetch() == bundle(1)
    shutil.copytree(tmp_path / "leader-keys", tmp_path / "thief")
    stolen = RoleKeys(tmp_path / "thief")
    change(house, [OFFICER], NOW, revoke=True)
    assert one.fetch() is None
    with pytest.raises(ProblemError, match="took the right to publish back"):
        house.publish(bundle(2), NOW)
    change(house, [OFFICER], NOW, publishing=house.keys.create())
    assert one.fetch() is None
    house.publish(bundle(2), NOW)
    assert one.fetch() == bundle(2)
    state = house.files.state()
    by = next(
        key for path in stolen.folder.iterdir() if (key := stolen.find([path.stem])) and path.stem not in _named(state)
    )
    online = house.keys.find(state.root.signed.roles["timestamp"].keyids)
    bundles.release(house.files, state, bundles.Signers(by, [online]), NOW)
    refused(one)


def _named(state):
    return {*state.root.signed.roles["timestamp"].keyids, *state.lent.keyids}


def test_a_hidden_root_gains_no_more_than_a_freeze(house, client, server, tmp_path):
    """Who hides a new root, and serves what the stolen key signed before, is believed until that expires."""
    shutil.copytree(tmp_path / "leader", tmp_path / "old")
    one = client()
    assert one.fetch() == bundle(1)
    change(house, [OFFICER], NOW, online=house.keys.create(), publishing=house.keys.create())
    server.folder = tmp_path / "old"
    assert one.fetch() == bundle(1)
    server.folder = tmp_path / "leader"
    assert one.fetch() == bundle(1)
    server.folder = tmp_path / "old"
    refused(one)


def test_a_repository_of_the_older_form_is_upgraded_under_its_agents(tmp_path, client):
    """Who pinned the root that named the leader's key for everything follows to the officers' keys and back-ups."""
    leader = SigningKey(b"l" * 32)
    made = bundles.older_form(tmp_path / "leader", OFFICER, leader, NOW)
    made.publish(bundle(1), NOW)
    one = client()
    assert one.fetch() == bundle(1)
    keys = made.keys
    change(made, [OFFICER], NOW, officers=[OFFICER.verify_key], online=keys.create(), publishing=keys.create())
    assert one.fetch() == bundle(1)
    assert client("new").fetch() == bundle(1)
    assert made.standing()[0].version == 2
    assert not made.files.state().is_older_form
    made.publish(bundle(2), NOW)
    assert one.fetch() == bundle(2)
    rewrite(newest(made, "publishing"), leader)
    refused(client("other"))


def test_at_every_file_of_a_change_of_keys_an_agent_can_follow(tmp_path, server, monkeypatch):
    """An agent that asks between any two writes of an upgrade gets its bundle, with the old root and anew."""
    made = bundles.older_form(tmp_path / "leader", OFFICER, SigningKey(b"l" * 32), NOW)
    made.publish(bundle(1), NOW)
    root = (made.metadata_dir / "1.root.json").read_bytes()
    old, seen = Agent(tmp_path / "old", server.url, root), []
    write = made.files.write

    def look(name, metadata):
        data = write(name, metadata)
        seen.append(name)
        fresh = Agent(tmp_path / f"fresh{len(seen)}", server.url, root)
        assert [old.fetch(), fresh.fetch()] == [bundle(1)] * 2, name
        return data

    monkeypatch.setattr(made.files, "write", look)
    keys = made.keys
    change(made, [OFFICER], NOW, officers=[OFFICER.verify_key], online=keys.create(), publishing=keys.create())
    assert len(seen) == 5
    change(made, [OFFICER], NOW, online=keys.create(), publishing=keys.create())
    assert len(seen) == 10


def drip_headers(handler):
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while True:
            handler.wfile.write(b"a")
            time.sleep(0.02)


def drip_body(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    with suppress(OSError):
        for _ in range(10_000):
            handler.wfile.write(b" ")
            time.sleep(0.02)


@pytest.mark.parametrize("drip", [drip_headers, drip_body], ids=["headers", "body"])
@pytest.mark.parametrize("name", ["timestamp.json", "bundle.json"])
def test_slow_retrieval(house, server, tmp_path, drip, name):
    """Drop by drop, in headers or body: the agent hangs up, says so, and keeps what it had."""
    root = (house.metadata_dir / "1.root.json").read_bytes()
    assert Agent(tmp_path / "agent", server.url, root).fetch() == bundle(1)
    house.publish(bundle(2), NOW)
    server.lies[name] = drip
    with pytest.raises(ProblemError) as caught:
        Agent(tmp_path / "agent", server.url, root, patience_seconds=0.3).fetch()
    assert caught.value.code == "leader-unavailable"
    with httpx.Client() as unused:
        source = BundleSource(tmp_path / "agent", server.url, root, "shop.example", unused)
    assert source.stored() == bundle(1)


def test_what_unfolds_and_what_leads_elsewhere_is_not_followed(house, server, tmp_path):
    """A coding that nobody asked for, and a redirection, are refused before anything of them is read."""
    root = (house.metadata_dir / "1.root.json").read_bytes()
    bomb = gzip.compress(b" " * 2**24)
    server.lies["timestamp.json"] = lambda h: h.answer(bomb, headers=[("Content-Encoding", "gzip")])
    with pytest.raises(ProblemError, match="a coding that was not asked for"):
        Agent(tmp_path / "one", server.url, root).fetch()
    elsewhere = [("Location", f"{server.url}/tuf/metadata/1.root.json")]
    server.lies["timestamp.json"] = lambda h: h.answer(b"", 302, elsewhere)
    with pytest.raises(ProblemError, match="302"):
        Agent(tmp_path / "two", server.url, root).fetch()
