"""Enrolment and consent messages between device and leader. A gateway posts for many people at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from models.wire.message import Base64, CompactJws, Hex16, Hex32, Message, Milliseconds
from models.wire.problems import Problem
from privacy.crypto import SigningKey, VerifyKey, digest

BATCH_MAXIMUM = 256
"""Most enrolments, receipts or reports in one request."""


def device_id(leader_key: VerifyKey, device_key: VerifyKey) -> bytes:
    """A device's id at one leader: 16 bytes of a digest over both keys, so ids do not link across leaders."""
    return digest("device", leader_key.raw, device_key.raw)[:16]


def _enrolment_digest(leader_key: bytes, device_key: bytes, token: str, nonce: bytes, at_ms: int) -> bytes:
    return digest("enrolment", leader_key, device_key, token.encode(), nonce, at_ms.to_bytes(8, "big"))


class Enrolment(Message):
    """One device key asks to be known. The signature proves possession and names the leader it is meant for."""

    device_key: Hex32
    token: Annotated[str, StringConstraints(max_length=128)] = Field(repr=False)
    nonce: Hex16
    at_ms: Milliseconds
    signature: Base64

    def signed_digest(self, leader_key: VerifyKey) -> bytes:
        """What the signature covers."""
        return _enrolment_digest(
            leader_key.raw, bytes.fromhex(self.device_key), self.token, bytes.fromhex(self.nonce), self.at_ms
        )


def make_enrolment(key: SigningKey, leader_key: VerifyKey, token: str, nonce: bytes, at_ms: int) -> Enrolment:
    """Sign an enrolment. Run by the device; ``nonce`` is 16 random bytes."""
    import base64

    signature = key.sign(_enrolment_digest(leader_key.raw, key.verify_key.raw, token, nonce, at_ms))
    return Enrolment(
        device_key=key.verify_key.raw.hex(),
        token=token,
        nonce=nonce.hex(),
        at_ms=at_ms,
        signature=base64.b64encode(signature).decode(),
    )


class EnrolmentRequest(Message):
    """1 to 256 enrolments."""

    version: Literal[1] = 1
    enrolments: Annotated[tuple[Enrolment, ...], Field(min_length=1, max_length=BATCH_MAXIMUM)]


class EnrolmentResult(Message):
    """Exactly one of the two is set, in the order of the request."""

    device_id: Hex16 | None = None
    problem: Problem | None = None


class EnrolmentResponse(Message):
    """Results in the order of the request."""

    version: Literal[1] = 1
    results: tuple[EnrolmentResult, ...]


class SubmittedReceipt(Message):
    """A consent receipt (grant, or withdrawal of a grant) signed by the device."""

    device_id: Hex16
    receipt: CompactJws


class ReceiptRequest(Message):
    """1 to 256 receipts."""

    version: Literal[1] = 1
    receipts: Annotated[tuple[SubmittedReceipt, ...], Field(min_length=1, max_length=BATCH_MAXIMUM)]


REMOVAL_TYPE = "hearthside-removal+jwt"
"""JWS type of the leader's word on reports that it took out of open rounds."""


class RemovedReport(Message):
    """A round that a device was taken out of, and its report there; None where none had come, and none is let in."""

    study_hash: Hex32
    round: Annotated[int, Field(ge=1)]
    report_id: Hex32 | None


class Removal(Message):
    """What the leader signs (JWS of type ``REMOVAL_TYPE``) with a receipt: these rounds hold nothing of this device.

    A leader that signs this and hands the report in all the same is shown to lie by the word itself and the batch.
    """

    version: Literal[1] = 1
    device_id: Hex16
    receipt: Hex32
    """Digest of the receipt that it answers."""
    reports: tuple[RemovedReport, ...]
    at_ms: Milliseconds


class ReceiptResult(Message):
    """The leader's countersignature, or why the receipt was refused; in the order of the request."""

    countersignature: CompactJws | None = None
    dropped_reports: Annotated[int, Field(ge=0)] = 0
    """Reports of open rounds that this withdrawal removed."""
    removal: CompactJws | None = None
    """The leader's signed word (``Removal``) on the open rounds that hold nothing of this device, if there are any."""
    problem: Problem | None = None
    last_epoch: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    """With a refusal: the epoch that stands at the leader. A device that was restored is behind it and signs again."""


class ReceiptResponse(Message):
    """Results in the order of the request."""

    version: Literal[1] = 1
    results: tuple[ReceiptResult, ...]


class ServiceIdentity(Message):
    """Who a service says it is (``GET /v1/identity``). Devices compare it with the fingerprints they were given."""

    version: Literal[1] = 1
    role: Literal["leader", "helper"]
    key: Hex32
    fingerprint: str
    site: str = ""
    officers: tuple[Hex32, ...] = ()
    features: tuple[str, ...] = ()
