"""Devices and consent in the leader's store: looked up, never believed beyond what the rows say, converted once."""

import asyncio
import json
import sqlite3

import pytest
from sqlalchemy import text

from aggregator.commands.checking import check
from aggregator.errors import StoreCorrupt
from aggregator.leader.auditing import audit
from aggregator.settings import SETTINGS_FILE
from aggregator.storage.database import Database
from privacy.crypto import SigningKey

from .world import SITE, World, in_world, vectors


async def _sql(world: World, statement: str, **values) -> list:
    database = world.leader_app.state.desk.database

    async def act(change):
        result = await change.connection.execute(text(statement), values)
        return result.all() if result.returns_rows else []

    return await database.change(act)


async def _audited(world: World):
    desk = world.leader_app.state.desk
    async with desk.database.reading() as connection:
        return await audit(connection, desk.store, desk.register)


async def _older(world: World, *damage: str) -> None:
    """Replace the store of a leader that is down by one of the schema before: rows, and nothing that follows."""
    path, kept = world.folder / "leader" / "store.sqlite3", {}
    columns = {"devices": "device_id, device_key, enrolled_at_ms", "consent_rows": "device_id, row_index, person, body"}
    with sqlite3.connect(path) as connection:
        for table, names in columns.items():
            kept[table] = connection.execute(f"SELECT {names} FROM {table}").fetchall()
    for file in path.parent.glob("store.sqlite3*"):
        file.unlink()
    database = Database(f"sqlite+aiosqlite:///{path}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aggregator.storage.migration.NEWEST", "leader_0003")
        await database.open("leader")
    await database.close()
    with sqlite3.connect(path) as connection:
        for table, rows in kept.items():
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} ({columns[table]}) VALUES ({places})", rows)
        for statement in damage:
            connection.execute(statement)


@in_world()
async def test_a_stored_standing_that_was_edited_grants_nothing(world):
    """A withdrawal that somebody with the store takes away is replayed from the rows: no report is let in."""
    async with world.up():
        kept, *others = await world.devices(6)
        study = world.study()
        await world.run(study)
        _, opening = await world.work()
        before = (await _sql(world, "SELECT standing, seal FROM devices WHERE device_id = :d", d=kept.name))[0]
        epoch = kept.consent.epoch
        await world.receipts([(kept, world.withdrawal(kept, ("measurement",)))])
        await _sql(world, "UPDATE devices SET standing = :s WHERE device_id = :d", d=kept.name, s=before.standing)
        report = world.report(kept, study, opening, vectors(1)[0])
        assert await world.send((kept, report), epoch=epoch) == ["no-consent"]
        assert (await world.standing(kept)).granted == ()
        assert len((await _audited(world)).faults) == 1
        assert (await world.receipts([(kept, world.grant(kept, ("measurement",)))]))[0]["countersignature"]
        assert (await _audited(world)).faults == [], "the next receipt goes on from the rows"
        assert len(others) == await world.consenting("measurement") - 1


@in_world()
async def test_an_older_standing_that_is_put_back_is_found_by_the_next_receipt(world):
    """With its own seal it is believed until then, as a store without its last rows is; the audit finds it."""
    async with world.up():
        (device,) = await world.devices(1)
        old = (await _sql(world, "SELECT standing, seal FROM devices"))[0]
        withdrawal = world.withdrawal(device, ("measurement",))
        await world.receipts([(device, withdrawal)])
        await _sql(world, "UPDATE devices SET standing = :s, seal = :k", s=old.standing, k=old.seal)
        assert len((await _audited(world)).faults) == 1
        again = world.grant(device, ("persona",))
        (taken,) = await world.receipts([(device, again)])
        assert taken["countersignature"]
        assert [item.purpose for item in (await world.standing(device)).granted] == ["persona"]
        assert (await _audited(world)).faults == []


@pytest.mark.parametrize(
    "damage", ["UPDATE consent_rows SET body = x'00'", "DELETE FROM consent_rows"], ids=["edited", "dropped"]
)
def test_a_device_whose_rows_do_not_verify_consents_to_nothing(tmp_path, damage):
    """Its receipts are refused with a code, the others' are taken, and the audit names it."""

    @in_world()
    async def story(world):
        async with world.up():
            broken, whole = await world.devices(2)
            await _sql(world, f"{damage} WHERE device_id = :d", d=broken.name)
            answers = await world.receipts([(item, world.grant(item, ("persona",))) for item in (broken, whole)])
            assert "ledger_faulty" in answers[0]["problem"]["detail"]
            assert answers[1]["countersignature"]
            found = await _audited(world)
            assert found.faults
            assert all(broken.name.hex()[:16] in fault for fault in found.faults)

    story(tmp_path)


@in_world()
async def test_a_store_of_the_schema_before_is_converted_at_its_first_start(world):
    """Every chain is replayed once; what stood before stands after, and consenting devices are counted."""
    async with world.up():
        asked, withdrawn, silent = await world.devices(3, ())
        await world.receipts([(item, world.grant(item, ("measurement", "persona"))) for item in (asked, withdrawn)])
        await world.receipts([(withdrawn, world.withdrawal(withdrawn, ("measurement",)))])
        states = [await world.standing(item) for item in (asked, withdrawn, silent)]
        ended = await _sql(world, "SELECT device_id, ended_at FROM devices")
    await _older(world)
    async with world.up():
        assert [await world.standing(item) for item in (asked, withdrawn, silent)] == states
        assert [await world.consenting(name) for name in ("measurement", "persona")] == [1, 2]
        found = await _audited(world)
        assert (found.devices, found.rows, found.faults) == (3, 3, [])
        assert await _sql(world, "SELECT device_id, ended_at FROM devices") == ended
        assert (await world.receipts([(silent, world.grant(silent, ("measurement",)))]))[0]["countersignature"]


@in_world()
async def test_a_chain_of_an_older_store_that_does_not_verify_is_refused(world):
    """As it always was: nothing is built on it, and the store stays as it is."""
    async with world.up():
        await world.devices(2)
    await _older(world, "UPDATE consent_rows SET body = x'00' WHERE row_index = 0")
    with pytest.raises(StoreCorrupt, match="consent chain"):
        async with world.up():
            pass


@in_world()
async def test_another_leader_key_does_not_open_the_store(world):
    """The seals would not hold, and the chains are for the other key: said at the start, not at each request."""
    async with world.up():
        await world.devices(1)
    (world.folder / "leader" / "service.key").write_text(SigningKey.generate().seed().hex())
    with pytest.raises(StoreCorrupt, match="kept under leader key"):
        async with world.up():
            pass


@in_world()
async def test_the_count_and_the_look_up_use_their_indexes(world):
    """A million devices cost a request what a thousand do; the daily look at what has ended too."""
    async with world.up():
        for query, index in (
            ("SELECT count(*) FROM grants WHERE purpose = 'p' AND version = 1 AND expires_at > 5", "ix_grants_counted"),
            ("SELECT * FROM devices WHERE device_id IN (x'00', x'01')", "device_id=?"),
            ("SELECT device_id FROM devices WHERE ended_at <= 5", "ix_devices_ended_at"),
            ("DELETE FROM nonces WHERE at_ms < 5", "ix_nonces_at_ms"),
        ):
            plan = " ".join(row.detail for row in await _sql(world, f"EXPLAIN QUERY PLAN {query}"))
            assert index in plan
            assert "SCAN" not in plan


@in_world()
async def test_the_command_audits_a_store_and_fails_where_something_does_not_hold(world):
    """What is counted is held against the rows, too; the command's own line says how much is wrong."""
    async with world.up():
        await world.devices(3)
        (world.folder / "leader" / SETTINGS_FILE).write_text(json.dumps({"site": SITE}))
        await asyncio.to_thread(check, world.folder / "leader")
        await _sql(world, "UPDATE grants SET expires_at = 1 WHERE device_id = (SELECT max(device_id) FROM grants)")
        with pytest.raises(StoreCorrupt, match="1 faults in the consent of 3 devices"):
            await asyncio.to_thread(check, world.folder / "leader")
        (fault,) = (await _audited(world)).faults
        assert "what is counted" in fault
