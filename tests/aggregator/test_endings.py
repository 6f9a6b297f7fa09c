"""What ended for good stays ended: after a restored back-up, and where somebody has the database and nothing else."""

import asyncio
import sqlite3

from aggregator.leader.devices import revoke
from aggregator.storage.backup import back_up, put_back
from aggregator.storage.endings import ENDINGS_FILE, Endings
from privacy.crypto import SigningKey

from .test_device_keys import turn
from .world import code, in_world, vectors


def _sql(world, query, *values):
    """Somebody who has the database, while the leader runs."""
    with sqlite3.connect(world.folder / "leader" / "store.sqlite3", timeout=10) as store:
        found = store.execute(query, values).fetchall()
    store.close()
    return found


@in_world(leader_options={"close_early": False})
async def test_a_standing_that_was_put_back_lets_no_report_in(world):
    """The seal holds and no row was touched; the last row is not its own, and the file beside the key says so too."""
    async with world.up():
        devices, study = await world.devices(6), world.study()
        await world.run(study)
        _, opening = await world.work()
        device, epoch = devices[0], devices[0].consent.epoch
        columns = "standing, seal, ended_at"
        (before,) = _sql(world, f"SELECT {columns} FROM devices WHERE device_id = ?", device.name)
        report = world.report(device, study, opening, vectors(1)[0])
        await world.receipts([(device, world.withdrawal(device, ("measurement",)))])
        _sql(world, f"UPDATE devices SET ({columns}) = (?, ?, ?) WHERE device_id = ?", *before, device.name)
        _sql(world, "DELETE FROM taken_back")
        assert await world.send((device, report), epoch=epoch) == ["no-consent"]
        (world.folder / "leader" / ENDINGS_FILE).unlink()  # each of the two guards holds alone
        world.leader_app.state.desk.register.endings._epochs.clear()
        assert await world.send((device, report), epoch=epoch) == ["no-consent"]


@in_world(leader_options={"close_early": False})
async def test_whoever_has_the_database_revives_no_device_and_no_consent(world):
    """Both stand in a file beside the key: rows cut off, standing and mark put back, all in vain."""
    async with world.up():
        devices, study = await world.devices(6), world.study()
        await world.run(study)
        _, opening = await world.work()
        query = "SELECT standing, seal FROM devices WHERE device_id = ?"
        saved = {device.name: _sql(world, query, device.name)[0] for device in devices}
        (gone, out), epoch = devices[:2], devices[1].consent.epoch
        items = [(device, world.report(device, study, opening, vectors(1)[0])) for device in (gone, out)]
        await revoke(world.leader_app.state.desk, gone.name)
        await world.receipts([(out, world.withdrawal(out, ("measurement",)))])
        for device in (gone, out):
            _sql(world, "DELETE FROM consent_rows WHERE device_id = ? AND row_index > 0", device.name)
            values = (*saved[device.name], device.name)
            _sql(world, "UPDATE devices SET standing = ?, seal = ?, revoked_at_ms = NULL WHERE device_id = ?", *values)
        _sql(world, "DELETE FROM taken_back")
        assert await world.send(*items, epoch=epoch) == ["device-revoked", "no-consent"]


@in_world(leader_options={"close_early": False})
async def test_a_restored_store_gives_back_no_token_no_device_no_key_and_no_consent(world):
    """All is taken away after the back-up, which then comes back: all stays away, and new consent counts."""
    folder = world.folder / "leader"
    url, copy = f"sqlite+aiosqlite:///{folder / 'store.sqlite3'}", world.folder / "copy"
    async with world.helper_up():
        async with world.leader_up():
            out, gone, rotated, stays = await world.devices(4)
            token, once = await world.token("operator"), await world.token("enrol", uses=1)
            await asyncio.to_thread(back_up, url, "leader", copy)
            desk, new = world.leader_app.state.desk, SigningKey.generate()
            await world.receipts([(out, world.withdrawal(out, ("measurement",)))])
            await revoke(desk, gone.name)
            assert (await turn(world, rotated, new))[0].status_code == 200
        await asyncio.to_thread(put_back, url, folder, "leader", copy)
        for _ in range(2):  # and it stays so at the start after
            async with world.leader_up():
                assert await world.consenting("measurement") == 1
                desk = world.leader_app.state.desk
                async with desk.database.reading() as connection:
                    names = [device.name for device in (out, gone, rotated, stays)]
                    found = await desk.register.find(connection, names)
                allowed = [found[name].allowed("measurement", 1, world.clock.now_seconds()) for name in names]
                assert allowed == [False, False, False, True]
                assert [found[name].revoked_at is not None for name in names] == [False, True, True, False]
                path = f"/v1/devices/{stays.name.hex()}/revocation"
                bearer = {"authorization": f"Bearer {token}"}
                assert code(await world.leader.post(path, json={"reason": "lost"}, headers=bearer)) == "unauthenticated"
                left = _sql(world, "SELECT max(uses_left) FROM tokens WHERE label = '' AND uses_left IS NOT NULL")
                assert left == [(0,)], once
        async with world.leader_up():
            (answer,) = await world.receipts([(out, world.grant(out, ("measurement",)))])
            assert answer["countersignature"], answer
            assert await world.consenting("measurement") == 2


def test_lines_are_read_by_every_process_and_survive_a_crash(tmp_path):
    """What one adds the other sees; a line that a crash cut off is no line; a device that was forgotten begins anew."""

    class Now:
        def ahead(self, act):
            asyncio.run(act())

    path = tmp_path / ENDINGS_FILE
    one, other = Endings(path, bytes(32)), Endings(path, bytes(32))
    one.withdrawn(Now(), b"device", 3)
    with path.open("ab") as file:
        file.write(b"revoked 00")
    assert (other.least_epoch(b"device"), other.least_epoch(b"another")) == (3, 0)
    other.revoked(Now(), b"gone", 5)
    other.replaced(Now(), b"key")
    assert (one.revoked_at_ms(b"gone"), one.revoked_at_ms(b"device"), one.is_replaced(b"key")) == (5, None, True)
    assert b"device" not in path.read_bytes()
    one.forgotten(Now(), b"device")
    one.forgotten(Now(), b"gone")
    for each in (one, other, Endings(path, bytes(32))):
        assert (each.least_epoch(b"device"), each.revoked_at_ms(b"gone")) == (0, None)
    assert Endings(path, b"1" * 32).is_replaced(b"key") is False
