"""``hearthside-aggregator backup`` and ``restore``: a service's store in a file, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aggregator.commands.options import NAME, Folder

if TYPE_CHECKING:
    from aggregator.settings import ServiceSettings

To = Annotated[Path, typer.Option("--to", help="The back-up's file; it must not exist.")]
From = Annotated[Path | None, typer.Option("--from", help="The back-up's file; none for a PostgreSQL store.")]


def backup(directory: Folder, to: To) -> None:
    """Write a back-up of a service's SQLite store, while it runs or not."""
    from aggregator.storage.backup import back_up

    settings, schema = _read(directory)
    back_up(settings.url(), schema, to)
    print(f"{to}: the {schema}'s store, {to.stat().st_size:,} bytes")


def restore(directory: Folder, source: From = None) -> None:
    """Put a back-up in the place of a stopped service's store; without --from, say that pg_restore has done so."""
    from aggregator.storage.backup import mark, put_back
    from aggregator.storage.processes import at_rest

    settings, schema = _read(directory)
    if source is not None:
        before = put_back(settings.url(), settings.directory, schema, source)
        if before is not None:
            print(f"{before}: the store that was there; remove it when it is not needed")
    else:
        with at_rest(settings.directory):
            mark(settings.directory)
    print(f"{directory}: restored; when the {schema} starts, rounds that were under way are over ({NAME} {schema})")
    print(f"{directory}: its tokens are revoked then; make new ones ({NAME} token create)")


def _read(directory: Path) -> tuple[ServiceSettings, str]:
    from aggregator.setting_sources import SETTINGS_FILE
    from aggregator.settings import HelperSettings, LeaderSettings

    path = directory / SETTINGS_FILE
    given = json.loads(path.read_text()) if path.exists() else {}
    schema = "helper" if "leader_key" in given else "leader"
    return (HelperSettings if schema == "helper" else LeaderSettings).read(directory), schema
