"""The one source of randomness: an AES-256-CTR keystream whose key is an argument.

A stream that is keyed by a durable secret yields the same noise after a crash, which is how a server keeps the rule
that noise is never redrawn. A stream from the operating system is for everything that is stored before it is used.
"""

from __future__ import annotations

import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from privacy.mechanisms.errors import StreamInvalid

KEY_BYTES = 32


class RandomStream:
    """The keystream of AES-256 in counter mode (SP 800-38A, section 6.5) from counter zero; ``repr`` is redacted.

    Two streams with one key are the same stream: a key serves one purpose and one round. The key is not kept.

    Args:
        key: 32 secret bytes.

    Raises:
        StreamInvalid: the key has another length.
    """

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise StreamInvalid(f"expected a stream key of {KEY_BYTES} bytes, got {len(key)}")
        self._encryptor = Cipher(AES(bytes(key)), CTR(bytes(16))).encryptor()

    @classmethod
    def from_os(cls) -> RandomStream:
        """A stream keyed by the operating system."""
        return cls(os.urandom(KEY_BYTES))

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes of the keystream.

        Raises:
            StreamInvalid: the count is negative.
        """
        if count < 0:
            raise StreamInvalid(f"expected a count of at least 0 bytes, got {count}")
        return self._encryptor.update(b"\0" * count)

    def uint64(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` words, little endian (uint64[count], uniform, read-only)."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8")

    def __repr__(self) -> str:
        return "RandomStream(<redacted>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a random stream is not pickled: a copy would repeat its randomness")
