"""The database goes away under running services and comes back: a real PostgreSQL, stopped and started."""

import asyncio
import time

import pytest

from models.wire.frames import REPORTS_MEDIA_TYPE, ReportFrame
from tests.frames import encode_batch

from .world import World, code, vectors


async def _until(request, seconds: float = 15.0):
    """Ask again until the answer is none of a store that is away, as every client does; returns it."""
    deadline = time.monotonic() + seconds
    while True:
        response = await request()
        if response.status_code != 503:
            return response
        assert code(response) == "store-unavailable"
        assert time.monotonic() < deadline, "the store is back and the service did not notice"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("moment", ["while reports come in", "while the helper opens the seals"])
def test_nothing_that_was_acknowledged_is_lost_while_the_database_is_away(tmp_path, postgres, moment):
    """Requests answer ``store-unavailable`` and work again after; the study goes on to its release by itself."""
    world = World(tmp_path)
    world.leader_options["database_url"] = postgres.fresh("leader")
    world.helper_options["database_url"] = postgres.fresh("helper")

    async def report(device, made):
        frame = encode_batch([ReportFrame(device.name, device.consent.epoch, made)])
        headers = {"content-type": REPORTS_MEDIA_TYPE}
        return await world.leader.post("/v1/reports", content=frame, headers=headers)

    async def story():
        async with world.up():
            study, devices = world.study(), await world.devices(6)
            await world.run(study)
            _, opening = await world.work()
            items = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(6), strict=True)]
            before, after = (items[:3], items[3:]) if moment == "while reports come in" else (items, [])
            assert await world.send(*before[:-1]) == ["accepted"] * (len(before) - 1)
            assert await world.send(before[-1]) == ["accepted"]
            await asyncio.to_thread(postgres.stop)
            for _ in range(2):
                assert code(await report(*items[0])) == "store-unavailable"
                assert code(await world.helper.get("/v1/proposals")) == "store-unavailable"
                assert code(await world.leader.get("/ready")) == "not-ready"
                assert (await world.leader.get("/health")).status_code == 200
            await asyncio.to_thread(postgres.start)
            for device, made in after:
                assert (await _until(lambda device=device, made=made: report(device, made))).status_code == 200
            assert (await _until(lambda: world.helper.get("/v1/proposals"))).status_code == 200
            account = await world.until(study, "finished", "failed", seconds=30)
            assert (account["state"], account["rounds"][0]["opened"]) == ("finished", 6), account["detail"]
            spent = world.helper_app.state.office.budget.state.length, world.leader_app.state.desk.budget.state.length
            assert spent == (1, 1), "one round, one charge at each"

    try:
        asyncio.run(story())
    finally:
        postgres.start()  # for the tests that follow, whatever happened to this one


FULL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '{state}'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE OF state ON rounds EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE UPDATE OF state ON studies EXECUTE FUNCTION refuse();
"""
ROOM = "DROP FUNCTION refuse CASCADE"


@pytest.mark.parametrize(("state", "ending"), [("53100", "finished"), ("53200", "stopped")])
def test_a_study_waits_for_a_store_that_is_full_whatever_it_was_about_to_do(tmp_path, postgres, state, ending):
    """Disk or memory: neither its round nor its end, by itself or by an officer, is lost for it."""
    world = World(tmp_path)
    url = world.leader_options["database_url"] = postgres.fresh("leader")
    name = url.partition("@/")[2].partition("?")[0]

    async def story():
        async with world.up():
            study, devices = world.study(), await world.devices(6)
            await world.run(study)
            _, opening = await world.work()
            items = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(6), strict=True)]
            assert set(await world.send(*items[:-1])) == {"accepted"}
            await asyncio.to_thread(postgres.sql, FULL.format(state=state), name)
            if ending == "stopped":
                assert (await world.decide(study, "stop")).status_code == 201
            else:
                assert await world.send(items[-1]) == ["accepted"]
            await asyncio.sleep(1.2)
            running = world.leader_app.state.desk.running
            account = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()
            assert (account["state"], account["rounds"][0]["state"]) == ("running", "open")
            assert len(running._tasks) == 1
            await asyncio.to_thread(postgres.sql, ROOM, name)
            account = await world.until(study, "finished", "failed", "stopped")
            assert account["state"] == ending, account["detail"]
            if ending == "finished":
                assert account["rounds"][0]["opened"] == 6
            for _ in range(100):
                if not running._tasks:
                    break
                await asyncio.sleep(0.02)
            assert running._tasks == {}, "what is over is nobody's task any more"

    asyncio.run(story())
