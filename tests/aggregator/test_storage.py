"""The stores: schema, durability settings, corrupt files, changed contracts."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from aggregator.errors import SettingsInvalid, StoreCorrupt
from aggregator.storage import helper_tables, leader_tables
from aggregator.storage.database import Database

from .world import World, in_world, vectors


def test_the_page_names_every_table():
    """Whoever keeps a store can read what is in it: each service's tables, none left out."""
    page = (Path(__file__).parents[2] / "docs" / "storage.md").read_text()
    leader, helper = page.partition("The leader's store:")[2].partition("\n\n")[0].split("helper's:")
    for words, metadata in ((leader, leader_tables.METADATA), (helper, helper_tables.METADATA)):
        assert {name for name in metadata.tables if f"`{name}`" not in words} == set()


@pytest.mark.parametrize(
    ("schema", "before", "rows", "after"),
    [
        (
            "helper",
            "helper_0001",
            [
                "INSERT INTO proposals VALUES (x'01', 'one', x'7b7d', 'approved', 1)",
                (
                    "INSERT INTO rounds VALUES (1, x'01', 1, 0, 'marked', x'02', 'jws', 1, 2, {secret}, x'03',"
                    " {secret}, 1, 0, NULL, NULL)"
                ),
                (
                    "INSERT INTO rounds VALUES (2, x'01', 2, 0, 'answered', x'02', 'jws', 1, 2, NULL, x'03', NULL,"
                    " 1, 0, 5, x'04')"
                ),
            ],
            ["expired", "answered"],
        ),
        (
            "leader",
            "leader_0002",
            [
                "INSERT INTO studies VALUES (x'01', 'one', x'7b7d', 'running', '', 1, 0, NULL, NULL)",
                (
                    "INSERT INTO rounds VALUES (1, x'01', 1, 'charged', x'02', x'0a', 'jws', 2, 5, {secret}, NULL,"
                    " NULL, NULL, NULL, '')"
                ),
                (
                    "INSERT INTO rounds VALUES (2, x'01', 2, 'open', x'02', x'0b', 'jws', 2, NULL, NULL, NULL, NULL,"
                    " NULL, NULL, '')"
                ),
                "INSERT INTO reports VALUES (1, x'0c', x'0d', x'0e', x'0f', x'10')",
                "INSERT INTO reports VALUES (2, x'0c', x'0d', x'0e', x'0f', x'10')",
            ],
            ["abandoned", "open"],
        ),
    ],
    ids=["helper", "leader"],
)
def test_an_update_ends_rounds_whose_secrets_stood_in_the_store(tmp_path, schema, before, rows, after):
    """A store of the first version has them as they are: the rounds are over, and the file no longer has the bytes."""
    secret, path = b"a secret of the first version...", tmp_path / "x.sqlite3"

    async def check():
        database = Database(f"sqlite+aiosqlite:///{path}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("aggregator.storage.migration.NEWEST", before)
            await database.open(schema)

        async def fill(change):
            for row in rows:
                await change.connection.execute(text(row.format(secret=f"x'{secret.hex()}'")))

        await database.change(fill)
        await database.scrub()
        assert secret in path.read_bytes()
        await database.open(schema)
        async with database.reading() as connection:
            states = (await connection.execute(text("SELECT state FROM rounds ORDER BY round_id"))).scalars().all()
            if schema == "leader":
                assert (await connection.execute(text("SELECT round_id FROM reports"))).scalars().all() == [2]
        await database.close()
        assert states == after
        assert not any(secret in file.read_bytes() for file in tmp_path.glob("x.sqlite3*"))

    asyncio.run(check())


def test_every_commit_is_on_disk_and_deleted_bytes_are_overwritten(tmp_path):
    """The pragmas that the durable order rests on are in force on every connection."""

    async def check():
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}")
        await database.open("helper")
        async with database.reading() as connection:
            found = {
                name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "synchronous", "secure_delete")
            }
        await database.close()
        assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}

    asyncio.run(check())


def test_a_change_that_fails_leaves_nothing_behind(tmp_path):
    """Neither on disk nor in memory."""

    async def check():
        database, remembered = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}"), []
        await database.open("leader")

        async def act(change):
            await change.connection.execute(leader_tables.facts.insert().values(name="a", value=b"1"))
            change.then(lambda: remembered.append(1))
            raise ValueError("in the middle")

        with pytest.raises(ValueError, match="in the middle"):
            await database.change(act)
        async with database.reading() as connection:
            assert (await connection.execute(leader_tables.facts.select())).all() == []
        await database.close()
        assert remembered == []

    asyncio.run(check())


def test_a_change_is_finished_although_its_caller_went_away(tmp_path):
    """A cancelled request leaves memory and disk agreeing."""

    async def check():
        database, remembered = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}"), []
        await database.open("leader")
        begun = asyncio.Event()

        async def act(change):
            begun.set()
            await asyncio.sleep(0.05)
            await change.connection.execute(leader_tables.facts.insert().values(name="a", value=b"1"))
            change.then(lambda: remembered.append(1))

        caller = asyncio.create_task(database.change(act))
        await begun.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await database.close()
        assert remembered == [1]

    asyncio.run(check())


@in_world()
async def test_a_corrupt_store_is_refused_in_one_sentence(world: World):
    """A service does not start on top of a damaged file, and does not touch it."""
    path = world.folder / "helper" / "store.sqlite3"
    path.write_bytes(b"this is no database at all" * 200)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="the store"):
        async with world.helper_up():
            pass
    assert path.read_bytes() == before


@in_world()
async def test_an_edited_ledger_is_refused(world: World):
    """A row that was changed on disk, to win budget back, keeps the service from starting."""
    async with world.up():
        study, devices = world.study(), await world.devices(5)
        await world.run(study)
        _, opening = await world.work()
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        await world.until(study, "finished")
        database = world.leader_app.state.desk.database
        await database.change(lambda change: change.connection.execute(text("UPDATE ledger_rows SET body = x'00'")))
    with pytest.raises(StoreCorrupt, match="ledger"):
        async with world.leader_up():
            pass


@in_world()
async def test_another_contract_does_not_reset_the_budget(world: World):
    """A larger one that two officers did not sign is refused, in one line that says what to do."""
    async with world.helper_up():
        pass
    world.helper_options["budget_epsilon"] = 30.0
    with pytest.raises(SettingsInvalid, match="30 above 8: a raise needs two officers"):
        async with world.helper_up():
            pass


def test_an_unknown_database_is_a_settings_error():
    """The operator is told which setting is wrong."""
    with pytest.raises(SettingsInvalid, match="database_url"):
        Database("nonsense://x")
