"""Workers that stop inside a change, servers that fall silent, followers that hang: others go on, nobody waits long."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import select, text

from aggregator.leader import following
from aggregator.storage.database import Database
from aggregator.storage.engines import Patience, StoreAway
from aggregator.storage.leader_tables import facts
from models.wire.enrolment import make_enrolment
from privacy.crypto import SigningKey

from .world import World, code, in_world

SHORT = Patience(idle_seconds=0.5, lock_seconds=5.0, command_seconds=6.0)
STOPPING = """
import asyncio, os, signal, sys
from aggregator.storage.database import Database
from aggregator.storage.engines import Patience, StoreAway
from aggregator.storage.leader_tables import facts

async def act(change):
    await change.connection.execute(facts.insert().values(name="stopped", value=b"x"))
    print("inside", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    await change.connection.execute(facts.insert().values(name="woken", value=b"x"))

async def main():
    database = Database(sys.argv[1], Patience(idle_seconds=0.5))
    try:
        await database.change(act)
    except StoreAway:
        print("away", flush=True)
    await database.change(lambda change: change.connection.execute(facts.insert().values(name="again", value=b"x")))
    await database.close()

asyncio.run(main())
"""


def put(name: str):
    return lambda change: change.connection.execute(facts.insert().values(name=name, value=b"x"))


async def names(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set((await connection.execute(select(facts.c.name))).scalars())


def test_a_worker_that_stops_inside_a_change_holds_up_the_others_for_moments(postgres):
    """The server ends its change, another one's goes on; when it wakes up, nothing of that change is stored."""
    url = postgres.fresh("leader")

    async def other():
        database = Database(url, SHORT)
        await database.change(put("other"))
        assert await names(database) == {"other"}
        await database.close()

    with subprocess.Popen([sys.executable, "-c", STOPPING, url], stdout=subprocess.PIPE, text=True) as stopped:
        try:
            assert stopped.stdout.readline() == "inside\n"
            asyncio.run(other())
            stopped.send_signal(signal.SIGCONT)
            assert stopped.stdout.readline() == "away\n"
            assert stopped.wait(20) == 0
        finally:
            stopped.kill()

    async def after():
        database = Database(url)
        assert await names(database) == {"other", "again"}
        await database.close()

    asyncio.run(after())


@pytest.mark.parametrize("reading", [False, True])
def test_a_server_that_falls_silent_is_away_in_bounded_time(postgres, reading):
    """Inside a change or a reading: what waits for its answer is told, and the next one asks on another connection."""
    url = postgres.fresh("leader")
    silent: list[int] = []

    async def fall_silent(connection):
        silent.append((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        os.kill(silent[0], signal.SIGSTOP)
        await connection.execute(select(facts))

    async def read(database):
        async with database.reading() as connection:
            await fall_silent(connection)

    async def story():
        database = Database(url, Patience(idle_seconds=60, lock_seconds=0.5, command_seconds=1.0))
        try:
            with pytest.raises(StoreAway):
                await (read(database) if reading else database.change(lambda change: fall_silent(change.connection)))
            if not reading:  # the silent server still has the one writer's lock
                with pytest.raises(StoreAway):
                    await database.change(put("locked out"))
            assert await names(database) == set()
        finally:
            os.kill(silent[0], signal.SIGCONT)
        deadline = time.monotonic() + 10
        while True:
            try:
                await database.change(put("after"))
                break
            except StoreAway:
                assert time.monotonic() < deadline
        assert await names(database) == {"after"}
        await database.close()

    asyncio.run(story())


def test_a_leader_whose_database_falls_silent_says_so_and_works_again(tmp_path, postgres, monkeypatch):
    """Requests answer ``store-unavailable`` instead of hanging, the board is not shown, and all of it comes back."""
    monkeypatch.setattr(following, "BEHIND_SECONDS", 1.0)
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.5)
    monkeypatch.setattr("aggregator.condition._STORE_SECONDS", 1.0)
    world = World(tmp_path)
    url = world.leader_options["database_url"] = postgres.fresh("leader")
    world.leader_options |= {"database_lock_seconds": 1.0, "database_command_seconds": 1.5}
    name = url.partition("@/")[2].partition("?")[0]

    def backends() -> list[int]:
        query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        return [int(line) for line in postgres.sql(query).splitlines()]

    async def story():
        async with world.up():
            token, key = await world.token("enrol"), SigningKey.generate()
            now_ms, leader = world.clock.now_ms(), world.leader_key.verify_key
            body = {"enrolments": [make_enrolment(key, leader, token, bytes(16), now_ms).document()]}
            silent = await asyncio.to_thread(backends)
            assert len(silent) >= 2, "a writer and a reader"
            for pid in silent:
                os.kill(pid, signal.SIGSTOP)
            try:
                answer = await asyncio.wait_for(world.leader.post("/v1/enrolments", json=body), 20)
                assert code(answer) == "store-unavailable"
                assert "may have been stored" in answer.json()["detail"]
            finally:
                for pid in silent:
                    os.kill(pid, signal.SIGCONT)
            deadline = time.monotonic() + 15
            while (answer := await world.leader.post("/v1/enrolments", json=body)).status_code == 503:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            assert answer.json()["results"][0]["problem"] is None
            while (await world.leader.get("/v1/work")).status_code != 200:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

    asyncio.run(story())


@in_world()
async def test_a_worker_that_cannot_follow_publishes_nothing(world):
    """No work, no signed checkpoint, not ready and why; when it can again, all of it, with what it had missed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "BEHIND_SECONDS", 0.6)
        patch.setattr(following, "_LOOK_SECONDS", 0.2)
        async with world.up():
            follower, hanging = world.leader_app.state.desk.follower, asyncio.Event()
            study = world.study()
            await world.run(study)
            await world.work()
            look = follower.look

            async def hang():
                hanging.set()
                await asyncio.Event().wait()

            follower.look = hang
            await hanging.wait()
            deadline = time.monotonic() + 5
            while not follower.behind:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            for path in ("/v1/work", "/v1/log/checkpoint"):
                assert code(await world.leader.get(path)) == "store-unavailable"
            ready = await world.leader.get("/ready")
            assert (code(ready), "behind" in ready.json()["detail"]) == ("not-ready", True)
            follower.look = look
            while follower.behind:
                assert time.monotonic() < deadline + 5
                await asyncio.sleep(0.05)
            work, _ = await world.work()
            assert len(work.rounds) == 1
            assert "behind" not in (await world.leader.get("/ready")).text
