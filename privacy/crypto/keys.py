"""Ed25519 keys with a redacted ``repr`` and a fingerprint that a person can compare."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from privacy.crypto.canonical import digest
from privacy.crypto.errors import KeyInvalid, SignatureInvalid

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_SIGN_BIT = 0x80
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
# The y coordinates of the points whose order divides 8, with those of the two that have a second spelling (y + p).
# Under such a key one signature verifies for many messages, or for all: it would bind nobody to anything.


@lru_cache(maxsize=65_536)
def _load_public(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@lru_cache(maxsize=65_536)
def _fingerprint(raw: bytes) -> str:
    text = base64.b32encode(digest("fingerprint", raw)[:15]).decode("ascii").lower()
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


class VerifyKey:
    """An Ed25519 public key (RFC 8032), 32 raw bytes.

    Raises:
        KeyInvalid: another length, or a point of small order, under which signatures prove nothing.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise KeyInvalid(f"expected a public key of {KEY_BYTES} bytes, got {len(raw)}")
        if raw[:-1] + bytes([raw[-1] & ~_SIGN_BIT]) in _SMALL_ORDER:
            raise KeyInvalid("expected a public key of large order, got a point of order 8 or less")
        self.raw = bytes(raw)

    @property
    def fingerprint(self) -> str:
        """Fifteen bytes of SHA-256 in base32, in groups of four: short enough to read aloud."""
        return _fingerprint(self.raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if the signature is this key's over the message.

        Raises:
            SignatureInvalid: it is not.
        """
        try:
            _load_public(self.raw).verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalid(f"signature does not verify under key {self.fingerprint}") from None

    def public_key(self) -> Ed25519PublicKey:
        """The library's own object, for JWS and TUF."""
        return _load_public(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"VerifyKey({self.fingerprint})"


class SigningKey:
    """An Ed25519 private key. Its ``repr`` shows only the public fingerprint."""

    __slots__ = ("_key", "verify_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise KeyInvalid(f"expected a private key of {KEY_BYTES} bytes, got {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verify_key = VerifyKey(self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def seed(self) -> bytes:
        """The 32 secret bytes, for an encrypted store only."""
        return self._key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign a message (64 bytes, deterministic, RFC 8032)."""
        return self._key.sign(message)

    def private_key(self) -> Ed25519PrivateKey:
        """The library's own object, for JWS and TUF."""
        return self._key

    def __repr__(self) -> str:
        return f"SigningKey(<redacted>, public={self.verify_key.fingerprint})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a signing key is not pickled; store seed() in an encrypted store")
