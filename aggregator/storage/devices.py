"""Devices and their consent at the leader: what is looked up for a request, one query for each batch of up to 256."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.leader_tables import consent_rows, device_keys, devices, grants, nonces, reports

Record = Row[Any]
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class KnownKey:
    """Whose key it is.

    Attributes:
        device_id: the device's.
        current: it is the device's key of now; False for one that was replaced.
        revoked: the device was revoked.
    """

    device_id: bytes
    current: bool = False
    revoked: bool = False


class DeviceStore:
    """Queries about devices, their consent rows and what stands of them."""

    async def devices_named(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> list[Record]:
        """Those of these devices that are enrolled, with what stands of their consent."""
        return list((await connection.execute(select(devices).where(devices.c.device_id.in_(device_ids)))).all())

    async def known_keys(self, connection: AsyncConnection, keys: Sequence[bytes]) -> dict[bytes, KnownKey]:
        """Whose these keys are or were, of those that were ever enrolled."""
        present = select(devices.c.device_key, devices.c.device_id, devices.c.revoked_at_ms)
        known = {
            row.device_key: KnownKey(row.device_id, current=True, revoked=row.revoked_at_ms is not None)
            for row in await connection.execute(present.where(devices.c.device_key.in_(keys)))
        }
        former = select(device_keys.c.device_key, device_keys.c.device_id).where(device_keys.c.device_key.in_(keys))
        return known | {row.device_key: KnownKey(row.device_id) for row in await connection.execute(former)}

    async def former_keys(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> dict[bytes, list[Record]]:
        """The keys that these devices had before, oldest first, with what was signed of each change."""
        found: dict[bytes, list[Record]] = {}
        query = select(device_keys).where(device_keys.c.device_id.in_(device_ids))
        for row in await connection.execute(query.order_by(device_keys.c.device_id, device_keys.c.position)):
            found.setdefault(row.device_id, []).append(row)
        return found

    async def replace_key(
        self, connection: AsyncConnection, device_id: bytes, old: bytes, new: bytes, rotation: str, at_ms: int
    ) -> None:
        """Give a device another key, and keep the one that it had."""
        here = devices.c.device_id == device_id
        position = int((await connection.execute(select(devices.c.rotations).where(here))).scalar_one())
        values = {
            "device_key": old,
            "device_id": device_id,
            "position": position,
            "replaced_at_ms": at_ms,
            "rotation": rotation,
        }
        await connection.execute(device_keys.insert().values(values))
        await connection.execute(update(devices).where(here).values(device_key=new, rotations=position + 1))

    async def revoke_device(self, connection: AsyncConnection, device_id: bytes, at_ms: int) -> None:
        """Mark a device as gone: it counts for nothing from now on."""
        here = devices.c.device_id == device_id
        values = {"revoked_at_ms": at_ms, "ended_at": at_ms // 1_000}
        await connection.execute(update(devices).where(here).values(values))
        await connection.execute(delete(grants).where(grants.c.device_id == device_id))

    async def report_rounds(self, connection: AsyncConnection, device_id: bytes) -> int:
        """In how many rounds a report of a device waits."""
        query = select(func.count()).select_from(reports).where(reports.c.device_id == device_id)
        return int((await connection.execute(query)).scalar_one())

    async def consent_row_count(self, connection: AsyncConnection, device_id: bytes) -> int:
        """How many consent rows a device has."""
        query = select(func.count()).select_from(consent_rows).where(consent_rows.c.device_id == device_id)
        return int((await connection.execute(query)).scalar_one())

    async def device_count(self, connection: AsyncConnection) -> int:
        """How many devices are enrolled."""
        return int((await connection.execute(select(func.count()).select_from(devices))).scalar_one())

    async def devices_after(self, connection: AsyncConnection, device_id: bytes, count: int) -> list[Record]:
        """The next devices by id, for a walk over all of them; begin with ``b""``."""
        query = select(devices).where(devices.c.device_id > device_id).order_by(devices.c.device_id).limit(count)
        return list((await connection.execute(query)).all())

    async def add_devices(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Store devices."""
        if rows:
            await connection.execute(devices.insert(), list(rows))

    async def ended_devices(self, connection: AsyncConnection, before: int) -> list[bytes]:
        """Devices whose consent had ended by this time (Unix seconds)."""
        return list(
            (await connection.execute(select(devices.c.device_id).where(devices.c.ended_at <= before))).scalars()
        )

    async def forget_devices(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> None:
        """Delete devices and everything of their consent; the store overwrites the bytes."""
        for start in range(0, len(device_ids), _CHUNK):
            part = device_ids[start : start + _CHUNK]
            for table in (grants, consent_rows, device_keys, devices):
                await connection.execute(delete(table).where(table.c.device_id.in_(part)))

    # Consent

    async def consent_rows(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> AsyncIterator[Record]:
        """Every consent row of these devices, by device and in order."""
        query = select(consent_rows).where(consent_rows.c.device_id.in_(device_ids))
        for row in await connection.execute(query.order_by(consent_rows.c.device_id, consent_rows.c.row_index)):
            yield row

    async def last_rows(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> dict[bytes, Record]:
        """The last consent row of each of these devices that has any."""
        here = consent_rows.c.device_id.in_(device_ids)
        newest = (
            select(consent_rows.c.device_id, func.max(consent_rows.c.row_index).label("newest"))
            .where(here)
            .group_by(consent_rows.c.device_id)
            .subquery()
        )
        joined = (consent_rows.c.device_id == newest.c.device_id) & (consent_rows.c.row_index == newest.c.newest)
        found = await connection.execute(select(consent_rows).join(newest, joined))
        return {row.device_id: row for row in found}

    async def add_consent_rows(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Append consent rows."""
        if rows:
            await connection.execute(consent_rows.insert(), list(rows))

    async def set_standings(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        """Remember what stands: ``device_id``, ``person``, ``standing``, ``seal`` and ``ended_at`` of each device."""
        if rows:
            names = ("person", "standing", "seal", "ended_at")
            change = update(devices).where(devices.c.device_id == bindparam("of_device"))
            change = change.values({name: bindparam(f"new_{name}") for name in names})
            values = [{"of_device": row["device_id"], **{f"new_{name}": row[name] for name in names}} for row in rows]
            await connection.execute(change, values)

    async def replace_grants(
        self, connection: AsyncConnection, device_ids: Sequence[bytes], rows: Sequence[dict[str, Any]]
    ) -> None:
        """Count these grants, and none of these devices' that were counted before."""
        for start in range(0, len(device_ids), _CHUNK):
            await connection.execute(delete(grants).where(grants.c.device_id.in_(device_ids[start : start + _CHUNK])))
        if rows:
            await connection.execute(grants.insert(), list(rows))

    async def grants_of(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> set[tuple[Any, ...]]:
        """What is counted of these devices: (device id, purpose, version, expiry)."""
        found = await connection.execute(select(grants).where(grants.c.device_id.in_(device_ids)))
        return {tuple(row) for row in found}

    async def grant_count(self, connection: AsyncConnection, purpose: str, version: int, now: int) -> int:
        """How many devices have granted a version of a purpose, and the grant has not run out (Unix seconds)."""
        here = (grants.c.purpose == purpose) & (grants.c.version == version) & (grants.c.expires_at > now)
        return int((await connection.execute(select(func.count()).select_from(grants).where(here))).scalar_one())

    # Nonces

    async def used_nonces(self, connection: AsyncConnection, asked: Sequence[bytes]) -> set[bytes]:
        """Which of these nonces were used."""
        return set((await connection.execute(select(nonces.c.nonce).where(nonces.c.nonce.in_(asked)))).scalars())

    async def add_nonces(self, connection: AsyncConnection, fresh: Sequence[bytes], at_ms: int, before_ms: int) -> None:
        """Remember nonces, and forget those whose time window is over."""
        await connection.execute(delete(nonces).where(nonces.c.at_ms < before_ms))
        if fresh:
            await connection.execute(nonces.insert(), [{"nonce": nonce, "at_ms": at_ms} for nonce in fresh])
