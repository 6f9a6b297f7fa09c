"""Rounds that nobody asked about in time: their keys are destroyed, so that no seal of theirs ever opens."""

from __future__ import annotations

import asyncio

from aggregator.helper.office import Office
from aggregator.logs import failure
from aggregator.storage.database import Change

EXPIRED = "expired"
_PAUSE_SECONDS = 60.0


async def destroy_expired(office: Office) -> int:
    """Destroy keys and noise secrets of unanswered rounds whose grace is over; returns how many there were."""
    before_ms = office.clock.now_ms() - int(office.settings.round_key_seconds * 1_000)

    async def act(change: Change) -> int:
        return await office.store.expire_rounds(change.connection, before_ms, EXPIRED)

    destroyed = await office.database.change(act)
    if destroyed:
        await office.database.scrub()
        office.log.info("round keys destroyed", rounds=destroyed)
    return destroyed


async def watch(office: Office) -> None:
    """Destroy what has expired, now and every minute. Run for as long as the service is up."""
    while True:
        try:
            await destroy_expired(office)
        except Exception as error:  # noqa: BLE001 - a store that fails now is asked again; the service goes on
            office.log.error("round keys not destroyed", **failure(error))  # noqa: TRY400 - texts may quote input
        await asyncio.sleep(_PAUSE_SECONDS)
