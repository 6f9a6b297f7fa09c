"""What a device asks in its own name, by signed requests: what is held of it, another key, to be forgotten as gone.

The request names the device in a header and is signed by its key (``privacy.crypto.requests``): method, address and
body, a time, a nonce that is kept in the store, and this leader. An operator may revoke a device too; what follows is
the same.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fastapi import Request

from aggregator.leader.desk import Desk
from aggregator.leader.register import Device
from aggregator.storage.actions import Action, ActionStore
from aggregator.storage.database import Change
from aggregator.storage.leader_tables import METADATA
from consent.errors import ConsentError, LedgerFaulty
from consent.ledger import rotate
from consent.rotations import Rotation, read_rotation
from models.wire.devices import (
    DEVICE_HEADER,
    DeviceGrant,
    DeviceStanding,
    KeyChange,
    ReplacedKey,
    Revocation,
    RevocationResult,
)
from models.wire.problems import ProblemError
from privacy.crypto import RequestStale, SignatureInvalid, VerifyKey
from privacy.crypto.requests import WINDOW_SECONDS, verify_request

_DEVICE_ID: Final = re.compile(r"[0-9a-f]{32}")
_NONCE_BYTES: Final = 16
_SHOWN: Final = 16
"""Digits of a device's id in the record of actions."""


async def standing(desk: Desk, request: Request) -> DeviceStanding:
    """What the leader holds of the device that signed the request (right of access)."""
    device = await _signer(desk, request, await request.body())
    async with desk.database.reading() as connection:
        rows = await desk.store.consent_row_count(connection, device.device_id)
        reports = await desk.store.report_rounds(connection, device.device_id)
        replaced = (await desk.store.former_keys(connection, [device.device_id])).get(device.device_id, [])
    state = device.consent
    return DeviceStanding(
        device_id=device.device_id.hex(),
        device_key=device.key.raw.hex(),
        enrolled_at=device.enrolled_at,
        revoked_at=device.revoked_at,
        former_keys=tuple(
            ReplacedKey(key=row.device_key.hex(), replaced_at=row.replaced_at_ms // 1_000) for row in replaced
        ),
        person=None if state is None else state.parties.person,
        epoch=0 if state is None else state.epoch,
        receipts=rows,
        granted=()
        if state is None
        else tuple(DeviceGrant(purpose=g.purpose, version=g.version, expires_at=g.expires_at) for g in state.granted),
        reports_in_open_rounds=reports,
        kept_until=device.ended_at + desk.settings.receipt_retention_days * 86_400,
    )


async def change_key(desk: Desk, request: Request, body: KeyChange) -> DeviceStanding:
    """Give a device the key that its old and its new one agree on; the same change again is answered again.

    Raises:
        ProblemError: ``bad-signature``, ``key-replaced``, ``device-revoked``, ``wrong-state``.
    """
    leader_key = desk.key.verify_key
    try:
        rotation = read_rotation(body.rotation, leader_key)
    except ConsentError as error:
        raise ProblemError("bad-signature", str(error)) from None
    device = await _signer(desk, request, await request.body(), former=rotation)
    if device.revoked_at is not None:
        raise ProblemError("device-revoked", "make a new key and enrol it")
    if device.key == rotation.new:
        return await _standing_again(desk, device)

    async def act(change: Change) -> None:
        await _replace(desk, change, device.device_id, rotation, body.rotation)

    await desk.database.change(act)
    return await _standing_again(desk, device)


async def revoke(
    desk: Desk, device_id: bytes, record: Callable[[Change], Awaitable[None]] | None = None
) -> RevocationResult:
    """Take nothing of a device any more, and take its reports out of open rounds, as a withdrawal does.

    Args:
        desk: the leader's.
        device_id: which.
        record: puts it on record, in the same change; the gate does where an operator's token is used.

    Raises:
        ProblemError: ``unknown-device``.
    """

    async def act(change: Change) -> int:
        if await _is_revoked(desk, change, device_id):
            return 0
        now_ms, dropped = desk.clock.now_ms(), 0
        await desk.store.revoke_device(change.connection, device_id, now_ms)
        desk.register.endings.revoked(change, device_id, now_ms)
        for item in desk.open_rounds:
            dropped += bool(await desk.store.take_back(change, item.round_id, device_id, expected=True))
            change.then(item.changed.set)
        if record is not None:
            await record(change)
        return dropped

    return RevocationResult(dropped_reports=await desk.database.change(act))


async def revoke_own(desk: Desk, request: Request, body: Revocation) -> RevocationResult:
    """As ``revoke``, for the device that signed the request; an earlier key of it cannot, whoever has that by now.

    Raises:
        ProblemError: as ``revoke``, ``bad-signature``, ``stale``, ``replayed``.
    """
    device = await _signer(desk, request, await request.body(), counted=False)
    subject = f"{device.device_id.hex()[:_SHOWN]} ({body.reason})"
    own = Action("", "device", "device", "revoke-device", subject, "done", desk.clock.now_ms())

    async def record(change: Change) -> None:
        await ActionStore(METADATA).append(change.connection, own)

    return await revoke(desk, device.device_id, record)


async def _standing_again(desk: Desk, device: Device) -> DeviceStanding:
    async with desk.database.reading() as connection:
        found = (await desk.register.find(connection, [device.device_id]))[device.device_id]
    return DeviceStanding(
        device_id=found.device_id.hex(),
        device_key=found.key.raw.hex(),
        enrolled_at=found.enrolled_at,
        revoked_at=found.revoked_at,
        epoch=0 if found.consent is None else found.consent.epoch,
    )


async def _replace(desk: Desk, change: Change, device_id: bytes, rotation: Rotation, content: str) -> None:
    """In one change: the keys, a row in the device's consent chain where it has one, and what stands after it."""
    connection, store = change.connection, desk.store
    device = (await desk.register.find_with_rows(connection, [device_id])).get(device_id)
    if device is not None and device.revoked_at is not None:  # since its request was looked at
        raise ProblemError("device-revoked", "make a new key and enrol it")
    if device is not None and device.key == rotation.new:  # told twice at once, and the other was first
        return
    if device is None or device.key != rotation.old:
        raise ProblemError("key-replaced", "the device has another key by now")
    if rotation.new.raw in await store.known_keys(connection, [rotation.new.raw]):
        raise ProblemError("wrong-state", "expected a key that nobody has or had here")
    now_ms = desk.clock.now_ms()
    await store.replace_key(connection, device_id, rotation.old.raw, rotation.new.raw, content, now_ms)
    desk.register.endings.replaced(change, rotation.old.raw)
    if device.consent is None:
        return
    try:
        state, row = rotate(device.consent, content, now_ms // 1_000)
    except LedgerFaulty as error:
        raise ProblemError("wrong-state", f"the device's receipts do not verify here: {error}") from None
    person = state.parties.person
    stored = {"device_id": device_id, "row_index": row.index, "person": person, "body": row.body()}
    await store.add_consent_rows(connection, [stored])
    after = replace(device, key=rotation.new, consent=state, former_keys=state.parties.former_keys)
    await desk.register.remember(connection, [after], [])


async def _signer(
    desk: Desk, request: Request, body: bytes, *, former: Rotation | None = None, counted: bool = True
) -> Device:
    """The device that signed this very request, for the first time.

    Args:
        desk: the leader's.
        request: as it came.
        body: its exact bytes.
        former: a change of key, whose old key may sign although the change was made: its answer may have been lost.
        counted: whether it is held to the device's rate; going away waits for none.

    Raises:
        ProblemError: ``unauthenticated``, ``unknown-device``, ``bad-signature``, ``stale``, ``key-replaced``,
            ``replayed``, ``slow-down``.
    """
    name = request.headers.get(DEVICE_HEADER, "")
    if not _DEVICE_ID.fullmatch(name) or "signature" not in request.headers:
        raise ProblemError("unauthenticated", f"expected a request signed by a device, and its id in {DEVICE_HEADER}")
    async with desk.database.reading() as connection:
        device = (await desk.register.find(connection, [bytes.fromhex(name)])).get(bytes.fromhex(name))
    if device is None:
        raise ProblemError("unknown-device", "enrol first")
    signer, nonce = _verified(desk, request, body, device)
    again = former is not None and signer == former.old and device.key == former.new
    if signer != device.key and not again:
        raise ProblemError("key-replaced", "expected the device's key of now")
    await _use_nonce(desk, nonce)
    # Counted once it is certain that the device sent it, and now: nobody uses its rate up with what they kept of it.
    slow = desk.rates.item(device.device_id) if counted and not again else None
    if slow is not None:
        raise slow
    return device


def _verified(desk: Desk, request: Request, body: bytes, device: Device) -> tuple[VerifyKey, bytes]:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    accepted = (device.key, *device.former_keys)
    audience, now = desk.key.verify_key.fingerprint, desk.clock.now_seconds()
    try:
        return verify_request(request.headers, request.method, target, body, accepted, now, audience=audience)
    except RequestStale as error:
        raise ProblemError("stale", f"{error}; set the clock and send it again") from None
    except SignatureInvalid as error:
        raise ProblemError("bad-signature", str(error)) from None


async def _use_nonce(desk: Desk, nonce: bytes) -> None:
    """In the store, with those of enrolments: what one worker took is replayed to no other."""
    if len(nonce) != _NONCE_BYTES:
        raise ProblemError("bad-signature", f"expected a nonce of {_NONCE_BYTES} bytes, got {len(nonce)}")
    window_ms = int(max(2 * WINDOW_SECONDS, 2 * desk.settings.enrolment_window_seconds) * 1_000)

    async def act(change: Change) -> None:
        if await desk.store.used_nonces(change.connection, [nonce]):
            raise ProblemError("replayed", "this signed request was received before")
        now_ms = desk.clock.now_ms()
        await desk.store.add_nonces(change.connection, [nonce], now_ms, now_ms - window_ms)

    await desk.database.join(act)


async def _is_revoked(desk: Desk, change: Change, device_id: bytes) -> bool:
    """By the store alone: one that was put back is told anew, so that its open rounds are looked at too."""
    rows = await desk.store.devices_named(change.connection, [device_id])
    if not rows:
        raise ProblemError("unknown-device", "no device of this id is enrolled")
    return rows[0].revoked_at_ms is not None
