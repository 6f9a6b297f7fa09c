"""Reading a SQLCipher file by hand: every page of the file and of its log, live or not, with the key in hand.

A query sees live content only. Here each page is decrypted as SQLCipher 4 encrypts it: AES-256-CBC, of a 4096-byte page
the last 80 bytes are the initialisation vector (16) and HMAC-SHA-512 (64); a raw key encrypts as it is, and
authenticates under two rounds of PBKDF2 over the salt, whose bytes are XORed with 0x3a. The salt is the file's start.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAGE_BYTES, SALT_BYTES, RESERVED_BYTES = 4_096, 16, 80
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24


def decrypted(path: Path, key: bytes) -> Iterator[bytes]:
    """The plain content of every page in a file and its log that this key authenticates, overwritten versions too."""
    data = path.read_bytes()
    salt = data[:SALT_BYTES]
    mac_key = hashlib.pbkdf2_hmac("sha512", key, bytes(byte ^ 0x3A for byte in salt), 2, 32)
    stored = [(at // PAGE_BYTES + 1, data[at : at + PAGE_BYTES]) for at in range(0, len(data), PAGE_BYTES)]
    log = path.with_name(f"{path.name}-wal")
    frames = log.read_bytes()[_LOG_HEADER_BYTES:] if log.exists() else b""
    step = _FRAME_HEADER_BYTES + PAGE_BYTES
    for at in range(0, len(frames) - step + 1, step):
        number = int.from_bytes(frames[at : at + 4], "big")
        stored.append((number, frames[at + _FRAME_HEADER_BYTES : at + step]))
    for number, page in stored:
        plain = _page(page, number, key, mac_key)
        if plain is not None:
            yield plain


def _page(page: bytes, number: int, key: bytes, mac_key: bytes) -> bytes | None:
    start = SALT_BYTES if number == 1 else 0
    body, reserved = page[start:-RESERVED_BYTES], page[-RESERVED_BYTES:]
    vector, code = reserved[:16], reserved[16:]
    if hmac.digest(mac_key, body + vector + number.to_bytes(4, "little"), "sha512") != code:
        return None
    cipher = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    return cipher.update(body) + cipher.finalize()
