"""Sealing to a round's key: HPKE (RFC 9180) base mode, KEM MLKEM768-X25519 (X-Wing), HKDF-SHA256, AES-128-GCM.

The hybrid KEM keeps old reports closed if either ML-KEM or X25519 falls. ``info`` binds the context: a seal made for
one study, round, model, leader, helper and policy does not open under any other.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from privacy.crypto.errors import KeyInvalid, SealInvalid

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_X25519_BYTES = 32
SEAL_PUBLIC_BYTES = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
SEAL_PRIVATE_BYTES = _MLKEM_SEED_BYTES + _X25519_BYTES
SEAL_OVERHEAD_BYTES = 1088 + 32 + 16
"""KEM ciphertext (ML-KEM-768, X25519) and AES-GCM tag that a seal adds to its plaintext."""
_PROBE = X25519PrivateKey.from_private_bytes(b"\x01" * _X25519_BYTES)


class SealPublicKey:
    """The public half of a round's key: ML-KEM-768 (1,184 bytes) then X25519 (32 bytes).

    Raises:
        KeyInvalid: another length, no ML-KEM-768 key, or an X25519 point of small order.
    """

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SEAL_PUBLIC_BYTES:
            raise KeyInvalid(f"expected a sealing key of {SEAL_PUBLIC_BYTES} bytes, got {len(raw)}")
        self.raw = bytes(raw)
        try:
            x25519 = X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC_BYTES:])
            _PROBE.exchange(x25519)  # fails for a point of small order, here and not when a report is being made
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC_BYTES]), x25519
            )
        except ValueError as error:
            raise KeyInvalid("sealing key is not a valid ML-KEM-768 and X25519 pair") from error

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Seal to this key under a context (``len(plaintext) + SEAL_OVERHEAD_BYTES`` bytes). Run by the device."""
        return _SUITE.encrypt(plaintext, self._key, info=info)

    def __repr__(self) -> str:
        return f"SealPublicKey({self.raw[-4:].hex()})"


class SealPrivateKey:
    """A round's private key. Held by the helper for one round, then destroyed; ``repr`` is redacted."""

    __slots__ = ("_key", "_raw", "public")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SEAL_PRIVATE_BYTES:
            raise KeyInvalid(f"expected a private sealing key of {SEAL_PRIVATE_BYTES} bytes, got {len(raw)}")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED_BYTES:])
        self._raw = bytes(raw)
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = SealPublicKey(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SealPrivateKey:
        """Make a fresh key from the operating system's randomness. Run by the helper, once a round."""
        return cls(MLKEM768PrivateKey.generate().private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """The 96 secret bytes, for the helper's own store until the round is answered."""
        return self._raw

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Open a seal made under the same context. Run by the helper.

        Raises:
            SealInvalid: wrong key, wrong context, truncated or forged.
        """
        try:
            return _SUITE.decrypt(sealed, self._key, info=info)
        except (InvalidTag, ValueError):
            raise SealInvalid(f"seal of {len(sealed)} bytes does not open under this round's key and context") from None

    def __repr__(self) -> str:
        return f"SealPrivateKey(<redacted>, public={self.public!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a private sealing key is not pickled")
