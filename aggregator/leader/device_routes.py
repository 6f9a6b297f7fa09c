"""The leader's API for what a device asks in its own name, and for the operator who revokes one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from aggregator.gate import name_subject
from aggregator.leader import devices
from aggregator.leader.desk import desk_of
from aggregator.service import body_schema, parse
from models.wire.devices import DeviceStanding, KeyChange, Revocation, RevocationResult

DeviceId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
_SUBJECT_CHARACTERS = 16


def own_device_routes() -> APIRouter:
    """Signed by the device, but for the last, which needs an operator's token."""
    router = APIRouter(tags=["devices"])

    @router.get("/v1/devices/me")
    async def standing(request: Request) -> DeviceStanding:
        """What the leader holds of the device that signs the request."""
        return await devices.standing(desk_of(request), request)

    @router.post("/v1/devices/me/key", openapi_extra=body_schema(KeyChange))
    async def change_key(request: Request) -> DeviceStanding:
        """Go on under another key: both keys have signed the change, the old one signs the request."""
        return await devices.change_key(desk_of(request), request, parse(KeyChange, await request.body()))

    @router.post("/v1/devices/me/revocation", openapi_extra=body_schema(Revocation))
    async def revoke_own(request: Request) -> RevocationResult:
        """This device is gone: its reports leave open rounds, and nothing of it is taken any more."""
        return await devices.revoke_own(desk_of(request), request, parse(Revocation, await request.body()))

    @router.post("/v1/devices/{device_id}/revocation")
    async def revoke(request: Request, device_id: DeviceId, body: Revocation) -> RevocationResult:
        """Revoke a device that was lost (scope operator)."""
        desk = desk_of(request)
        await desk.require_scope(request, "operator")
        name_subject(request, f"{device_id[:_SUBJECT_CHARACTERS]} ({body.reason})")
        return await devices.revoke(desk, bytes.fromhex(device_id))

    return router
