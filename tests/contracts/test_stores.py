"""The same promises of a store on SQLite and on PostgreSQL, one process at it or two."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, select, update

from aggregator.clock import Clock
from aggregator.errors import StoreCorrupt
from aggregator.storage import helper_tables, leader_tables
from aggregator.storage.database import Database
from aggregator.storage.helper import HelperStore
from aggregator.storage.ledger import LedgerStore
from aggregator.storage.mirror import HeadMirror
from aggregator.storage.standing import Standing
from aggregator.storage.tokens import TokenStore
from models.wire.problems import ProblemError
from privacy.accounting import Contract
from tests.aggregator.world import World

SCHEMAS = {"leader": leader_tables.METADATA, "helper": helper_tables.METADATA}
CONTRACT = Contract(8.0, 1e-6, 9)
LARGEST = 2**63 - 1
FACTS = helper_tables.facts


@asynccontextmanager
async def opened(url: str, schema: str, count: int = 1):
    """The same store as several processes have it."""
    async with AsyncExitStack() as stack:
        databases = [Database(url) for _ in range(count)]
        for database in databases:
            stack.push_async_callback(database.close)
            await database.open(schema)
        yield databases


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_migrations_make_the_tables_that_the_code_uses(fresh, schema):
    """Alembic finds nothing to add to a freshly migrated store, and migrating again changes nothing."""

    async def check():
        async with opened(fresh(), schema, 2) as (database, _), database.reading() as connection:
            differences = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), SCHEMAS[schema])
            )
        assert differences == []

    asyncio.run(check())


def test_changes_of_two_processes_come_one_after_another(fresh):
    """Each reads what the other one has written: nothing is lost, and a change that fails leaves nothing."""

    async def add(change):
        count = int((await change.connection.execute(select(FACTS.c.value).where(FACTS.c.name == "n"))).scalar_one())
        await asyncio.sleep(0)
        await change.connection.execute(update(FACTS).where(FACTS.c.name == "n").values(value=b"%d" % (count + 1)))

    async def fail(change):
        await add(change)
        raise InterruptedError

    async def story():
        async with opened(fresh("helper"), "helper", 2) as databases:
            await databases[0].change(
                lambda change: change.connection.execute(FACTS.insert().values(name="n", value=b"0"))
            )
            work = [database.change(act) for _ in range(8) for database in databases for act in (add, fail)]
            results = await asyncio.gather(*work, return_exceptions=True)
            assert sum(isinstance(result, InterruptedError) for result in results) == 16
            async with databases[1].reading() as connection:
                assert (await connection.execute(select(FACTS.c.value))).scalar_one() == b"16"

    asyncio.run(story())


def test_a_reading_sees_one_moment(fresh):
    """What another process commits in the middle of it is not in it, and does not wait for it either."""

    async def story():
        async with opened(fresh("helper"), "helper", 2) as (database, other):
            async with database.reading() as connection:
                assert (await connection.execute(select(FACTS))).all() == []
                await other.change(
                    lambda change: change.connection.execute(FACTS.insert().values(name="n", value=b"1"))
                )
                assert (await connection.execute(select(FACTS))).all() == []
            async with database.reading() as connection:
                assert len((await connection.execute(select(FACTS))).all()) == 1

    asyncio.run(story())


def test_bytes_and_large_numbers_come_back_as_they_were(fresh):
    """Every byte value, 63 bits, and texts of any script."""

    async def story():
        every, store = bytes(range(256)), HelperStore()
        async with opened(fresh("helper"), "helper") as (database,):
            values = {"study_id": "größe-猫", "body": every, "state": "proposed", "proposed_at_ms": LARGEST}
            await database.change(lambda change: store.add_proposal(change.connection, study_hash=every[:32], **values))
            async with database.reading() as connection:
                row = await store.proposal(connection, every[:32])
                assert {name: getattr(row, name) for name in values} == values
                assert type(row.body) is bytes

    asyncio.run(story())


@pytest.mark.parametrize("schema", SCHEMAS)
def test_two_processes_keep_one_ledger(fresh, tmp_path, schema):
    """Charges in turn make one chain; the mirror names its head however late one settles; another store is refused."""

    async def story():
        study, path = World(tmp_path).study(rounds=6), tmp_path / "ledger.head"
        async with opened(fresh(schema), schema, 2) as databases:
            ledgers = [LedgerStore(SCHEMAS[schema]) for _ in databases]
            budgets = [
                await database.change(
                    lambda change, ledger=ledger: ledger.load(change, CONTRACT, schema, Clock(), HeadMirror(path))
                )
                for database, ledger in zip(databases, ledgers, strict=True)
            ]
            price, late = budgets[0].price(study), []

            async def charge(which: int, number: int):
                budget, ledger = budgets[which], ledgers[which]

                async def act(change):
                    await ledger.catch_up(change.connection, budget)
                    charged = budget.charge(study, number, price, "approval")
                    await ledger.append(change, charged, study.study_hash())
                    change.then(lambda: budget.settle(charged))

                await databases[which].change(act)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ledgers[0].mirror, "settle", late.append)
                await charge(0, 1)
            await charge(1, 2)
            ledgers[0].mirror.settle(late[0])
            assert HeadMirror(path).named(b"") == [budgets[1].state.head]
            await charge(0, 3)
            async with databases[1].reading() as connection:
                await ledgers[1].catch_up(connection, budgets[1])
            assert [budget.state.length for budget in budgets] == [3, 3]
            assert HeadMirror(path).named(b"") == [budgets[0].state.head] == [budgets[1].state.head]
            again = await databases[0].change(
                lambda change: LedgerStore(SCHEMAS[schema]).load(change, CONTRACT, schema, Clock(), HeadMirror(path))
            )
            assert (again.lost, again.state.head) == (False, budgets[0].state.head)
            rows = SCHEMAS[schema].tables["ledger_rows"]
            await databases[1].change(
                lambda change: change.connection.execute(delete(rows).where(rows.c.row_index > 0))
            )
            with pytest.raises(StoreCorrupt, match="replaced"):
                await charge(0, 4)

    asyncio.run(story())


def test_what_stands_is_known_from_another_store(fresh, tmp_path):
    """The chained head is the mirror's after each change and in the middle of one, and not after a loss."""

    async def story():
        async with opened(fresh("helper"), "helper") as (database,):
            standing = Standing(LedgerStore(helper_tables.METADATA), HeadMirror(tmp_path / "standing.head"))
            for part in (b"one", b"two"):
                assert await database.change(standing.is_kept)
                await database.change(lambda change, part=part: standing.advance(change, "decision", part))
            async with database.reading() as connection:
                (before,) = (await connection.execute(select(FACTS))).all()

            async def fail(change):
                await standing.advance(change, "decision", b"three")
                raise InterruptedError

            with pytest.raises(InterruptedError):
                await database.change(fail)
            assert await database.change(standing.is_kept)
            await database.change(lambda change: standing.advance(change, "decision", b"three"))
            await database.change(lambda change: change.connection.execute(update(FACTS).values(value=before.value)))
            assert not await database.change(standing.is_kept)
            await database.change(lambda change: standing.begin_again(change, 5))
            assert await database.change(standing.is_kept)

    asyncio.run(story())


def test_a_token_opens_what_it_is_for_at_every_process(fresh):
    """Until it expires or is revoked; its uses are counted in one place."""

    async def story():
        store = TokenStore(leader_tables.METADATA)

        async def make(until_ms: int, uses: int | None = None):
            scope = "analyst" if uses is None else "enrol"
            return await one.change(lambda change: store.create(change.connection, (scope,), 1, until_ms, uses=uses))

        async with opened(fresh("leader"), "leader", 2) as (one, other):
            good, old, counted = await make(LARGEST), await make(10), await make(LARGEST, 3)
            await one.change(lambda change: store.spend(change.connection, counted, 1))
            await other.change(lambda change: store.spend(change.connection, counted, 1))
            for database in (one, other):
                async with database.reading() as connection:
                    holder = await store.require(connection, good, ("analyst",), 11)
                    assert (await store.require(connection, counted, ("enrol",), 11)).uses_left == 1
                    for token, scope in ((old, "analyst"), (good, "operator"), ("made up", "analyst")):
                        with pytest.raises(ProblemError):
                            await store.require(connection, token, (scope,), 11)
            await other.change(lambda change: store.revoke(change.connection, holder.token_id, 12))
            async with one.reading() as connection:
                with pytest.raises(ProblemError):
                    await store.require(connection, good, ("analyst",), 13)

    asyncio.run(story())


def test_the_helpers_notes_to_its_other_processes(fresh):
    """A nonce counts once and is forgotten in time; a notice is kept once; only the holder of a round says so again."""

    async def story():
        store = HelperStore()
        async with opened(fresh("helper"), "helper", 2) as databases:

            async def use(which: int, now_ms: int, nonce: bytes = b"n" * 16) -> bool:
                return await databases[which].change(
                    lambda change: store.use_nonce(change.connection, nonce, now_ms, now_ms - 100)
                )

            assert [await use(0, 1_000), await use(1, 1_050), await use(1, 1_101), await use(0, 1_102)] == [
                True,
                False,
                True,
                False,
            ]
            raced = await asyncio.gather(*(use(which, 2_000, b"r" * 16) for which in (0, 1, 0, 1)))
            assert sorted(raced) == [False, False, False, True]
            notices = [
                await database.change(
                    lambda change: store.add_withdrawal(change.connection, b"i" * 32, b"t" * 32, 1, None)
                )
                for database in databases
            ]
            assert notices == [True, False]

    asyncio.run(story())
