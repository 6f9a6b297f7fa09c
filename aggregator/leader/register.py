"""Devices and their consent, looked up in the store for each request; nothing of them is kept in memory.

Beside its consent rows the store keeps what stands of a device's consent, as verified when its last receipt was taken
in: one row to read, whatever the length of the chain. The standing is sealed under a secret that follows from the
leader's key, which is not in the store. A standing that was edited, made up or does not fit the last row is not
believed: the device's rows are replayed instead, and if they do not verify either, nothing is granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.service import Log
from aggregator.storage.devices import DeviceStore, Record
from aggregator.storage.endings import Endings
from consent.errors import LedgerFaulty
from consent.ledger import distrust, open_ledger, replay
from consent.policy import decide
from consent.purposes import PURPOSES
from consent.rows import Row
from consent.signals.facts import NO_SIGNALS
from consent.standing import check_seal, read_standing, seal_standing, write_standing
from consent.state import ConsentState, Parties
from privacy.crypto import SigningKey, VerifyKey, digest


@dataclass(frozen=True, slots=True)
class Device:
    """One enrolled device key; behind a gateway, one person's profile."""

    device_id: bytes
    key: VerifyKey
    enrolled_at: int
    """Unix seconds."""
    consent: ConsentState | None = None
    """None until the first receipt, which names the person."""
    former_keys: tuple[VerifyKey, ...] = ()
    """Those that it had before, oldest first: a withdrawal that one of them signed is honoured."""
    revoked_at: int | None = None
    """Unix seconds; None while it counts."""
    least_epoch: int = 0
    """What stood in an earlier epoch was taken back since, whatever the store says."""

    @property
    def ended_at(self) -> int:
        """Unix seconds from which nothing here is anybody's consent any more; ahead while a yes stands.

        That is the last answer, or the time at which the last yes runs out. Without any answer, the enrolment.
        """
        if self.revoked_at is not None:
            return self.revoked_at
        if self.consent is None:
            return self.enrolled_at
        return max(self.enrolled_at, self.consent.recorded_at, *(yes.expires_at for yes in self.consent.granted))

    def allowed(self, purpose: str, epoch: int, now: int) -> bool:
        """The gate *accept*: consent in force for the purpose, in the epoch that the report was made under."""
        state = self.consent
        if self.revoked_at is not None or epoch < self.least_epoch:
            return False
        return state is not None and state.epoch == epoch and decide("accept", purpose, state, NO_SIGNALS, now).allowed


class Register:
    """Every device, and for each purpose how many have consent in force.

    Args:
        key: the leader's; standings are sealed under it.
        site: whose consent it is.
        store: where devices, rows and standings are.
        log: where the operator reads that a standing was not believed.
        endings: the file in which what ended for good lies beside the store.
    """

    def __init__(self, key: SigningKey, site: str, store: DeviceStore, log: Log, endings: Path) -> None:
        self._leader_key = key.verify_key
        self._secret = digest("consent-standings", key.seed())
        self._site = site
        self._store = store
        self._log = log
        self.endings = Endings(endings, digest("endings", key.seed()))

    def __repr__(self) -> str:
        return f"Register({self._site!r})"

    def parties(self, device: Device, person: str) -> Parties:
        """Between whom a device's consent is given."""
        return Parties(device.key, self._leader_key, self._site, person, device.former_keys)

    def consent_of(self, device: Device, person: str) -> ConsentState:
        """What stands for a device; nothing before its first receipt."""
        return device.consent or open_ledger(self.parties(device, person))

    async def find(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> dict[bytes, Device]:
        """Those of these devices that are enrolled, with what stands. One query for all."""
        rows = await self._named(connection, device_ids)
        return {row.device_id: await self._device(connection, row, bare) for row, bare in rows}

    async def find_with_rows(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> dict[bytes, Device]:
        """As ``find``, and each standing is held against its chain's last row: for a receipt that goes on from it."""
        rows = await self._named(connection, device_ids)
        last = await self._store.last_rows(connection, device_ids)
        return {
            row.device_id: await self._device(connection, row, bare, last.get(row.device_id), chained=True)
            for row, bare in rows
        }

    async def remember(self, connection: AsyncConnection, devices: Sequence[Device], fresh: Sequence[bytes]) -> None:
        """Store what stands of these devices, beside the rows that it follows from.

        Args:
            connection: of the change that stores the rows.
            devices: as they are now.
            fresh: those of them of which nothing was counted before.
        """
        await self._store.set_standings(connection, [self._sealed(device) for device in devices])
        known = [device.device_id for device in devices if device.device_id not in fresh]
        await self._store.replace_grants(connection, known, [row for device in devices for row in counted(device)])

    async def consenting(self, connection: AsyncConnection, purpose: str, now: int) -> int:
        """How many devices have consent for a purpose in force (presence: outside the contract)."""
        declared = PURPOSES.find(purpose)
        return 0 if declared is None else await self._store.grant_count(connection, purpose, declared.version, now)

    def read(self, row: Record, bare: Device) -> Device:
        """A stored device with its sealed standing, and no look at its rows.

        Raises:
            LedgerFaulty: the standing is not the one that was sealed.
        """
        if row.standing is None:
            return bare
        parties = self.parties(bare, row.person or "")
        check_seal(self._secret, parties, row.standing, row.seal or b"")
        return replace(bare, consent=read_standing(parties, row.standing))

    async def bare(self, connection: AsyncConnection, rows: Sequence[Record]) -> list[tuple[Record, Device]]:
        """Stored devices with their keys, and nothing of their consent. One more query where keys were replaced."""
        rotated = [row.device_id for row in rows if row.rotations]
        former = await self._store.former_keys(connection, rotated) if rotated else {}
        return [(row, self._ended(_bare(row, former.get(row.device_id, ())))) for row in rows]

    async def replayed(self, connection: AsyncConnection, rows: Sequence[Record]) -> dict[bytes, Device]:
        """Stored devices, each with what its rows say, verified one by one; a fault is in the state."""
        chains: dict[bytes, tuple[str, list[bytes]]] = {}
        async for row in self._store.consent_rows(connection, [row.device_id for row in rows]):
            chains.setdefault(row.device_id, (row.person, []))[1].append(row.body)
        found = await self.bare(connection, rows)
        return {row.device_id: self._replayed(bare, chains.get(row.device_id)) for row, bare in found}

    async def _named(self, connection: AsyncConnection, device_ids: Sequence[bytes]) -> list[tuple[Record, Device]]:
        return await self.bare(connection, await self._store.devices_named(connection, device_ids))

    def _ended(self, device: Device) -> Device:
        """The device as it is by the file beside the key, too: the store may have been put back, or edited."""
        at_ms, least = self.endings.revoked_at_ms(device.device_id), self.endings.least_epoch(device.device_id)
        revoked_at = at_ms // 1_000 if device.revoked_at is None and at_ms is not None else device.revoked_at
        if (revoked_at, least) == (device.revoked_at, device.least_epoch):
            return device
        return replace(device, revoked_at=revoked_at, least_epoch=least)

    def _replayed(self, device: Device, chain: tuple[str, list[bytes]] | None) -> Device:
        if chain is None:
            return device
        return replace(device, consent=replay(self.parties(device, chain[0]), chain[1]))

    async def _device(
        self,
        connection: AsyncConnection,
        row: Record,
        bare: Device,
        last: Record | None = None,
        *,
        chained: bool = False,
    ) -> Device:
        try:
            device = self.read(row, bare)
            if chained:
                _check_last(device, last)
        except LedgerFaulty as fault:
            self._log.error("a consent standing is not believed; its rows are replayed", reason=str(fault))
            return await self._from_rows(connection, row)
        return device

    async def _from_rows(self, connection: AsyncConnection, row: Record) -> Device:
        device = (await self.replayed(connection, [row]))[row.device_id]
        if device.consent is None and row.standing is not None:
            # Rows that are gone: the person had answered, and nobody can say what.
            state = distrust(open_ledger(self.parties(device, row.person or "")), "its rows are missing")
            return replace(device, consent=state)
        return device

    def _sealed(self, device: Device) -> dict[str, Any]:
        state = device.consent
        assert state is not None, "only devices that have answered are remembered"
        body = write_standing(state)
        return {
            "device_id": device.device_id,
            "person": state.parties.person,
            "standing": body,
            "seal": seal_standing(self._secret, state.parties, body),
            "ended_at": device.ended_at,
        }


def counted(device: Device) -> list[dict[str, Any]]:
    """The grants of a device that count until they run out: what the gate *accept* would let through."""
    state = device.consent
    if state is None or device.revoked_at is not None or state.epoch < device.least_epoch:
        return []
    return [
        {"device_id": device.device_id, "purpose": yes.purpose, "version": yes.version, "expires_at": yes.expires_at}
        for yes in state.granted
        if decide("accept", yes.purpose, state, NO_SIGNALS, yes.issued_at).allowed
    ]


def _bare(row: Record, former: Sequence[Record]) -> Device:
    revoked_at = None if row.revoked_at_ms is None else row.revoked_at_ms // 1_000
    keys = tuple(VerifyKey(item.device_key) for item in former)
    key, enrolled_at = VerifyKey(row.device_key), row.enrolled_at_ms // 1_000
    return Device(row.device_id, key, enrolled_at, former_keys=keys, revoked_at=revoked_at)


def _check_last(device: Device, last: Record | None) -> None:
    """Insist that a standing follows from the last row.

    Raises:
        LedgerFaulty: rows were added, taken away or edited since it was sealed.
    """
    if device.consent is None and last is None:
        return
    if device.consent is None or last is None:
        raise LedgerFaulty("expected a standing and rows, got one without the other")
    if (device.consent.length, device.consent.head) != (last.row_index + 1, Row.parse(last.body).digest):
        raise LedgerFaulty("the last row is not the one that the standing names")
