"""The repository of bundles at the leader: what it serves, who signs what when, what is refused, what is logged."""

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from aggregator.leader import officers
from aggregator.leader.bundles import keep_fresh
from aggregator.leader.ceremony import Change, Request
from aggregator.leader.distribution import Distribution
from aggregator.leader.keys_in_force import note_keys
from aggregator.leader.repository import RoleKeys, public_key
from models.wire.log import read_entry
from models.wire.message import from_base64
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from tests import bundles
from tests.bundles import bundle, change, establish, signed

from .world import Clock, Turnable, code, in_world

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
OFFICER, SECOND = SigningKey(b"o" * 32), SigningKey(b"p" * 32)
DAY = dt.timedelta(days=1)


def present(world) -> dt.datetime:
    return dt.datetime.fromtimestamp(world.clock.wall(), tz=dt.UTC)


async def logged(world, kind: str) -> list[bytes]:
    entries = (await world.leader.get("/v1/log/entries?count=1000")).json()["entries"]
    return [body for found, body in map(read_entry, map(from_base64, entries)) if found.name == kind]


@pytest.fixture
def made(tmp_path):
    return bundles.repository(tmp_path / "tuf", [OFFICER], NOW)


@in_world()
async def test_everybody_is_answered_alike(world):
    """Bytes and headers are the same whoever asks; versioned files may be kept for ever, the timestamp may not."""
    async with world.up():
        made = establish(world.leader_app.state.desk.publisher.distribution, [world.officer], present(world))
        digest = made.publish(bundle(1, site="shop"), present(world))
        names = [f"metadata/{path.name}" for path in made.metadata_dir.iterdir()] + [f"targets/{digest}.bundle.json"]
        for name in names:
            one = await world.leader.get(f"/tuf/{name}")
            asker = {"cookie": "id=7", "user-agent": "x", "range": "bytes=0-3", "authorization": "Bearer 1"}
            other = await world.leader.get(f"/tuf/{name}", headers=asker)
            for answer in (one, other):
                del answer.headers["x-request-id"]  # random, of this one answer
            assert (one.status_code, one.content, one.headers) == (200, other.content, other.headers)
            assert one.headers["content-type"] == "application/json"
            assert ("immutable" in one.headers["cache-control"]) == (name != "metadata/timestamp.json")
            assert ("no-cache" in one.headers["cache-control"]) == (name == "metadata/timestamp.json")
            assert not {"set-cookie", "last-modified", "accept-ranges"} & set(one.headers)
            head = await world.leader.head(f"/tuf/{name}")
            assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", one.headers["etag"])
            again = await world.leader.get(f"/tuf/{name}", headers={"if-none-match": f'"x", {one.headers["etag"]}'})
            assert (again.status_code, again.content) == (304, b"")
        assert len((await world.leader.get(f"/tuf/targets/{digest}.bundle.json")).content) % 16_384 == 0
        for name in ("metadata/9.root.json", f"targets/{'0' * 64}.bundle.json"):
            missing = await world.leader.get(f"/tuf/{name}")
            assert code(missing) == "not-found"
            assert "immutable" not in missing.headers.get("cache-control", "")
        for name in ("metadata/..%2f..%2fservice.key", "metadata/.lock", "targets/..%2fmetadata%2f1.root.json"):
            assert (await world.leader.get(f"/tuf/{name}")).status_code in {400, 404, 422}


@in_world(clock=Clock(Turnable()))
async def test_the_leader_signs_daily_and_logs_what_it_finds(world):
    """A bundle that a worker did not live to log, a new day and a change of keys are each taken up by the duty."""
    async with world.up():
        desk = world.leader_app.state.desk
        await keep_fresh(desk)
        assert await logged(world, "bundle") == []
        made = establish(desk.publisher.distribution, [world.officer], present(world))
        digest = made.publish(bundle(1, site="shop"), present(world))
        first = (await world.leader.get("/tuf/metadata/timestamp.json")).json()["signed"]
        for _ in range(2):
            await keep_fresh(desk)
            await note_keys(desk)
        assert await logged(world, "bundle") == [(1).to_bytes(8, "big") + bytes.fromhex(digest)]
        assert (await world.leader.get("/v1/work")).json()["bundle_version"] == 1
        assert (await world.leader.get("/tuf/metadata/timestamp.json")).json()["signed"] == first
        world.clock.wall.seconds += 86_400
        await keep_fresh(desk)
        second = (await world.leader.get("/tuf/metadata/timestamp.json")).json()["signed"]
        assert (second["version"] > first["version"], second["expires"] > first["expires"]) == (True, True)
        change(made, [world.officer], present(world), publishing=made.keys.create())
        await note_keys(desk)
        change(made, [world.officer], present(world), revoke=True)
        await note_keys(desk)
        keys = [json.loads(body) for body in await logged(world, "keys")]
        assert [item["tuf_root"] is None for item in keys] == [True, False, False, False]
        assert len({item["tuf_publishing"] for item in keys}) == 3
        assert keys[-1]["tuf_publishing"] is None
        assert keys[-1]["tuf_online"] == keys[1]["tuf_online"] is not None


def test_several_workers_publish_one_after_another(made):
    """Workers that publish and refresh at once leave every version once, and a repository that verifies."""
    workers = [Distribution(made.files.metadata_dir.parent, "shop.example", made.keys) for _ in range(4)]

    def publish(number: int) -> int:
        workers[number % 4].refresh_if_due(NOW + DAY)
        for version in range(1, 50):
            try:
                workers[number % 4].publish(bundle(version), NOW + DAY)
            except ProblemError:
                continue
            return version
        raise AssertionError(number)

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(publish, range(8)))
    assert sorted(versions) == list(range(1, 9))
    assert made.current_version() == 8
    assert len(list(made.targets_dir.iterdir())) == 8


def test_what_is_due_is_signed_and_nothing_else(made):
    """The timestamp daily, the rest at half its life; one from a clock that was ahead is corrected at once."""
    made.publish(bundle(1), NOW)
    versions = lambda: {item.role: item.version for item in made.standing()}  # noqa: E731 - one word for five looks
    first = versions()
    assert not made.refresh_if_due(NOW + DAY / 2)
    assert made.refresh_if_due(NOW + DAY)
    assert {role for role, version in versions().items() if version != first[role]} == {"timestamp"}
    assert made.refresh_if_due(NOW + 16 * DAY)
    assert {role for role, version in versions().items() if version != first[role]} == {"timestamp", "snapshot"}
    made.refresh(NOW + 400 * DAY)
    ahead = versions()
    assert made.refresh_if_due(NOW + 17 * DAY)
    assert all(versions()[role] > ahead[role] for role in ("publishing", "snapshot", "timestamp"))
    assert next(item for item in made.standing() if item.role == "timestamp").expires == NOW + 24 * DAY


def test_a_restored_leader_counts_on_from_the_clock(made):
    """After a back-up was put back, one refresh is above everything that agents have seen."""
    made.publish(bundle(1), NOW)
    kept = {path: path.read_bytes() for path in made.metadata_dir.iterdir()}
    made.publish(bundle(2), NOW + DAY)
    seen = {item.role: item.version for item in made.standing()}
    for path in made.metadata_dir.iterdir():
        path.write_bytes(kept[path]) if path in kept else path.unlink()
    made.refresh(NOW + 2 * DAY)
    after = {item.role: item.version for item in made.standing()}
    assert all(after[role] > seen[role] for role in ("publishing", "snapshot", "timestamp"))


def test_a_leader_restored_from_before_a_clock_that_was_ahead_counts_above_it(made):
    """The highest version lies beside the keys, not in the back-up: one refresh is above what agents have seen."""
    made.publish(bundle(1), NOW)
    kept = {path: path.read_bytes() for path in made.metadata_dir.iterdir()}
    made.refresh(NOW + 300 * DAY)
    seen = {item.role: item.version for item in made.standing()}
    for path in made.metadata_dir.iterdir():
        path.write_bytes(kept[path]) if path in kept else path.unlink()
    made.refresh(NOW + 2 * DAY)
    after = {item.role: item.version for item in made.standing()}
    assert all(after[role] > seen[role] for role in ("publishing", "snapshot", "timestamp"))
    assert made.keys.head.read() == max(after.values())


def test_a_clock_months_ahead_signs_nothing_by_itself(made):
    """Neither the daily signature nor a bundle; a signature by hand, by somebody who looked at the date, goes on."""
    made.publish(bundle(1), NOW)
    before = made.standing()
    for act in (made.refresh_if_due, lambda now: made.publish(bundle(2), now)):
        with pytest.raises(ProblemError, match="90 days ahead"):
            act(NOW + 90 * DAY)
    assert made.standing() == before
    assert (made.lead_days(NOW + 59 * DAY), made.lead_days(NOW + 90 * DAY)) == (0, 90)
    made.refresh(NOW + 90 * DAY)
    assert made.publish(bundle(2), NOW + 91 * DAY)


@pytest.mark.parametrize(
    ("words", "act"),
    [
        ("a root until", lambda request: setattr(request.root.signed, "expires", NOW + 900 * DAY)),
        ("targets until", lambda request: setattr(request.targets.signed, "expires", NOW + 900 * DAY)),
        ("out of turn", lambda request: setattr(request.root.signed, "version", 7)),
        ("more than bundle", lambda request: setattr(bundles.lent(request), "paths", ["*"])),
        ("more than bundle", lambda request: setattr(bundles.lent(request), "threshold", 2)),
        ("not the officers'", lambda request: bundles.hand_targets_over(request.root.signed)),
        ("an officer's key", lambda request: bundles.take_online(request.root.signed, public_key(OFFICER.verify_key))),
        ("one key for publishing", lambda request: bundles.take_online(request.root.signed, bundles.lent_key(request))),
        ("another form", lambda request: setattr(request.root.signed, "consistent_snapshot", False)),
    ],
)
def test_what_no_officer_signs(tmp_path, words, act):
    """A request that asks for more than keys, numbers and dates is refused, by the officer and at the installation."""
    made = Distribution(tmp_path / "tuf", "shop.example", RoleKeys(tmp_path / "keys"))
    first = Change([OFFICER.verify_key], 1, 1, made.keys.create(), made.keys.create())
    request = made.request(first, NOW)
    act(request)
    request = Request.parse(request.to_bytes())
    with pytest.raises(ProblemError, match=words):
        officers.sign(request, OFFICER, NOW)
    with pytest.raises(ProblemError, match=words):
        made.install([request], NOW)
    assert not made.files.exists


def test_an_old_request_is_not_taken_again(made):
    """What officers signed once does not undo what they signed later; the newest once more does no harm."""
    asked = made.request(Change(publishing=made.keys.create()), NOW)
    first = signed(asked, [OFFICER], NOW)
    made.install(first, NOW)
    made.install(signed(asked, [OFFICER], NOW), NOW)
    change(made, [OFFICER], NOW, revoke=True)
    with pytest.raises(ProblemError, match="expected targets 4, got 2"):
        made.install(first, NOW)
    renewed = signed(made.request(Change(renew=True), NOW), [OFFICER], NOW)
    made.install(renewed, NOW)
    with pytest.raises(ProblemError, match="another root"):
        made.install(first, NOW)
    with pytest.raises(ProblemError, match="for site"):
        Distribution(made.metadata_dir.parent, "other", made.keys).install(renewed, NOW)


def test_signatures_of_several_officers_come_together(tmp_path):
    """Two of two: neither alone, nor one whom the request does not name; each may sign a copy of their own."""
    made = bundles.repository(tmp_path / "tuf", [OFFICER, SECOND], NOW, threshold=2)
    asked = made.request(Change(officers=[OFFICER.verify_key], threshold=1, online=made.keys.create()), NOW)
    one, two = signed(asked, [OFFICER, SECOND], NOW)
    for too_few in ([one], [two], [one, one]):
        with pytest.raises(ProblemError, match="was signed by 1/2"):
            made.install(too_few, NOW)
        one, two = signed(asked, [OFFICER, SECOND], NOW)
    with pytest.raises(ProblemError, match="names no officer"):
        officers.sign(asked, SigningKey(b"s" * 32), NOW)
    made.install([one, two], NOW)
    assert made.standing()[0].keys == (OFFICER.verify_key.fingerprint,)
    described = officers.describe(asked)
    assert f"officer {SECOND.verify_key.fingerprint} (no more)" in described
    assert made.publish(bundle(1), NOW)


def test_nothing_is_signed_on_top_of_what_somebody_put_there(made):
    """A publishing file that its key has not signed stops publication and refresh; put back, both go on."""
    made.publish(bundle(1), NOW)
    path = max(made.metadata_dir.glob("*.publishing.json"))
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"bundle_version":1', b'"bundle_version":9'))
    for act in (lambda: made.publish(bundle(10), NOW), lambda: made.refresh(NOW)):
        with pytest.raises(ProblemError, match="its root verifies"):
            act()
    path.write_bytes(good)
    made.publish(bundle(2), NOW)


def test_a_lost_publishing_key_stops_publication_alone(made):
    """The timestamp is signed on, the lack is said, and a rotation mends it without the bundle being lost."""
    made.publish(bundle(1), NOW)
    made.keys.remove(made.files.state().lent.keyids)
    with pytest.raises(ProblemError, match="no publishing key"):
        made.publish(bundle(2), NOW)
    assert made.refresh_if_due(NOW + DAY)
    assert made.warnings(NOW) == ["no key for publishing lies here"]
    change(made, [OFFICER], NOW, publishing=made.keys.create())
    assert made.current_version() == 1
    made.publish(bundle(2), NOW)


def test_a_lost_online_key_is_replaced(made):
    """Nothing can be signed without it; a rotation that only officers can make brings everything back."""
    made.publish(bundle(1), NOW)
    made.keys.remove(made.files.state().root.signed.roles["timestamp"].keyids)
    with pytest.raises(ProblemError, match="no key for timestamp"):
        made.refresh(NOW)
    change(made, [OFFICER], NOW, online=made.keys.create())
    made.publish(bundle(2), NOW)
    assert made.current_version() == 2
    assert {path.stat().st_mode & 0o777 for path in made.keys.folder.iterdir()} == {0o600}
    assert public_key(OFFICER.verify_key).keyid not in {path.stem for path in made.keys.folder.iterdir()}


class Stopped(Exception):
    """The process is gone."""


def test_an_installation_that_stopped_anywhere_is_ended_by_the_same_command(tmp_path, monkeypatch):
    """Before each of its writes and before the old keys go: also where fewer signatures are asked for from now on."""
    for stop in range(1, 8):
        folder = tmp_path / str(stop)
        keys = RoleKeys(folder / "keys")
        made = Distribution(folder / "tuf", "shop.example", keys)
        first = Change([OFFICER.verify_key, SECOND.verify_key], 1, 2, keys.create(), keys.create())
        made.install(signed(made.request(first, NOW), [OFFICER, SECOND], NOW), NOW)
        made.publish(bundle(1), NOW)
        wanted = Change(lending_threshold=1, online=keys.create(), publishing=keys.create())
        asked, left = signed(made.request(wanted, NOW), [OFFICER], NOW), [stop]

        def until_then(act, left=left):
            def acting(*arguments):
                left[0] -= 1
                if not left[0]:
                    raise Stopped
                return act(*arguments)

            return acting

        with monkeypatch.context() as patch:
            patch.setattr(made.files, "write", until_then(made.files.write))
            patch.setattr(keys, "remove", until_then(keys.remove))
            try:
                made.install(asked, NOW)
            except Stopped:
                assert len(list(keys.folder.iterdir())) == 4
            else:
                assert stop == 7
        made.install(asked, NOW)
        assert made.current_version() == 1
        assert len(list(keys.folder.iterdir())) == 2, stop
        assert made.warnings(NOW) == []
        made.publish(bundle(2), NOW)
        assert made.standing()[1].threshold == 1


def test_keys_of_a_draft_outlive_another_installation(made):
    """What is drafted and not signed yet keeps its keys; what nothing names any more goes."""
    drafted = made.request(Change(publishing=(named := made.keys.create())), NOW)
    change(made, [OFFICER], NOW, online=made.keys.create())
    assert made.keys.find([named.keyid]) is not None
    assert len(list(made.keys.folder.iterdir())) == 3
    assert drafted.targets is not None
