"""Rounds that nobody asked about in time: their keys are destroyed, so that no seal of theirs ever opens.

The same look destroys wrapping keys that a crash left behind, and gives the store's scrub another try.
"""

from __future__ import annotations

import asyncio

from aggregator.helper.office import Office
from aggregator.logs import failure
from aggregator.storage.database import Change
from aggregator.storage.helper_tables import EXPIRED

_PAUSE_SECONDS = 60.0
FOR_EVER_MS = 2**62


async def destroy_expired(office: Office) -> int:
    """Destroy keys and noise secrets of unanswered rounds whose grace is over; returns how many there were."""
    before_ms = office.clock.now_ms() - int(office.settings.round_key_seconds * 1_000)

    async def act(change: Change) -> int:
        oldest_ms = office.clock.now_ms() - office.settings.withdrawal_retention_seconds * 1_000
        await office.store.drop_old_withdrawals(change.connection, oldest_ms)
        names = await office.store.expire_rounds(change.connection, before_ms, EXPIRED)
        change.then(lambda: office.vault.destroy_soon(names))
        return len(names)

    destroyed = await office.database.change(act)
    if destroyed:
        office.log.info("round keys destroyed", rounds=destroyed)
    if destroyed or office.database.scrub_owed:
        await office.database.scrub()
    return destroyed


async def tidy(office: Office, change: Change) -> None:
    """Bring wrapping keys and rounds into line: a key without a round goes, a round without its key is over."""
    live, there = await office.store.live_keys(change.connection), office.vault.names()
    if lost := live - there:
        await office.store.expire_rounds(change.connection, FOR_EVER_MS, EXPIRED, lost)
        office.log.error("wrapping keys missing", rounds=len(lost), meaning="these rounds are never answered")
    if over := there - live:
        change.then(lambda: office.vault.destroy_soon(over))
        office.log.info("wrapping keys left over", keys=len(over))


async def watch(office: Office) -> None:
    """Destroy what has expired, now and every minute. Run for as long as the service is up."""
    while True:
        try:
            await destroy_expired(office)
            await office.database.change(lambda change: tidy(office, change))
        except Exception as error:  # noqa: BLE001 - a store that fails now is asked again; the service goes on
            office.log.error("round keys not destroyed", **failure(error))  # noqa: TRY400 - texts may quote input
        await asyncio.sleep(_PAUSE_SECONDS)
