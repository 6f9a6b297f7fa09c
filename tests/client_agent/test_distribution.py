"""The bundle's way from leader to agent: what TUF refuses, with the real repository and the real client."""

import datetime as dt
import shutil
from pathlib import Path

import httpx
import pytest

from aggregator.leader.distribution import TIMESTAMP_DAYS
from client_agent.distribution import Accepted, BundleSource, pin_root
from models.wire.bundle import PADDING_BYTES
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from tests import bundles
from tests.bundles import bundle

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SITE = "shop.example"
OFFICER, STRANGER = SigningKey(b"o" * 32), SigningKey(b"s" * 32)


def served(folder: Path) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        path = folder / request.url.path.removeprefix("/tuf/")
        return httpx.Response(200, content=path.read_bytes()) if path.is_file() else httpx.Response(404)

    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.fixture
def repository(tmp_path):
    return bundles.repository(tmp_path / "leader", [OFFICER], NOW)


def source(tmp_path: Path, client: httpx.Client | None = None, name: str = "agent") -> BundleSource:
    root = (tmp_path / "leader" / "metadata" / "1.root.json").read_bytes()
    return BundleSource(tmp_path / name, "http://leader", root, SITE, client or served(tmp_path / "leader"))


def newest(repository, role: str) -> Path:
    return max(repository.metadata_dir.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


def refused(fetch: BundleSource, now: dt.datetime = NOW) -> str:
    with pytest.raises(ProblemError) as caught:
        fetch.fetch(now)
    return caught.value.code


def test_an_agent_gets_exactly_the_published_bundle(repository, tmp_path):
    """The bundle arrives unchanged, padded on the way, and the version is known to the leader."""
    assert source(tmp_path).fetch(NOW) is None
    digest = repository.publish(bundle(1), NOW)
    assert source(tmp_path).fetch(NOW) == bundle(1)
    assert (repository.targets_dir / f"{digest}.bundle.json").stat().st_size % PADDING_BYTES == 0
    assert repository.current_version() == 1


def test_a_newer_bundle_replaces_the_older(repository, tmp_path):
    """The same agent's next fetch sees the next version."""
    repository.publish(bundle(1), NOW)
    agent = source(tmp_path)
    agent.fetch(NOW)
    repository.publish(bundle(2), NOW)
    assert agent.fetch(NOW) == bundle(2)


@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json", "publishing.json", "targets.json", "bundle.json"])
def test_one_flipped_byte_anywhere_is_refused(repository, tmp_path, name):
    """A changed byte in any file on the path gives bundle-invalid, and the repaired file is accepted again."""
    repository.publish(bundle(1), NOW)
    path = max((tmp_path / "leader").glob(f"*/*{name}"), key=lambda path: path.name)
    good = path.read_bytes()
    for position in (len(good) // 3, len(good) - 9):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        assert refused(source(tmp_path, name=f"agent{position}")) == "bundle-invalid"
    path.write_bytes(good)
    assert source(tmp_path, name="again").fetch(NOW) == bundle(1)


def test_a_rollback_is_refused_by_an_agent_that_saw_the_newer_one(repository, tmp_path):
    """A mirror that serves last week's signed files is noticed; the newer repository still works."""
    repository.publish(bundle(1), NOW)
    shutil.copytree(tmp_path / "leader", tmp_path / "old")
    repository.publish(bundle(2), NOW)
    source(tmp_path).fetch(NOW)
    assert refused(source(tmp_path, served(tmp_path / "old"))) == "bundle-invalid"
    assert source(tmp_path).fetch(NOW) == bundle(2)


def test_a_frozen_repository_is_refused_after_its_timestamp_expired(repository, tmp_path):
    """Signed but old metadata is good until it expires by the given time; refreshed it is good again."""
    repository.publish(bundle(1), NOW)
    assert source(tmp_path).fetch(NOW + dt.timedelta(days=TIMESTAMP_DAYS, seconds=-1)) == bundle(1)
    late = NOW + dt.timedelta(days=TIMESTAMP_DAYS, seconds=1)
    assert refused(source(tmp_path), late) == "bundle-invalid"
    repository.refresh(late)
    assert source(tmp_path).fetch(late) == bundle(1)


def test_parts_of_two_releases_do_not_mix(repository, tmp_path):
    """A new timestamp with the other release's snapshot, or its target under the new name, is refused."""
    repository.publish(bundle(1), NOW)
    old = {role: newest(repository, role).read_bytes() for role in ("snapshot", "publishing")}
    (old_target,) = repository.targets_dir.iterdir()
    digest = repository.publish(bundle(2), NOW)
    for role, other in old.items():
        path = newest(repository, role)
        good = path.read_bytes()
        path.write_bytes(other)
        assert refused(source(tmp_path, name=path.name)) == "bundle-invalid"
        path.write_bytes(good)
    (repository.targets_dir / f"{digest}.bundle.json").write_bytes(old_target.read_bytes())
    assert refused(source(tmp_path, name="target")) == "bundle-invalid"


def test_another_sites_bundle_is_refused_on_both_ends(repository, tmp_path):
    """The leader does not publish it, and an agent of another site does not use it."""
    with pytest.raises(ProblemError):
        repository.publish(bundle(1, site="other.example"), NOW)
    repository.publish(bundle(1), NOW)
    root = (repository.metadata_dir / "1.root.json").read_bytes()
    other = BundleSource(tmp_path / "other", "http://leader", root, "other.example", served(tmp_path / "leader"))
    assert refused(other) == "bundle-invalid"


def test_versions_only_rise(repository):
    """A bundle with a version that was already used is refused and leaves the repository as it was."""
    repository.publish(bundle(3), NOW)
    with pytest.raises(ProblemError):
        repository.publish(bundle(3), NOW)
    assert repository.current_version() == 3


def test_the_root_is_pinned_to_the_officers_key(repository, tmp_path):
    """Enrolment takes a root that a pinned officer signed, and no other, and no altered one."""
    root = (repository.metadata_dir / "1.root.json").read_bytes()
    assert pin_root(root, [OFFICER.verify_key]) == root
    forged = bundles.repository(tmp_path / "forged", [STRANGER], NOW)
    for bad in ((forged.metadata_dir / "1.root.json").read_bytes(), root.replace(b"2027", b"2028"), b"{}", b"\xff"):
        with pytest.raises(ProblemError, match="does not verify"):
            pin_root(bad, [OFFICER.verify_key])


@pytest.mark.usefixtures("repository")
def test_an_absent_leader_is_told_from_a_forged_bundle(tmp_path):
    """No connection gives leader-unavailable, which may be tried again."""

    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert refused(source(tmp_path, httpx.Client(transport=httpx.MockTransport(down)))) == "leader-unavailable"


def test_many_agents_share_fetches_and_each_verifies(repository, tmp_path):
    """One download serves a fleet; a forged byte in the shared cache is refused by every agent."""
    repository.publish(bundle(1), NOW)
    root = (repository.metadata_dir / "1.root.json").read_bytes()
    shared: dict[str, bytes | None] = {}
    client = served(tmp_path / "leader")
    for number in range(3):
        agent = BundleSource(tmp_path / f"a{number}", "http://leader", root, SITE, client, shared)
        assert agent.fetch(NOW) == bundle(1)
        client.close() if number == 0 else None
    address = next(url for url in shared if url.endswith("bundle.json"))
    shared[address] = shared[address].replace(b"1", b"2")
    assert refused(BundleSource(tmp_path / "b", "http://leader", root, SITE, client, shared)) == "bundle-invalid"


def test_the_last_bundle_serves_while_no_leader_answers(repository, tmp_path):
    """What was verified once is there offline; damaged on the disk it is not used, and fetched again."""
    agent = source(tmp_path)
    assert agent.stored() is None
    repository.publish(bundle(1), NOW)
    agent.fetch(NOW)
    assert agent.stored() == bundle(1)
    (path,) = (tmp_path / "agent").glob("*.bundle.json")
    path.write_bytes(path.read_bytes().replace(b"shop", b"ship"))
    assert agent.stored() is None
    assert agent.fetch(NOW) == bundle(1)


def test_a_fetch_that_breaks_off_leaves_the_last_bundle_in_use(repository, tmp_path):
    """New metadata without the bundle that it names: the older bundle stays, also for a process that starts now."""
    repository.publish(bundle(1), NOW)
    agent = source(tmp_path)
    agent.fetch(NOW)
    digest = repository.publish(bundle(2), NOW)
    target = repository.targets_dir / f"{digest}.bundle.json"
    whole = target.read_bytes()
    target.unlink()
    assert refused(agent) == "leader-unavailable"
    assert source(tmp_path).stored() == bundle(1)
    target.write_bytes(whole)
    assert agent.fetch(NOW) == bundle(2)
    assert [path.name for path in (tmp_path / "agent").glob("*.bundle.json")] == [f"{digest}.bundle.json"]


def test_weeks_offline_the_bundle_is_used_and_known_to_be_old(repository, tmp_path):
    """The date until which it was the newest is kept beside it, and a check that succeeds puts it forward."""
    repository.publish(bundle(1), NOW)
    agent = source(tmp_path)
    agent.fetch(NOW)
    fresh, later = NOW + dt.timedelta(days=TIMESTAMP_DAYS), NOW + dt.timedelta(days=40)
    assert not Accepted.read(tmp_path / "agent").is_old(fresh)
    assert refused(agent, later) == "bundle-invalid"
    assert agent.stored() == bundle(1)
    assert Accepted.read(tmp_path / "agent").is_old(later)
    assert Accepted.read(tmp_path / "agent").checked_at == NOW
    repository.refresh_if_due(later)
    assert agent.fetch(later) == bundle(1)
    assert not Accepted.read(tmp_path / "agent").is_old(later)


def test_a_timestamp_of_a_clock_that_is_ahead_is_refused_and_leaves_nothing_behind(repository, tmp_path):
    """An agent keeps its bundle, and takes the honest ones once the leader's clock is right: it has not moved."""
    repository.publish(bundle(1), NOW)
    agent = source(tmp_path)
    agent.fetch(NOW)
    kept = (tmp_path / "agent" / "timestamp.json").read_bytes()
    honest = {path: path.read_bytes() for path in repository.metadata_dir.iterdir()}
    repository.refresh(NOW + dt.timedelta(days=3))
    assert refused(agent) == "bundle-invalid"
    assert (tmp_path / "agent" / "timestamp.json").read_bytes() == kept
    assert agent.stored() == bundle(1)
    for path, data in honest.items():
        path.write_bytes(data)
    assert agent.fetch(NOW) == bundle(1)
    repository.refresh(NOW + dt.timedelta(days=1))
    assert agent.fetch(NOW) == bundle(1)
