"""The same promises of a store on SQLite and on PostgreSQL."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from aggregator.storage import helper_tables, leader_tables
from aggregator.storage.database import Database

SCHEMAS = {"leader": leader_tables.METADATA, "helper": helper_tables.METADATA}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_migrations_make_the_tables_that_the_code_uses(fresh, schema):
    """Alembic finds nothing to add to a freshly migrated store, and migrating again changes nothing."""

    async def check():
        database = Database(fresh())
        await database.open(schema)
        await database.open(schema)
        async with database.reading() as connection:
            differences = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), SCHEMAS[schema])
            )
        await database.close()
        assert differences == []

    asyncio.run(check())
