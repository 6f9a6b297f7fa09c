"""A leader goes on with its log only where nobody has seen a longer one: else it would write a second history.

A store that was put back has yesterday's log. The helper knows today's, so it is asked before anything is appended: at
every start, and whenever a proof does not lead from what it knows. While the log is *held back* (a fact of the store,
so it holds for every worker and for the command line) every change that would append is refused with ``log-unproven``,
and no study runs. It ends when the helper's tree is a beginning of the one here: ``log restore`` has put entries back.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.leader.desk import Desk
from aggregator.leader.keys_in_force import note_keys
from aggregator.logs import failure
from aggregator.storage.database import Change
from aggregator.storage.log import hold_back, is_held_back
from models.wire.log import KnownLog
from models.wire.problems import ProblemError

_PATIENCE_SECONDS: Final = 5.0
"""How long a start waits for the helper's word."""


async def may_append(desk: Desk) -> bool:
    """Whether the log may grow, by the store's word."""
    async with desk.database.reading() as connection:
        return not await is_held_back(connection)


async def compare(desk: Desk) -> bool:
    """Ask the helper what it has seen of the log, and hold the log back or let it go; returns whether it may grow.

    A helper that does not answer changes nothing: what was held back stays so.
    """
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            known = await desk.helper.known_log()
    except (ProblemError, TimeoutError):
        return await may_append(desk)

    async def act(change: Change) -> bool:
        continued = await _continues(desk, change.connection, known)
        await hold_back(change.connection, held=not continued)
        return continued

    async with desk.database.reading() as connection:
        continued, held = await _continues(desk, connection, known), await is_held_back(connection)
    if continued != held:
        return continued  # as almost always: nothing to change
    continued = await desk.database.change(act)
    if continued:
        desk.log.info("log continued", entries=desk.ledger_log.size)
    else:
        meaning = "the helper has seen other entries: put them back with 'log restore'; until then no study runs"
        desk.log.error("log held back", entries=desk.ledger_log.size, seen=known.size, meaning=meaning)
    return continued


async def watch(desk: Desk) -> None:
    """While the log is held back, ask again. Run for as long as the service is up; whoever has the duty does it."""
    while True:
        await asyncio.sleep(desk.settings.helper_retry_seconds)
        try:
            if desk.duty.held and not await may_append(desk) and await compare(desk):
                await note_keys(desk)
        except Exception as error:  # noqa: BLE001 - a store that fails now is asked again; the service goes on
            desk.log.error("not compared with the helper's log", **failure(error))  # noqa: TRY400 - texts may quote input


async def _continues(desk: Desk, connection: AsyncConnection, known: KnownLog) -> bool:
    await desk.ledger_log.catch_up(connection)
    return desk.ledger_log.begins_with(known)
