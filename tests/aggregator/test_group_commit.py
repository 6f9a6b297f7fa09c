"""Small changes that share a commit: outcomes as of serial execution, failures alone, nothing answered before."""

import asyncio
import os
import signal
import sqlite3

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import event, select, update
from sqlalchemy.exc import IntegrityError

from aggregator.storage.database import Database
from aggregator.storage.engines import TransactionLost
from aggregator.storage.leader_tables import facts
from tests.crash_points import note, noted

KINDS = ["insert", "double", "fail", "clash", "lose"]
ACTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), max_size=12)


async def _act(kind: str, number: int, change, remembered: list) -> bytes:
    """A small change that reads what the ones before it wrote; returns what it saw."""
    name = f"n{number}"
    seen = (await change.connection.execute(select(facts.c.value).where(facts.c.name == name))).scalar_one_or_none()
    if kind == "insert" and seen is None:
        await change.connection.execute(facts.insert().values(name=name, value=b"x"))
    if kind == "double" and seen is not None:
        await change.connection.execute(update(facts).where(facts.c.name == name).values(value=seen + seen[:4]))
    if kind == "lose":  # the store rolls the whole transaction back, as SQLite does where the disk is full
        await change.connection.exec_driver_sql("INSERT OR ROLLBACK INTO facts SELECT 'l', x'' FROM (VALUES (1), (2))")
    if kind == "clash":
        await change.connection.execute(facts.insert().values(name="c", value=b"y"))
    change.then(lambda: remembered.append((kind, number)))
    if kind == "fail":
        await change.connection.execute(facts.insert().values(name=f"f{number}-{len(remembered)}", value=b"z"))
        raise ValueError(name)
    return seen or b""


async def _run(path, acts, *, together: bool):
    database, remembered = Database(f"sqlite+aiosqlite:///{path}"), []
    await database.open("leader")
    commits = 0

    def count(*_):
        nonlocal commits
        commits += 1

    event.listen(database._writer.sync_engine, "commit", count)

    def call(kind, number):
        run = database.join if together else database.change
        return run(lambda change: _act(kind, number, change, remembered))

    if together:
        outcomes = await asyncio.gather(*(call(*item) for item in acts), return_exceptions=True)
    else:
        outcomes = []
        for item in acts:
            outcomes += await asyncio.gather(call(*item), return_exceptions=True)
    async with database.reading() as connection:
        stored = sorted(tuple(row) for row in await connection.execute(select(facts)))
    await database.close()
    return [_plain(item) for item in outcomes], remembered, stored, commits


def _plain(outcome):
    return type(outcome).__name__ if isinstance(outcome, Exception) else outcome


@given(acts=ACTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_outcomes_are_those_of_serial_execution(tmp_path_factory, acts):
    """Answers, what is stored, and what is remembered, in the order of the calls; one that fails leaves no trace.

    Also one with which the store gives up everybody's transaction.
    """
    folder = tmp_path_factory.mktemp("g")
    alone = asyncio.run(_run(folder / "a.sqlite3", acts, together=False))
    together = asyncio.run(_run(folder / "b.sqlite3", acts, together=True))
    assert together[:3] == alone[:3]
    if all(kind != "lose" for kind, _ in acts):
        assert together[3] <= (1 if acts else 0), "they waited together, so they share one commit"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A leader's store in either database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").fresh("leader")
    return f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}"


def test_a_constraint_that_one_breaks_is_its_own_error(url):
    """Also where the database itself refuses: the others of the group are durable and answered."""

    async def story():
        database, remembered = Database(url), []
        await database.open("leader")
        kinds = [("insert", 1), ("clash", 0), ("clash", 0), ("insert", 2), ("double", 1)]
        outcomes = await asyncio.gather(
            *(database.join(lambda change, item=item: _act(*item, change, remembered)) for item in kinds),
            return_exceptions=True,
        )
        assert isinstance(outcomes[2], IntegrityError)
        assert [outcomes[index] for index in (0, 1, 3, 4)] == [b"", b"", b"", b"x"]
        assert remembered == [kinds[index] for index in (0, 1, 3, 4)]
        async with database.reading() as connection:
            names = set((await connection.execute(select(facts.c.name))).scalars())
        assert names == {"n1", "n2", "c"}
        await database.close()

    asyncio.run(story())


def test_a_change_that_runs_alone_gets_its_turn_between_groups(tmp_path):
    """Small changes that keep coming do not keep it waiting, and none shares its transaction."""

    async def story():
        database, order = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}"), []
        await database.open("leader")

        async def small(_):
            order.append("small")
            if len(order) < 20:
                again.append(asyncio.ensure_future(database.join(small)))

        async def alone(_):
            order.append("alone")

        again = []
        first = asyncio.ensure_future(database.join(small))
        await asyncio.sleep(0)
        await asyncio.gather(first, database.change(alone))
        while not all(task.done() for task in again):
            await asyncio.gather(*again)
        await database.close()
        assert order.index("alone") <= 2

    asyncio.run(story())


@pytest.mark.parametrize("ended", [False, True])
def test_a_commit_that_fails_answers_nobody_with_a_yes(tmp_path, ended):
    """Every caller of the group hears of it, nothing is stored or remembered, and the store goes on.

    Whether the transaction is still there after it, or the store rolled it back with the error.
    """

    async def story():
        database, remembered = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite3'}"), []
        await database.open("leader")

        def refuse(connection):
            if ended:
                connection.exec_driver_sql("INSERT OR ROLLBACK INTO facts SELECT 'l', x'' FROM (VALUES (1), (2))")
            raise OSError("disk full")

        event.listen(database._writer.sync_engine, "commit", refuse)
        calls = [database.join(lambda change, item=item: _act("insert", item, change, remembered)) for item in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(item) for item in outcomes] == [TransactionLost if ended else OSError] * 3
        assert remembered == []
        async with database.reading() as connection:
            assert (await connection.execute(select(facts))).all() == []
        event.remove(database._writer.sync_engine, "commit", refuse)
        assert await database.join(lambda change: _act("insert", 1, change, remembered)) == b""
        assert remembered == [("insert", 1)]
        await database.close()

    asyncio.run(story())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_the_commit_loses_all_of_a_group_or_nothing(tmp_path, moment):
    """Killed before it: nothing is stored and nobody was answered. After it: everything is stored."""
    path, answers = tmp_path / "x.sqlite3", tmp_path / "answers"

    async def story():
        database = Database(f"sqlite+aiosqlite:///{path}")
        await database.open("leader")
        name = "commit" if moment == "before" else "checkin"
        seen = []

        def die(*_):
            seen.append(1)
            os.kill(os.getpid(), signal.SIGKILL)

        target = database._writer.sync_engine if moment == "before" else database._writer.sync_engine.pool
        event.listen(target, name, die)

        async def call(number):
            await database.join(lambda change: _act("insert", number, change, []))
            note(answers, str(number))

        await asyncio.gather(*(call(number) for number in range(4)))

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(story())
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it was killed"
    with sqlite3.connect(path) as connection:
        stored = {name for (name,) in connection.execute("SELECT name FROM facts")}
    assert noted(answers) == []
    assert stored == (set() if moment == "before" else {"n0", "n1", "n2", "n3"})
