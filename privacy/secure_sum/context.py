"""The context that every derivation of a sum binds: study, round, model, both servers' keys, policy."""

from __future__ import annotations

from dataclasses import dataclass, field

from privacy.crypto import digest
from privacy.secure_sum.errors import ContextInvalid

_HASH_BYTES = 32
_HASHES = ("study_hash", "model_hash", "leader_key", "helper_key", "policy_hash")


@dataclass(frozen=True, slots=True)
class SumContext:
    """What a report is for. Masks, seals and signatures are derived under ``digest``, so they mean nothing elsewhere.

    A server that shows different models (or studies, or keys) to different people sums masks that do not cancel.

    The bucket is not part of ``digest``: it is drawn after the batch closes, from the round's randomness and the
    report's id, so no device knows it. It is bound into the batch (:mod:`privacy.secure_sum.batches`).

    Args:
        study_hash: SHA-256 of the signed study, 32 bytes.
        round: the round's number, 0 to 2^63 - 1.
        model_hash: hash of the model that the round starts from (of nothing, for a measurement), 32 bytes.
        leader_key: the leader's Ed25519 public key, 32 raw bytes.
        helper_key: the helper's Ed25519 public key, 32 raw bytes.
        policy_hash: hash of the consent policy in force, 32 bytes.
        bucket: which part of the batch is summed, 0 unless the study asks for robust sums.

    Raises:
        ContextInvalid: a part has the wrong length or range.
    """

    study_hash: bytes
    round: int
    model_hash: bytes
    leader_key: bytes
    helper_key: bytes
    policy_hash: bytes
    bucket: int = 0
    digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every part, then hash them once."""
        for name in _HASHES:
            part = getattr(self, name)
            if not isinstance(part, bytes) or len(part) != _HASH_BYTES:
                raise ContextInvalid(f"expected {name} of {_HASH_BYTES} bytes, got {_describe(part)}")
        if not 0 <= self.round < 2**63:
            raise ContextInvalid(f"expected a round from 0 to 2^63 - 1, got {self.round}")
        if not 0 <= self.bucket < 2**32:
            raise ContextInvalid(f"expected a bucket from 0 to 2^32 - 1, got {self.bucket}")
        parts = (self.study_hash, self.round.to_bytes(8, "big"), *(getattr(self, name) for name in _HASHES[1:]))
        object.__setattr__(self, "digest", digest("secure-sum/context", *parts))


def _describe(part: object) -> str:
    return f"{len(part)} bytes" if isinstance(part, bytes) else type(part).__name__
