"""Whose signatures count, as the log tells it: an entry whenever the leader finds that a key in force has changed."""

from __future__ import annotations

import asyncio
import hashlib

from aggregator.leader.desk import Desk
from aggregator.leader.distribution import Named
from aggregator.storage.database import Change
from models.wire.log import KeysInForce
from models.wire.problems import ProblemError

_LOGGED = "keys-logged"


async def note_keys(desk: Desk) -> None:
    """Log the keys in force, unless the last entry about them says the same. Run at the start, and now and then."""
    try:
        named = await asyncio.to_thread(desk.publisher.distribution.keys_in_force)
    except ProblemError as problem:
        desk.log.error("bundle repository does not verify", meaning=problem.detail)  # noqa: TRY400 - our own words
        return
    keys = _present(desk, named)
    digest = hashlib.sha256(keys.model_copy(update={"at_ms": 0}).canonical()).digest()
    async with desk.database.reading() as connection:
        if await desk.store.ledger.fact(connection, _LOGGED) == digest:
            return

    async def act(change: Change) -> None:
        if await desk.store.ledger.fact(change.connection, _LOGGED) == digest:
            return  # another worker was first
        await desk.ledger_log.append(change, "keys", keys.canonical())
        await desk.store.ledger.set_fact(change.connection, _LOGGED, digest)
        change.then(desk.board.refresh)

    await desk.database.change(act)


def _present(desk: Desk, named: Named | None) -> KeysInForce:
    settings = desk.settings
    return KeysInForce(
        leader=desk.key.verify_key.raw.hex(),
        helper=settings.helper_verify_key().raw.hex(),
        officers=tuple(sorted(key.raw.hex() for key in settings.officer_keys())),
        tuf_root=named.root_sha256.hex() if named is not None else None,
        tuf_online=named.online.raw.hex() if named is not None else None,
        tuf_publishing=named.publishing.raw.hex() if named is not None and named.publishing is not None else None,
        at_ms=desk.clock.now_ms(),
    )
