"""Receipts are not kept for ever: what was proof of a consent is forgotten, so many days after the consent ended.

A device's receipts and its enrolment go together, and no earlier than the longest validity of a yes after the last one
ended: no receipt that was ever taken in could be taken in again by then, although its epoch is forgotten. A device that
comes back enrols anew, with the same key if it likes, and everything is off until it says yes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.database import Change
from consent.receipts import DAY_SECONDS

if TYPE_CHECKING:
    from aggregator.leader.desk import Desk

_LOOKED_AT: Final = "receipts-looked-at"
_PART: Final = 2_000
"""Devices whose time is up that one step looks at, and deletes: no request waits for long."""
_LOOKED_UP: Final = 256
_LONGEST_GAP_SECONDS: Final = 30 * DAY_SECONDS


class Forgetting:
    """The daily round over all devices, in small steps.

    Args:
        desk: the leader's.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._left: list[bytes] = []

    async def step(self) -> int:
        """Look at a part of the devices, once a day at each; returns how many were forgotten. Run every minute."""
        if not self._left and await self._is_due():
            async with self._desk.database.reading() as connection:
                self._left = await self._desk.store.ended_devices(connection, self._before())
        part = self._left[-_PART:]
        del self._left[-_PART:]
        if not part:
            return 0

        async def act(change: Change) -> int:
            return await self._forget(change, part)

        forgotten = await self._desk.database.change(act)
        await self._desk.database.scrub()
        self._desk.log.info("receipts of ended consents forgotten", devices=forgotten)
        return forgotten

    async def _is_due(self) -> bool:
        """Whether a day has passed since the last round.

        A clock that jumped by a month or more is not believed for a day: set right by then, it has deleted nothing.
        """
        ledger, now = self._desk.store.ledger, self._desk.clock.now_seconds()

        async def look(change: Change) -> bool:
            found = await ledger.fact(change.connection, _LOOKED_AT)
            passed = -1 if found is None else now - int(found)
            if 0 <= passed < DAY_SECONDS:
                return False
            await ledger.set_fact(change.connection, _LOOKED_AT, str(now).encode())
            return 0 <= passed <= _LONGEST_GAP_SECONDS

        return await self._desk.database.change(look)  # a change is finished even where the service stops meanwhile

    async def _forget(self, change: Change, part: list[bytes]) -> int:
        """Under the store's lock: a device may have answered since the first look."""
        desk = self._desk
        gone = await self._over(change.connection, part)
        await desk.store.forget_devices(change.connection, gone)
        for device_id in gone:
            desk.register.endings.forgotten(change, device_id)
        change.then(lambda: desk.metrics.devices.dec(len(gone)))
        return len(gone)

    async def _over(self, connection: AsyncConnection, part: list[bytes]) -> list[bytes]:
        """Those whose consent ended long enough ago, by what stands."""
        found: list[bytes] = []
        for start in range(0, len(part), _LOOKED_UP):
            devices = await self._desk.register.find(connection, part[start : start + _LOOKED_UP])
            found += [name for name, device in devices.items() if device.ended_at <= self._before()]
        return found

    def _before(self) -> int:
        """Unix seconds: what ended then or earlier is over."""
        return self._desk.clock.now_seconds() - self._desk.settings.receipt_retention_days * DAY_SECONDS
