"""What is put in order while the service runs: left-over keys and files, a scrub that met a reader, old receipts.

A crash leaves wrapping keys and files of reports of rounds that are over; ``forgetting`` says which receipts go, and
when. The worker that has the duty does it, for all.
"""

from __future__ import annotations

import asyncio

from aggregator.leader import bundles, continuity
from aggregator.leader.desk import Desk
from aggregator.leader.forgetting import Forgetting
from aggregator.leader.keys_in_force import note_keys
from aggregator.logs import failure
from aggregator.storage.database import Change

_PAUSE_SECONDS = 60.0


async def tidy(desk: Desk) -> None:
    """Remove wrapping keys and files of reports that no round under way names; give the store's scrub another try.

    Raises:
        LeaseLost: another worker has the duty.
    """
    if not desk.duty.held:
        return

    async def act(change: Change) -> set[int]:
        await desk.duty.require(change.connection)
        under_way = {row.round_id for row in await desk.store.unfinished_rounds(change.connection)}
        if over := desk.vault.names() - await desk.store.live_keys(change.connection):
            change.then(lambda: desk.vault.destroy_soon(over))
            desk.log.info("wrapping keys left over", keys=len(over))
        return desk.store.report_bytes.rounds() - under_way  # in a change: no round begins meanwhile

    await desk.store.report_bytes.remove(await desk.database.change(act))
    if desk.database.scrub_owed:
        await desk.database.scrub()


async def watch(desk: Desk) -> None:
    """Tidy up now and every minute. Run for as long as the service is up."""
    forgetting = Forgetting(desk)
    while True:
        try:
            await tidy(desk)
            if may_append := await continuity.may_append(desk):
                await note_keys(desk)
            if desk.duty.held:
                await forgetting.step()
            async with desk.database.reading() as connection:
                desk.metrics.devices.set(await desk.store.device_count(connection))
            if desk.duty.held and may_append:
                await bundles.keep_fresh(desk)
        except Exception as error:  # noqa: BLE001 - a store that fails now is asked again; the service goes on
            desk.log.error("not tidied up", **failure(error))  # noqa: TRY400 - texts may quote input
        await asyncio.sleep(_PAUSE_SECONDS)
