"""What a device asks of the leader in its own name, by signed requests."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from models.wire.message import Hex16, Hex32, Message

DEVICE_HEADER: Final = "hearthside-device"
"""Header that says which device signed; the signature shows whether it did."""
Seconds = Annotated[int, Field(ge=0, lt=2**53)]


class KeyChange(Message):
    """A change of key, as the old and the new key signed it (``consent.rotations``)."""

    version: Literal[1] = 1
    rotation: Annotated[str, StringConstraints(max_length=1_024)]


class Revocation(Message):
    """This device is gone: nothing of it is to be taken any more."""

    version: Literal[1] = 1
    reason: Literal["gone", "lost", "stolen", "replaced"] = "gone"


class RevocationResult(Message):
    """How many reports of open rounds went with it; asked again, none."""

    version: Literal[1] = 1
    dropped_reports: Annotated[int, Field(ge=0)]


class DeviceGrant(Message):
    """A yes that stands."""

    purpose: str
    version: int
    expires_at: Seconds


class ReplacedKey(Message):
    """A key that the device had before."""

    key: Hex32
    replaced_at: Seconds


class DeviceStanding(Message):
    """What the leader holds of a device. Times are Unix seconds.

    Attributes:
        device_id: as the leader knows it.
        device_key: its key of now.
        enrolled_at: when it enrolled.
        revoked_at: when it was revoked; None while it counts.
        former_keys: those that it had before.
        person: the pseudonym in its receipts; None before the first.
        epoch: the number of its last choice.
        receipts: how many rows its consent chain has.
        granted: what stands.
        reports_in_open_rounds: how many reports of it wait in rounds that are open; after a round nothing is kept.
        kept_until: when all of this is forgotten, if nothing is granted or taken back until then.
    """

    version: Literal[1] = 1
    device_id: Hex16
    device_key: Hex32
    enrolled_at: Seconds
    revoked_at: Seconds | None = None
    former_keys: tuple[ReplacedKey, ...] = ()
    person: str | None = None
    epoch: Seconds = 0
    receipts: Annotated[int, Field(ge=0)] = 0
    granted: tuple[DeviceGrant, ...] = ()
    reports_in_open_rounds: Annotated[int, Field(ge=0)] = 0
    kept_until: Seconds | None = None
