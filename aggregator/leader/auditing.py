"""Consent as it stands at the leader, held against its rows: written once for an older store, audited at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import StoreCorrupt
from aggregator.leader.register import Device, Register, counted
from aggregator.storage.database import Change
from aggregator.storage.devices import Record
from aggregator.storage.leader import LeaderStore
from consent.errors import LedgerFaulty
from privacy.crypto import VerifyKey

_WRITTEN: Final = "standings-of-key"
_PART: Final = 256
_NAME_CHARACTERS: Final = 16


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        devices: how many are enrolled.
        rows: how many consent rows were replayed.
        faults: one line each, naming the device and what does not hold.
    """

    devices: int = 0
    rows: int = 0
    faults: list[str] = field(default_factory=list)


async def write_standings(change: Change, store: LeaderStore, register: Register, key: VerifyKey) -> int:
    """Write what stands of each device, once for a store that has only rows; returns how many devices had any.

    Raises:
        StoreCorrupt: a chain does not verify, or the store was kept under another key.
    """
    known = await store.ledger.fact(change.connection, _WRITTEN)
    if known == key.raw:
        return 0
    if known is not None:
        kept = VerifyKey(known).fingerprint
        raise StoreCorrupt(f"the store was kept under leader key {kept}; expected {key.fingerprint}")
    written = 0
    async for rows in _parts(change.connection, store):
        devices = [item for item in (await register.replayed(change.connection, rows)).values() if item.consent]
        for device in devices:
            if device.consent is not None and device.consent.fault is not None:
                raise StoreCorrupt(f"a consent chain does not verify: {device.consent.fault}")
        await register.remember(change.connection, devices, [])
        written += len(devices)
    await store.ledger.set_fact(change.connection, _WRITTEN, key.raw)
    return written


async def audit(connection: AsyncConnection, store: LeaderStore, register: Register) -> Audit:
    """Replay every chain row by row, and hold what stands and what is counted against it. Changes nothing."""
    found = Audit()
    async for rows in _parts(connection, store):
        replayed = await register.replayed(connection, rows)
        counts = await store.grants_of(connection, [row.device_id for row in rows])
        for row, bare in await register.bare(connection, rows):
            device = replayed[row.device_id]
            found.devices += 1
            found.rows += 0 if device.consent is None else device.consent.length
            own = {item for item in counts if item[0] == row.device_id}
            found.faults += [f"device {_name(row)}: {fault}" for fault in _faults(register, row, bare, device, own)]
    return found


def _faults(
    register: Register, row: Record, bare: Device, device: Device, counts: set[tuple[object, ...]]
) -> list[str]:
    if device.consent is not None and device.consent.fault is not None:
        return [device.consent.fault]
    faults = []
    try:
        if register.read(row, bare).consent != device.consent:
            faults.append("what stands is not what its rows say")
    except LedgerFaulty as fault:
        faults.append(str(fault))
    if counts != {tuple(item.values()) for item in counted(device)}:
        faults.append("what is counted is not what its rows say")
    return faults


def _name(row: Record) -> str:
    return str(row.device_id.hex()[:_NAME_CHARACTERS])


async def _parts(connection: AsyncConnection, store: LeaderStore) -> AsyncIterator[list[Record]]:
    """All devices, by id, a part at a time."""
    last = b""
    while rows := await store.devices_after(connection, last, _PART):
        yield rows
        last = rows[-1].device_id
