"""The report: made once by a device, checked by the leader. Null and real reports are made by the same function."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from privacy.crypto import SealPublicKey, SignatureInvalid, SigningKey, VerifyKey, digest
from privacy.crypto.keys import SIGNATURE_BYTES
from privacy.crypto.sealing import SEAL_OVERHEAD_BYTES
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.encoding import check_values
from privacy.secure_sum.errors import PackingInvalid, ReportInvalid, ValuesInvalid
from privacy.secure_sum.masking import SEED_BYTES, expand_mask, reduced, residues
from privacy.secure_sum.packing import check_packed, pack
from privacy.secure_sum.parameters import SumParameters

TOKEN_BYTES = 32
PAYLOAD_BYTES = SEED_BYTES + 32 + 8 + 32
SEAL_BYTES = PAYLOAD_BYTES + SEAL_OVERHEAD_BYTES
_SEAL_TAG = b"hearthside/1/secure-sum/seal"


@dataclass(frozen=True, slots=True)
class Report:
    """What a device sends, once per (study, round): the masked vector for the leader, the seal for the helper.

    Args:
        context: digest of the context it was made for, 32 bytes.
        seal: the sealed payload, 1,240 bytes.
        masked: ``x + PRG(seed) mod 2^b``, packed.
        signature: the device's, over (context, SHA-256(masked), SHA-256(seal)), 64 bytes.
    """

    context: bytes
    seal: bytes = field(repr=False)
    masked: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def report_id(self) -> bytes:
        """SHA-256 of the seal (32 bytes): recomputed by whoever needs it, never believed."""
        return hashlib.sha256(self.seal).digest()


@dataclass(frozen=True, slots=True)
class SealedPayload:
    """What the helper finds in a seal: 104 bytes, always."""

    seed: bytes = field(repr=False)
    policy_hash: bytes
    expires_at: int
    withdrawal_hash: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Seed (32), policy hash (32), expiry in Unix seconds (8, big endian), SHA-256 of the withdrawal token (32)."""
        return self.seed + self.policy_hash + self.expires_at.to_bytes(8, "big") + self.withdrawal_hash

    @classmethod
    def parse(cls, payload: bytes) -> SealedPayload:
        """Undo :meth:`to_bytes`.

        Raises:
            ReportInvalid: the payload has another length.
        """
        if len(payload) != PAYLOAD_BYTES:
            raise ReportInvalid(f"expected a payload of {PAYLOAD_BYTES} bytes, got {len(payload)}")
        return cls(payload[:32], payload[32:64], int.from_bytes(payload[64:72], "big"), payload[72:])


def make_report(
    values: NDArray[np.int64],
    params: SumParameters,
    context: SumContext,
    round_key: SealPublicKey,
    *,
    seed: bytes,
    withdrawal_token: bytes,
    expires_at: int,
    signer: SigningKey,
) -> Report:
    """Mask, seal and sign one vector. A null report is ``values = 0``. Run by the device, once per (study, round).

    The caller persists the report before sending it and sends only those bytes again: a second report with the same
    seed and other values would reveal their difference.

    Args:
        values: int64[d] with ``sum x^2 <= Delta^2``, from :func:`privacy.secure_sum.encoding.encode`, or zeros.
        params: the study's parameters.
        context: the round's context.
        round_key: the helper's key of this round, from its signed opening.
        seed: 32 fresh bytes from a CSPRNG, used for this report only.
        withdrawal_token: w, 32 fresh bytes, kept by the device; showing it to the helper takes the report back.
        expires_at: Unix seconds; at that second and after, the helper does not open the report.
        signer: the device's key for this leader.

    Raises:
        ValuesInvalid: values outside the sensitivity or of the wrong form, a seed or token of the wrong length.
    """
    check_values(values, params)
    for name, secret, length in (("seed", seed, SEED_BYTES), ("withdrawal token", withdrawal_token, TOKEN_BYTES)):
        if len(secret) != length:
            raise ValuesInvalid(f"expected a {name} of {length} bytes, got {len(secret)}")
    if not 0 <= expires_at < 2**63:
        raise ValuesInvalid(f"expected an expiry in Unix seconds, got {expires_at}")
    words = reduced(expand_mask(seed, params, context) + residues(values, params), params)
    masked = pack(words, params.modulus_bits)
    payload = SealedPayload(seed, context.policy_hash, expires_at, hashlib.sha256(withdrawal_token).digest())
    seal = round_key.seal(payload.to_bytes(), seal_info(context))
    return Report(context.digest, seal, masked, signer.sign(_statement(context, masked, seal)))


def verify_report(report: Report, params: SumParameters, context: SumContext, device_key: VerifyKey) -> None:
    """Return if the report belongs to this round and the device signed it. Run by the leader, on arrival.

    Raises:
        ReportInvalid: another context, a wrong size, bits set in the padding, or a signature that does not verify.
    """
    if report.context != context.digest:
        raise ReportInvalid("expected a report for this context, got one for another")
    for name, part, length in (
        ("masked vector", report.masked, params.packed_bytes),
        ("seal", report.seal, SEAL_BYTES),
        ("signature", report.signature, SIGNATURE_BYTES),
    ):
        if len(part) != length:
            raise ReportInvalid(f"expected a {name} of {length} bytes, got {len(part)}")
    try:
        # Here and not at the release, where one device's spoilt vector would cost everybody the sum.
        check_packed(report.masked, params.dimension, params.modulus_bits)
    except PackingInvalid as error:
        raise ReportInvalid(str(error)) from error
    try:
        device_key.verify(report.signature, _statement(context, report.masked, report.seal))
    except SignatureInvalid as error:
        raise ReportInvalid(str(error)) from error


def resign_report(report: Report, signer: SigningKey) -> Report:
    """The same report under another key of the same device; masked vector and seal stay. Run by the device.

    Ed25519 is deterministic: a report that this key has signed before comes out as it was.
    """
    return replace(report, signature=signer.sign(_signed_parts(report.context, report.masked, report.seal)))


def seal_info(context: SumContext) -> bytes:
    """The HPKE ``info`` of a context: a seal opens under the context that it was made for and no other."""
    return _SEAL_TAG + context.digest


def _statement(context: SumContext, masked: bytes, seal: bytes) -> bytes:
    return _signed_parts(context.digest, masked, seal)


def _signed_parts(context: bytes, masked: bytes, seal: bytes) -> bytes:
    return digest("secure-sum/report", context, hashlib.sha256(masked).digest(), hashlib.sha256(seal).digest())
