"""Schema migrations (Alembic), shipped in the wheel and run on start-up.

An upgrade is one transaction, on SQLite as on PostgreSQL: a store is of the old schema or of the new one, whatever
happens in the middle. There is no way back to an older schema: a service refuses a store that is newer than itself.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import aggregator
from aggregator.errors import SettingsInvalid

NEWEST = "head"


def upgrade(connection: Connection, schema: str) -> None:
    """Bring one service's schema to its newest revision, inside the given transaction.

    Args:
        connection: a connection in a transaction.
        schema: ``leader`` or ``helper``.

    Raises:
        SettingsInvalid: the store belongs to a newer version of the program, or to the other service.
    """
    config = _config(schema)
    if check_schema(connection, schema) and NEWEST == "head":
        return
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST)


def check_schema(connection: Connection, schema: str) -> bool:
    """Whether a store has the newest schema; one of an older schema, or an empty one, does not.

    Raises:
        SettingsInvalid: the store belongs to a newer version of the program, or to the other service.
    """
    present = set(MigrationContext.configure(connection).get_current_heads())
    known, newest = _revisions(schema)
    for revision in present - known:
        raise SettingsInvalid(_unknown(revision, schema))
    return present == newest


def newest_revisions(schema: str) -> set[str]:
    """What a store of this version of the program says of itself."""
    return set(_revisions(schema)[1])


@cache  # the files of this version do not change while it runs
def _revisions(schema: str) -> tuple[frozenset[str], frozenset[str]]:
    """All revisions that this version knows, and the newest."""
    scripts = ScriptDirectory.from_config(_config(schema))
    return frozenset(script.revision for script in scripts.walk_revisions()), frozenset(scripts.get_heads())


def _unknown(revision: str, schema: str) -> str:
    if revision.partition("_")[0] == schema:
        return f"the store has schema {revision}, which this version does not know; install the version that wrote it"
    return f"expected a {schema}'s store at database_url, got one with schema {revision}"


def _config(schema: str) -> Config:
    folder = Path(aggregator.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(folder / schema).replace("%", "%%"))
    return config
