"""``hearthside-aggregator token``: what opens the leader's routes."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

import typer

from aggregator.commands.options import NAME, Folder, group

app = group("API tokens of the leader, hashed at rest, scoped, expiring.", "token create --dir leader --scope analyst")


@app.command("create", epilog=f"Example: {NAME} token create --dir leader --scope enrol --uses 2000 --days 30")
def create_token(
    directory: Folder,
    scope: Annotated[Literal["analyst", "operator", "auditor", "enrol"], typer.Option(help="What it opens.")],
    label: Annotated[str, typer.Option(help="What you call it.")] = "",
    days: Annotated[float, typer.Option(min=0.001, max=3_660, help="Days until it expires.")] = 30,
    uses: Annotated[int | None, typer.Option(min=1, help="Most enrolments with it (scope enrol).")] = None,
) -> None:
    """Make a token and print it once; only its digest is stored."""
    from aggregator.settings import LeaderSettings

    if uses is not None and scope != "enrol":
        raise typer.BadParameter("--uses is for scope enrol")
    print(asyncio.run(_create_token(LeaderSettings.read(directory), scope, label, days, uses)))


async def _create_token(settings: Any, scope: str, label: str, days: float, uses: int | None) -> str:
    from aggregator.storage.database import Database
    from aggregator.storage.tokens import create_token as store_token

    database, now_ms = Database(settings.url()), int(time.time() * 1_000)
    expires_at_ms = now_ms + int(days * 86_400_000)
    await database.open("leader")
    try:
        return await database.change(
            lambda change: store_token(change.connection, scope, now_ms, expires_at_ms, label=label, uses=uses)
        )
    finally:
        await database.close()
