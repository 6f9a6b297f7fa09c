"""``hearthside-aggregator token``: what opens the routes of leader and helper that are not public."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aggregator.commands.options import NAME, AsJson, Folder, group

if TYPE_CHECKING:  # the store's parts are loaded when a command runs, not for its help
    from aggregator.settings import ServiceSettings
    from aggregator.storage.database import Change, Database

_DAY_MS = 86_400_000
Result = TypeVar("Result")
TokenId = Annotated[str, typer.Argument(help="The token's id, as 'token list' shows it: the part after hs_.")]

app = group(
    "API tokens of leader and helper: hashed at rest, scoped, expiring.", "token create --dir leader --scope analyst"
)


@app.command("create", epilog=f"Example: {NAME} token create --dir leader --scope enrol --uses 2000 --days 30")
def create_token(
    directory: Folder,
    scope: Annotated[
        list[str], typer.Option(help="What it opens: analyst, operator, officer, auditor or enrol; repeat for more.")
    ],
    label: Annotated[str, typer.Option(help="What you call it.")] = "",
    days: Annotated[float, typer.Option(min=0.001, max=3_660, help="Days until it expires.")] = 30,
    uses: Annotated[int | None, typer.Option(min=1, help="Most enrolments with it (scope enrol).")] = None,
) -> None:
    """Make a token and print it once; only its digest is stored."""
    from aggregator.access import SCOPES

    settings = _settings(directory)
    allowed = SCOPES.keys() if _schema(settings) == "leader" else _OF_HELPER
    unknown = sorted(set(scope) - allowed)
    if unknown:
        raise typer.BadParameter(f"--scope: expected some of {', '.join(sorted(allowed))} here, got {unknown[0]!r}")
    if uses is not None and "enrol" not in scope:
        raise typer.BadParameter("--uses is for scope enrol")
    if len(label) > _LONGEST_LABEL:
        raise typer.BadParameter(f"expected a label of at most {_LONGEST_LABEL} characters, got {len(label)}")
    print(asyncio.run(_create(settings, sorted(set(scope)), label, days, uses)))


_OF_HELPER = frozenset({"officer", "auditor"})
_LONGEST_LABEL = 64


@app.command("list", epilog=f"Example: {NAME} token list --dir leader")
def list_tokens(directory: Folder, *, as_json: AsJson = False) -> None:
    """Show every token: its id, label, scopes, until when, how many uses are left, on which day it was last used."""
    from aggregator.commands.calling import show_document

    rows = asyncio.run(_list(_settings(directory)))
    if as_json:
        show_document(rows)
        return
    for row in rows:
        left = "" if row["uses_left"] is None else f", {row['uses_left']} uses left"
        used = f"last used {row['last_used']}" if row["last_used"] else "never used"
        named = f"{row['id']}  {row['scopes']}  {row['label'] or '-'}"
        print(f"{named}  {row['state']} (until {row['expires']}), {used}{left}")


@app.command("revoke", epilog=f"Example: {NAME} token revoke --dir leader k3q7x2ab")
def revoke_token(token_id: TokenId, directory: Folder) -> None:
    """Let a token open nothing any more, from the next request on."""
    name = token_id.removeprefix("hs_").partition("_")[0]
    asyncio.run(_revoke(_settings(directory), name))
    print(f"{name} opens nothing any more")


async def _create(settings: ServiceSettings, scopes: list[str], label: str, days: float, uses: int | None) -> str:
    from aggregator.storage.tokens import token_id

    now_ms = int(time.time() * 1_000)

    async def act(change: Change) -> str:
        tokens = _token_store(settings)
        expires = now_ms + int(days * _DAY_MS)
        token = await tokens.create(change.connection, scopes, now_ms, expires, label=label, uses=uses)
        await _record(settings, change, "create-token", ",".join(scopes), token_id(token), now_ms)
        return str(token)

    return await _changed(settings, act)


async def _list(settings: ServiceSettings) -> list[dict[str, Any]]:
    database = await _opened(settings)
    try:
        async with database.reading() as connection:
            rows = await _token_store(settings).all(connection)
    finally:
        await database.close()
    now_ms = int(time.time() * 1_000)
    return [_shown(row, now_ms) for row in rows]


def _shown(row: Any, now_ms: int) -> dict[str, Any]:
    state = "revoked" if row.revoked_at_ms is not None else "expired" if row.expires_at_ms <= now_ms else "valid"
    return {
        "id": row.token_id,
        "scopes": row.scope,
        "label": row.label,
        "state": state,
        "created": _day(row.created_at_ms),
        "expires": _day(row.expires_at_ms),
        "last_used": None if row.last_used_day is None else _day(row.last_used_day * _DAY_MS),
        "uses_left": row.uses_left,
    }


async def _revoke(settings: ServiceSettings, name: str) -> None:
    now_ms = int(time.time() * 1_000)

    async def act(change: Change) -> None:
        found = await _token_store(settings).revoke(change.connection, name, now_ms)
        if found.revoked_at_ms is None:
            await _record(settings, change, "revoke-token", found.scope, name, now_ms)

    await _changed(settings, act)


async def _record(settings: ServiceSettings, change: Change, action: str, scopes: str, name: str, now_ms: int) -> None:
    """Put it into the record of actions and, at the leader, into the public log, without the token's id."""
    from aggregator.storage.actions import COMMAND_LINE, Action, ActionStore

    done = Action("", COMMAND_LINE, scopes, action, name, "done", now_ms)
    await ActionStore(_metadata(settings)).append(change.connection, done)
    if _schema(settings) == "leader":
        from aggregator.errors import StoreCorrupt
        from aggregator.leader.actions import append_action
        from aggregator.storage.backup import is_marked

        if is_marked(settings.directory):
            raise StoreCorrupt("the store was restored: start the leader first, its log may lack entries")
        await append_action(change.connection, done)


async def _changed(settings: ServiceSettings, act: Callable[[Change], Awaitable[Result]]) -> Result:
    database = await _opened(settings)
    try:
        return await database.change(act)
    finally:
        await database.close()


async def _opened(settings: ServiceSettings) -> Database:
    from aggregator.storage.database import Database

    database = Database(settings.url())
    await database.open(_schema(settings))
    return database


def _settings(directory: Path) -> ServiceSettings:
    """The settings of whichever service has this folder: the helper's name the leader's key."""
    from aggregator.commands.parties import settings_of

    return settings_of(directory)


def _schema(settings: ServiceSettings) -> str:
    from aggregator.settings import HelperSettings

    return "helper" if isinstance(settings, HelperSettings) else "leader"


def _metadata(settings: ServiceSettings) -> Any:
    from aggregator.storage import helper_tables, leader_tables

    return helper_tables.METADATA if _schema(settings) == "helper" else leader_tables.METADATA


def _token_store(settings: ServiceSettings) -> Any:
    from aggregator.storage.tokens import TokenStore

    return TokenStore(_metadata(settings))


def _day(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC).date().isoformat()
