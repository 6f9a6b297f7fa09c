"""Schema migrations (Alembic), shipped in the wheel and run on start-up."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

import aggregator

NEWEST = "head"


def upgrade(connection: Connection, schema: str) -> None:
    """Bring one service's schema to its newest revision, inside the given transaction.

    Args:
        connection: a connection in a transaction.
        schema: ``leader`` or ``helper``.
    """
    folder = Path(aggregator.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(folder / schema).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST)
