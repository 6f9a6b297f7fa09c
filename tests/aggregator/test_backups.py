"""Back-up and restore by command and by PostgreSQL's programs: a service that comes back gives nothing twice."""

import asyncio
import json
import os
import sqlite3
import stat
import subprocess

import pytest

from aggregator.commands import storing
from aggregator.errors import SettingsInvalid, StoreCorrupt
from aggregator.storage.backup import back_up, put_back
from privacy.accounting import can_pay

from .world import World, code, sealed, vectors


class Keeper:
    """Back-ups of one service's store as an operator takes them, in either database."""

    def __init__(self, world: World, service: str, server) -> None:
        self.world, self.service, self.server = world, service, server
        self.options = world.leader_options if service == "leader" else world.helper_options
        if server is not None:
            self.options["database_url"] = server.fresh(service)

    @property
    def _settings(self):
        return self.world.leader_settings() if self.service == "leader" else self.world.helper_settings()

    def take(self, name: str):
        file = self.world.folder / name
        if self.server is None:
            back_up(self._settings.url(), self.service, file)
        else:
            self._program("pg_dump", "--format=custom", f"--file={file}", self._database())
        return file

    def bring_back(self, file) -> None:
        """On PostgreSQL without telling the service: what it notices by itself is the test."""
        if self.server is None:
            put_back(self._settings.url(), self._settings.directory, self.service, file)
        else:
            self._program(
                "pg_restore", "--clean", "--if-exists", "--exit-on-error", f"--dbname={self._database()}", file
            )

    def _database(self) -> str:
        return self.server.dsn(self.options["database_url"].partition("@/")[2].partition("?")[0])

    def _program(self, name: str, *arguments) -> None:
        subprocess.run([self.server.program(name), *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request, tmp_path):
    """A world with a keeper of each service's store."""
    world = World(tmp_path)
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    world.keepers = {service: Keeper(world, service, server) for service in ("leader", "helper")}
    return world


async def _report_all(world: World, study, devices, number: int = 1) -> None:
    _, opening = await world.work(number)
    pairs = zip(devices, vectors(len(devices)), strict=True)
    assert set(await world.send(*[(d, world.report(d, study, opening, v)) for d, v in pairs])) == {"accepted"}


def test_a_leader_that_was_restored_from_yesterday_replays_no_budget(world):
    """Its mirror says that charges are lost: the budget is spent, what was open is abandoned, nothing is released."""

    async def story():
        study = world.study()
        async with world.up():
            devices = await world.devices(5)
            await world.run(study)
            _, opening = await world.work()
            pairs = list(zip(devices, vectors(5), strict=True))
            items = [(d, world.report(d, study, opening, v)) for d, v in pairs]
            await world.send(*items[:4])
            yesterday = await asyncio.to_thread(world.keepers["leader"].take, "yesterday")
            await world.send(items[4])
            released = await world.until(study, "finished")
            assert released["rounds"][0]["opened"] == 5
        await asyncio.to_thread(world.keepers["leader"].bring_back, yesterday)
        async with world.up():
            desk = world.leader_app.state.desk
            assert desk.budget.lost
            assert not can_pay(desk.budget.state, desk.budget.price(study), desk.budget._times()[0])
            account = (await world.leader.get("/v1/studies/moves")).json()
            assert account["state"] != "finished"
            assert [row["state"] for row in account["rounds"]] == ["abandoned"]
            assert await world.send(items[4]) != ["accepted"]
            async with desk.database.reading() as connection:
                (row,) = await desk.store.rounds(connection, study.study_hash())
                assert (row.wrapping, row.wrapped_noise, row.total) == (None, None, None)
                assert await desk.store.report_count(connection, row.round_id) == 0
            assert world.wrapping("leader") == []
        async with world.leader_up():
            assert not world.leader_app.state.desk.budget.lost, "the loss is in the ledger now"
            desk = world.leader_app.state.desk
            assert not can_pay(desk.budget.state, desk.budget.price(study), desk.budget._times()[0])

    asyncio.run(story())


def test_a_helper_that_was_restored_answers_nothing_from_before(world):
    """What was under way expires, its keys go, and approvals have to be signed again."""

    async def story():
        study, wall = world.study(), world.turnable()
        async with world.helper_up():
            study = world.study()
            await world.as_leader("/v1/proposals", study.canonical())
            yesterday = await asyncio.to_thread(world.keepers["helper"].take, "yesterday")
            wall.seconds += 10
            seals = await sealed(world, study)
        await asyncio.to_thread(world.keepers["helper"].bring_back, yesterday)
        async with world.helper_up():
            assert code(await world.share(study, seals)) == "unknown-round"
            assert code(await world.open_round(study, model=os.urandom(4))) == "not-approved"
            assert world.wrapping("helper") == []

    asyncio.run(story())


def test_a_back_up_of_a_running_service_is_whole_and_holds_no_report_and_no_secret(tmp_path):
    """Mode 0600, one file; rounds that are under way are over in it; the running service goes on undisturbed."""
    world = World(tmp_path)
    keeper = Keeper(world, "leader", None)

    async def story():
        study = world.study()
        async with world.up():
            devices = await world.devices(5)
            await world.run(study)
            _, opening = await world.work()
            items = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)]
            await world.send(*items[:4])
            file = await asyncio.to_thread(keeper.take, "backup")
            await world.send(items[4])
            await world.until(study, "finished")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = file.read_bytes()
        assert not any(report.seal in content or report.masked in content for _, report in items)
        with sqlite3.connect(file) as copy:
            assert copy.execute("SELECT state, wrapping, wrapped_noise FROM rounds").fetchall() == [
                ("abandoned", None, None)
            ]
            assert copy.execute("SELECT count(*) FROM devices").fetchone() == (5,)
        copy.close()
        with pytest.raises(SettingsInvalid, match="never overwritten"):
            keeper.take("backup")
        assert file.read_bytes() == content

    asyncio.run(story())


def test_only_a_good_back_up_of_this_service_is_put_back_and_only_at_rest(tmp_path):
    """Anything else is refused in a line and the store stays as it was; what was replaced is kept."""
    world = World(tmp_path)
    keeper = Keeper(world, "helper", None)
    store = tmp_path / "helper" / "store.sqlite3"

    async def story():
        async with world.helper_up():
            file = await asyncio.to_thread(keeper.take, "backup")
            with pytest.raises(SettingsInvalid, match="running"):
                keeper.bring_back(file)
        before = store.read_bytes()
        (tmp_path / "nonsense").write_bytes(b"no store at all" * 100)
        with pytest.raises(StoreCorrupt, match="no back-up"):
            keeper.bring_back(tmp_path / "nonsense")
        settings = world.helper_settings()
        with pytest.raises(SettingsInvalid, match="a leader's store"):
            put_back(settings.url(), settings.directory, "leader", file)
        assert store.read_bytes() == before
        keeper.bring_back(file)
        assert store.with_name("store.sqlite3.before").read_bytes() == before
        assert (tmp_path / "helper" / "restored").exists()
        async with world.helper_up() as app:
            assert not app.state.office.budget.lost, "no charge was lost"
        assert not (tmp_path / "helper" / "restored").exists()

    asyncio.run(story())


def test_the_commands_find_out_whose_folder_it_is(tmp_path, capsys, postgres):
    """Back-up and restore by the settings of the folder; a PostgreSQL store is left to PostgreSQL's programs."""
    world = World(tmp_path)
    folders = {name: tmp_path / name for name in ("leader", "helper")}
    key = world.leader_key.verify_key.raw.hex()
    (folders["helper"] / "settings.json").write_text(json.dumps({"leader_key": key}))
    (folders["leader"] / "settings.json").write_text(json.dumps({"database_url": postgres.fresh("leader")}))

    async def start_once():
        async with world.helper_up():
            pass

    asyncio.run(start_once())
    storing.backup(folders["helper"], tmp_path / "file")
    storing.restore(folders["helper"], tmp_path / "file")
    assert "the helper's store" in capsys.readouterr().out
    assert (folders["helper"] / "store.sqlite3.before").exists()
    with pytest.raises(SettingsInvalid, match="pg_dump"):
        storing.backup(folders["leader"], tmp_path / "other")
    storing.restore(folders["leader"], None)
    assert (folders["leader"] / "restored").exists()
    asyncio.run(start_once())
    assert not (folders["helper"] / "restored").exists()
