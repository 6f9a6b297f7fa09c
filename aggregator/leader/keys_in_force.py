"""Whose signatures count, as the log tells it: an entry whenever the leader finds that a key in force has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aggregator.leader.desk import Desk
from aggregator.storage.database import Change
from models.wire.log import KeysInForce

_LOGGED = "keys-logged"


async def note_keys(desk: Desk) -> None:
    """Log the keys in force, unless the last entry about them says the same. Run at the start, and now and then."""
    keys = _present(desk)
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


def _present(desk: Desk) -> KeysInForce:
    settings = desk.settings
    return KeysInForce(
        leader=desk.key.verify_key.raw.hex(),
        helper=settings.helper_verify_key().raw.hex(),
        officers=tuple(sorted(key.raw.hex() for key in settings.officer_keys())),
        tuf_root=_newest_root(desk.publisher.distribution.metadata_dir),
        at_ms=desk.clock.now_ms(),
    )


def _newest_root(folder: Path) -> str | None:
    """SHA-256 of the root metadata with the highest version."""
    names = [path for path in folder.glob("*.root.json") if path.name.split(".")[0].isdecimal()]
    if not names:
        return None
    newest = max(names, key=lambda path: int(path.name.split(".")[0]))
    return hashlib.sha256(newest.read_bytes()).hexdigest()
