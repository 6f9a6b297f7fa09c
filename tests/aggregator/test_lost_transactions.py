"""A disk that is full: SQLite rolls the whole transaction back, and nobody is answered yes for what went with it."""

import asyncio
import os

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError

from aggregator.leader import enrolments
from aggregator.leader.enrolments import Asked
from aggregator.storage.database import Database
from aggregator.storage.engines import TransactionLost
from aggregator.storage.leader_tables import facts
from models.wire.enrolment import make_enrolment
from privacy.crypto import SigningKey, VerifyKey

from .world import code, in_world, vectors

SMALL, LARGE = b"x", bytes(400_000)


def full_after(database: Database, pages: int = 60) -> None:
    """From now on the store's file may have so many pages more; every connection is told."""

    def limit(connection, *_):
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_count")
        (count,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count={count + pages}")
        cursor.close()

    event.listen(database._writer.sync_engine, "connect", limit)


async def opened(path) -> Database:
    database = Database(f"sqlite+aiosqlite:///{path}")
    await database.open("leader")
    await database._writer.dispose()  # the next connection is one that has the limit
    return database


async def names(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set((await connection.execute(select(facts.c.name))).scalars())


def put(name: str, value: bytes, remembered: list[str], *, swallow: bool = False):
    """A small change; ``swallow``: it takes no notice of the store's error and writes on."""

    async def act(change):
        change.then(lambda: remembered.append(name))
        try:
            await change.connection.execute(facts.insert().values(name=name, value=value))
        except DBAPIError:
            if not swallow:
                raise
            await change.connection.execute(facts.insert().values(name=f"{name}-after", value=SMALL))
        return name

    return act


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_group_keeps_what_it_answers_yes_for_and_nothing_else(tmp_path, place, swallow):
    """One of four does not fit: it fails, and the others' answers, memory and store are those of running them alone."""

    async def story():
        database, remembered = await opened(tmp_path / "x.sqlite3"), []
        full_after(database)
        acts = [put(name, SMALL, remembered) for name in "abc"]
        acts.insert(place, put("large", LARGE, remembered, swallow=swallow))
        outcomes = await asyncio.gather(*(database.join(act) for act in acts), return_exceptions=True)
        assert isinstance(outcomes.pop(place), DBAPIError)
        assert outcomes == remembered == ["a", "b", "c"]
        assert await names(database) == {"a", "b", "c"}
        assert await database.join(put("d", SMALL, remembered)) == "d", "the store goes on"
        await database.close()

    asyncio.run(story())


@pytest.mark.parametrize("swallow", [False, True])
def test_a_change_alone_is_not_completed_without_its_transaction(tmp_path, swallow):
    """Also where it takes no notice of the error: what it writes afterwards is not stored by itself."""

    async def story():
        database, remembered = await opened(tmp_path / "x.sqlite3"), []
        full_after(database)
        with pytest.raises(TransactionLost):
            await database.change(put("large", LARGE, remembered, swallow=swallow))
        assert (remembered, await names(database)) == ([], set())
        assert await database.change(put("a", SMALL, remembered)) == "a"
        await database.close()

    asyncio.run(story())


def test_a_transaction_that_ended_without_an_error_is_noticed_before_the_commit(tmp_path):
    """The driver has the last word: whoever ends the transaction behind everybody's back gets no yes."""

    async def story():
        database, remembered = await opened(tmp_path / "x.sqlite3"), []

        async def end(change):
            driver = (await change.connection.get_raw_connection()).driver_connection
            await driver.execute("ROLLBACK")

        with pytest.raises(TransactionLost):
            await database.change(end)
        outcomes = await asyncio.gather(
            database.join(put("a", SMALL, remembered)),
            database.join(end),
            database.join(put("b", SMALL, remembered)),
            return_exceptions=True,
        )
        assert [outcomes[0], outcomes[2]] == ["a", "b"]
        assert isinstance(outcomes[1], DBAPIError)
        assert (remembered, await names(database)) == (["a", "b"], {"a", "b"})
        await database.close()

    asyncio.run(story())


@in_world()
async def test_what_the_api_answered_is_kept_when_another_request_fills_the_disk(world):
    """A countersigned withdrawal and an accepted report share a commit with what does not fit: both are kept."""
    async with world.up():
        desk, study = world.leader_app.state.desk, world.study()
        database = desk.database
        leaving, staying = await world.devices(2)
        await world.run(study)
        _, opening = await world.work()
        report = world.report(staying, study, opening, vectors(1)[0])
        token, leader, now_ms = await world.token("enrol"), world.leader_key.verify_key, world.clock.now_ms()
        many = [
            make_enrolment(SigningKey.generate(), leader, token, os.urandom(16), now_ms).document() for _ in range(256)
        ]
        requests = [
            lambda: world.receipts([(leaving, world.withdrawal(leaving, ("measurement",)))]),
            lambda: world.send((staying, report)),
            lambda: world.leader.post("/v1/enrolments", json={"enrolments": many}),
        ]
        full_after(database, pages=12)
        async with database._lock:  # a change is under way: what comes meanwhile shares the next commit
            await database._writer.dispose()
            under_way = []
            for count, request in enumerate(requests, 1):
                under_way.append(asyncio.ensure_future(request()))
                for _ in range(1_000):
                    if len(database._waiting) == count:
                        break
                    await asyncio.sleep(0.01)
            assert len(database._waiting) == len(requests)
        (withdrawn,), reported, refused = await asyncio.gather(*under_way)
        assert withdrawn["countersignature"]
        assert reported == ["accepted"]
        assert code(refused) == "store-unavailable"
    async with world.up():
        desk = world.leader_app.state.desk
        assert "measurement" not in (await world.standing(leaving)).granted
        async with desk.database.reading() as connection:
            (row,) = await desk.store.rounds(connection, study.study_hash())
            assert await desk.store.report_count(connection, row.round_id) == 1
            assert await desk.store.device_count(connection) == 2


@in_world()
async def test_an_enrolment_that_is_done_again_counts_once_against_its_tokens_rate(world):
    """Its lot failed for another's sake, twice over: its token is as free as if it had been alone."""
    world.leader_options["token_enrolments_per_second"] = 0.2  # one at once, the next one after five seconds
    async with world.up():
        desk = world.leader_app.state.desk
        join, failures = desk.database.join, [TransactionLost(None), TransactionLost(None)]

        async def fail_at_the_end(act):
            async def failing(change):
                result = await act(change)
                if failures:
                    raise failures.pop()
                return result

            return await join(failing)

        desk.database.join = fail_at_the_end
        token, leader, now_ms = await world.token("enrol"), world.leader_key.verify_key, world.clock.now_ms()
        item = make_enrolment(SigningKey.generate(), leader, token, os.urandom(16), now_ms)
        asked = Asked(item, VerifyKey(bytes.fromhex(item.device_key)))
        for _ in range(2):
            with pytest.raises(TransactionLost):
                await enrolments._admit(desk, [asked])
        (result,) = await enrolments._admit(desk, [asked])
        assert result.problem is None, result
        other = make_enrolment(SigningKey.generate(), leader, token, os.urandom(16), now_ms).document()
        answer = await world.leader.post("/v1/enrolments", json={"enrolments": [other]})
        assert answer.json()["results"][0]["problem"]["type"].endswith("slow-down"), "the rate is there"
