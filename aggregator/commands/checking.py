"""``hearthside-aggregator check``: what the leader looks up, held against what it recorded."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from aggregator.commands.calling import show_document
from aggregator.commands.options import Folder
from aggregator.errors import StoreCorrupt


def check(directory: Folder) -> None:
    """Replay every device's consent chain row by row, and compare what stands and what is counted. Changes nothing."""
    from aggregator.settings import LeaderSettings

    found = asyncio.run(_audited(LeaderSettings.read(directory)))
    show_document(found)
    if found["faults"]:
        raise StoreCorrupt(f"{len(found['faults'])} faults in the consent of {found['devices']} devices; see above")


async def _audited(settings: Any) -> dict[str, Any]:
    from aggregator.leader.auditing import audit
    from aggregator.leader.register import Register
    from aggregator.logs import service_log
    from aggregator.storage.database import Database
    from aggregator.storage.endings import ENDINGS_FILE
    from aggregator.storage.leader import LeaderStore

    database, store = Database(settings.url()), LeaderStore()
    endings = settings.directory / ENDINGS_FILE
    register = Register(settings.signing_key(), settings.site, store, service_log("leader", "error"), endings)
    try:
        await database.open("leader")
        async with database.reading() as connection:
            return asdict(await audit(connection, store, register))
    finally:
        await database.close()
