"""Which process answers a round: the store names it, for a few seconds at a time.

A process that is handed a batch that another one is working on waits for its answer, and takes over where that one died
or stopped. This saves work, and nothing rests on it: two processes that did open the same seals would derive the same
noise from what was marked, and store the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from aggregator.helper.office import Office
from aggregator.storage.database import Change
from aggregator.storage.helper import Record
from aggregator.storage.helper_tables import MARKED

_HOLD_MS: Final = 15_000
"""How long a claim lasts; it is said again three times within that."""
_LOOK_SECONDS: Final = 0.1


def claim(office: Office) -> dict[str, Any]:
    """Values of a round that this process answers from now on."""
    return {"answering": office.worker, "answering_until_ms": office.clock.now_ms() + _HOLD_MS}


def is_elsewhere(office: Office, known: Record) -> bool:
    """Whether another process is answering this round."""
    if known.answering is None or known.answering == office.worker:
        return False
    # A claim from far ahead was made by a clock that was wrong: it would keep everybody waiting.
    left_ms = known.answering_until_ms - office.clock.now_ms()
    return bool(0 < left_ms <= 2 * _HOLD_MS)


async def wait(office: Office, study_hash: bytes, number: int) -> None:
    """Until the process that holds a round has answered it, has let it go, or is not heard of any more."""
    while True:
        async with office.database.reading() as connection:
            known = await office.store.round(connection, study_hash, number)
        if known is None or known.state != MARKED or not is_elsewhere(office, known):
            return
        await asyncio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def held(office: Office, round_id: int) -> AsyncIterator[None]:
    """Say again and again that this process is at the round, and let it go where it could not be answered."""
    saying = asyncio.create_task(_keep_saying(office, round_id), name="holding a round")
    try:
        yield
    except BaseException:
        with suppress(SQLAlchemyError, OSError):  # a store that is gone as well: the claim runs out by itself
            await office.database.change(lambda change: office.store.let_go(change.connection, round_id, office.worker))
        raise
    finally:
        saying.cancel()


async def _keep_saying(office: Office, round_id: int) -> None:
    async def act(change: Change) -> None:
        until_ms = office.clock.now_ms() + _HOLD_MS
        await office.store.hold(change.connection, round_id, office.worker, until_ms)

    while True:
        await asyncio.sleep(_HOLD_MS / 3_000)
        with suppress(SQLAlchemyError, OSError):  # tried again; a claim that ran out costs work and nothing else
            await office.database.change(act)
