"""Stores of every older schema, with rows in all their tables, on both databases: an upgrade finds everything."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine

import aggregator.migrations
from aggregator.clock import Clock
from aggregator.errors import SettingsInvalid
from aggregator.storage import helper_tables, leader_tables
from aggregator.storage.database import Database
from aggregator.storage.ledger import LedgerStore
from aggregator.storage.mirror import HeadMirror
from privacy.accounting import Charge, Contract, SumEvent, Times, charge, open_ledger, replay
from tests.crash_points import Steps, deaths

CONTRACT = Contract(8.0, 1e-6, 9)
METADATA = {"leader": leader_tables.METADATA, "helper": helper_tables.METADATA}
HASH, OTHER, DEVICE = b"\1" * 32, b"\2" * 32, b"\3" * 16


def rows(schema: str, ledger: list[bytes]) -> dict[str, list[dict]]:
    """Rows for the columns of all schemas together; a round that is over and, at the leader, one that is open."""
    charged = [{"row_index": index, "study_hash": HASH, "body": body} for index, body in enumerate(ledger)]
    common = {"study_hash": HASH, "study_id": "one", "body": b"{}", "proposed_at_ms": 1}
    over = {
        "round_id": 1,
        "study_hash": HASH,
        "number": 1,
        "model_hash": OTHER,
        "opening": "jws",
        "closes_at_ms": 2**40,
    }
    facts = [{"name": "elapsed", "value": b'[12.5, "boot", 3.0]'}]
    if schema == "helper":
        return {
            "proposals": [{**common, "state": "approved"}],
            "decisions": [
                {"decision_id": 1, "study_hash": HASH, "decision": "approve", "jws": "jws", "recorded_at_ms": 2}
            ],
            "rounds": [
                {
                    **over,
                    "bucket": 0,
                    "state": "answered",
                    "opened_at_ms": 5,
                    "batch": OTHER,
                    "answer": b"\0\xff",
                    "opened": 7,
                }
            ],
            "withdrawals": [{"withdrawal_id": 1, "report_id": HASH, "token": OTHER, "at_ms": 2**41}],
            "ledger_rows": charged,
            "facts": facts,
            "nonces": [{"nonce": b"\4" * 16, "used_at_ms": 9}],
        }
    return {
        "devices": [{"device_id": DEVICE, "device_key": HASH, "enrolled_at_ms": 1_800_000_000_000}],
        "nonces": [{"nonce": b"\4" * 16, "at_ms": 9}],
        "tokens": [
            {"token_hash": HASH, "scope": "enrol", "label": "shop floor", "created_at_ms": 1, "expires_at_ms": 2**41}
        ],
        "consent_rows": [{"device_id": DEVICE, "row_index": 0, "person": "p", "body": b"\0row"}],
        "studies": [{**common, "state": "finished", "detail": "", "log_index": 0, "decision": "jws"}],
        "models": [{"model_hash": OTHER, "body": b"\0\1\2"}],
        "rounds": [
            {
                **over,
                "state": "released",
                "context": b"a" * 32,
                "reports": 5,
                "opened": 5,
                "total": b"\0" * 8,
                "detail": "",
            },
            {**over, "round_id": 2, "number": 2, "state": "open", "context": b"b" * 32, "detail": ""},
        ],
        "reports": [
            {
                "round_id": 2,
                "device_id": DEVICE,
                "report_id": HASH,
                "signature": b"s" * 64,
                "seal": b"\0s",
                "masked": b"\0m",
            }
        ],
        "taken_back": [{"round_id": 2, "device_id": b"\5" * 16, "report_id": OTHER}],
        "log_entries": [{"entry_index": 0, "body": b"\0entry"}],
        "ledger_rows": charged,
        "bundles": [{"bundle_version": 1, "sha256": HASH, "published_at_ms": 3}],
        "facts": facts,
    }


def charges(owner: str) -> list[bytes]:
    """Two real rows of this service's ledger."""
    state, bodies = open_ledger(CONTRACT, owner), []
    for number in (1, 2):
        item = Charge("one", number, "measurement", SumEvent(2.0, 1.0), (0.5,), "approval", 0)
        state, row = charge(state, item, Times(1_800_000_000 + number, float(number)))
        bodies.append(row.body())
    return bodies


def revisions(schema: str) -> list[str]:
    """A service's schemas, oldest first."""
    folder = Path(aggregator.migrations.__file__).parent / schema
    return sorted(path.stem for path in folder.glob(f"{schema}_*.py"))


def older_stores() -> list:
    """Each database with each older schema; outside of the soak PostgreSQL with the oldest, which takes them all."""
    return [
        pytest.param(database, schema, revision, marks=[pytest.mark.soak] if left and database != "sqlite" else [])
        for database in ("sqlite", "postgresql")
        for schema in METADATA
        for left, revision in enumerate(revisions(schema)[:-1])
    ]


@asynccontextmanager
async def older(url: str, schema: str, revision: str):
    """A store of an older schema."""
    database = Database(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aggregator.storage.migration.NEWEST", revision)
        await database.open(schema)
    yield database
    await database.close()


def fill(connection: sa.Connection, schema: str) -> None:
    """Put rows into every table that this schema has, with the columns that it has."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    sample = rows(schema, charges(schema))
    for table in metadata.sorted_tables:
        for row in sample.get(table.name, ()):
            connection.execute(table.insert().values({name: row[name] for name in row if name in table.c}))


def contents(connection: sa.Connection) -> dict[str, list[dict]]:
    """Every row of every table, as plain values."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return {
        name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
        for name, table in metadata.tables.items()
        if name != "alembic_version"
    }


async def version(url: str) -> str:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = (await connection.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar_one()
    await engine.dispose()
    return found


@pytest.mark.parametrize(("fresh", "schema", "revision"), older_stores(), indirect=["fresh"])
def test_an_upgrade_finds_everything(fresh, tmp_path, schema, revision):
    """Every row of every table is there with its values, the ledger goes on, and the tables are those of the code."""

    async def story():
        url = fresh()
        async with older(url, schema, revision) as database:
            await database.change(lambda change: change.connection.run_sync(fill, schema))
            async with database.reading() as connection:
                before = await connection.run_sync(contents)
        database = Database(url)
        await database.open(schema)
        async with database.reading() as connection:
            after = await connection.run_sync(contents)
            differences = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), METADATA[schema])
            )
        assert differences == []
        assert all(before[name] for name in rows(schema, [b""]) if name in before)
        for name, kept in before.items():
            assert len(kept) == len(after[name]), name
            for old, new in zip(kept, after[name], strict=True):
                assert {column: new[column] for column in old if column in new} == {
                    column: value for column, value in old.items() if column in new
                }
                assert old.keys() - new.keys() <= {"noise_secret", "private_key"}
        (tmp_path / "mirror").write_text(replay(CONTRACT, schema, charges(schema)).head.hex())
        ledger, mirror = LedgerStore(METADATA[schema]), HeadMirror(tmp_path / "mirror")
        budget = await database.change(lambda change: ledger.load(change, CONTRACT, schema, Clock(), mirror))
        assert (budget.state.length, budget.lost) == (2, False)
        await database.close()

    asyncio.run(story())


@pytest.mark.parametrize("schema", METADATA)
def test_a_newer_schema_is_refused_in_one_line(fresh, schema):
    """The store of a later version, or of the other service, is named as that and left as it is."""

    async def story():
        url, other = fresh(), "helper" if schema == "leader" else "leader"
        database = Database(url)
        await database.open(schema)
        for revision, expected in (
            (f"{schema}_9999", f"schema {schema}_9999"),
            (f"{other}_0001", f"a {schema}'s store"),
        ):
            statement = sa.text("UPDATE alembic_version SET version_num = :revision").bindparams(revision=revision)
            await database.change(lambda change, statement=statement: change.connection.execute(statement))
            with pytest.raises(SettingsInvalid, match=expected) as refusal:
                await database.open(schema)
            assert "\n" not in str(refusal.value)
            assert await version(url) == revision
        await database.close()

    asyncio.run(story())


@pytest.mark.parametrize("schema", METADATA)
@pytest.mark.parametrize("stride", [29, pytest.param(1, marks=pytest.mark.soak)])
def test_an_upgrade_that_is_killed_leaves_the_old_store_or_the_new_one(fresh, tmp_path, schema, stride):
    """Wherever it dies; and the next start finishes it."""
    url, first = fresh(), revisions(schema)[0]

    async def begin():
        async with older(url, schema, first) as database:
            await database.change(lambda change: change.connection.run_sync(fill, schema))

    def work(_: Path, steps: Steps) -> None:
        event.listen(Engine, "before_cursor_execute", lambda *_: steps.reach())
        event.listen(Engine, "after_cursor_execute", lambda *_: steps.reach())
        asyncio.run(upgrade())

    async def upgrade():
        database = Database(url)
        await database.open(schema)
        await database.close()

    async def look() -> tuple[str, int]:
        database = Database(url)
        async with database.reading() as connection:
            found = await connection.run_sync(contents)
        await database.close()
        return await version(url), sum(len(found[name]) for name in rows(schema, []) if name in found)

    asyncio.run(begin())
    _, expected = asyncio.run(look())
    versions = []
    for step, _ in deaths(lambda _: tmp_path, work, stride):
        name, count = asyncio.run(look())
        assert count == expected, step
        versions.append(name)
    newest = revisions(schema)[-1]
    assert set(versions) <= {first, newest}
    assert versions == sorted(versions), "the old one until the new one is whole"
    assert versions[-1] == newest
    assert len(versions) > 2, "it was killed in the middle"
