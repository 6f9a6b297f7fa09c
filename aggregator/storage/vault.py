"""Secrets of rounds at rest: the store holds them only under a key that lies in a file of its own.

A store is hard to empty: write-ahead logs, dead rows, replicas and back-ups keep what was deleted. So what it is given
is AES-256-GCM ciphertext, bound to its round, and the 32 bytes that open it stand in one small file beside the
service's key. When the round is over the file is overwritten, flushed and removed; every copy of the ciphertext goes
with it.

A wrapping key is durable before the row that names it, and is destroyed after the row that no longer does. A crash in
between leaves a key that no live round names; the services remove such keys at every start, and once a minute.

What this cannot reach: a file system or an SSD may keep blocks that were overwritten (copy on write, snapshots, wear
levelling), and a back-up of the folder keeps what it copied. Leave the folder out of back-ups, on an encrypted disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aggregator.clock import OS_ENTROPY, Entropy
from aggregator.errors import KeyGone
from aggregator.storage.mirror import sync_folder
from privacy.crypto import digest

VAULT_FOLDER = "wrapping"
ROUND_KEY, NOISE_SECRET = "round key", "noise secret"
NAME_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_SUFFIX = ".key"
_NAME = re.compile(r"[0-9a-f]{32}")


class KeyVault:
    """The folder of wrapping keys: mode 0700, a file of mode 0600 for each round under way.

    Args:
        folder: made if it is missing; shared by the processes that share a store.
        entropy: where keys and nonces come from.
    """

    def __init__(self, folder: Path, entropy: Entropy = OS_ENTROPY) -> None:
        self._folder = folder
        self._entropy = entropy
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make(self) -> bytes:
        """A fresh wrapping key, on the disk when this returns its name (16 random bytes, no secret)."""
        name = self._entropy(NAME_BYTES)
        descriptor = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._entropy(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)
        return name

    def wrap(self, name: bytes, label: str, context: bytes, secret: bytes) -> bytes:
        """A secret as the store may keep it: nonce (12 bytes), ciphertext, tag.

        Args:
            name: of the wrapping key.
            label: what the secret is; another label or context does not open it.
            context: digest of the round's context.
            secret: what is kept.

        Raises:
            KeyGone: the wrapping key was destroyed.
        """
        nonce = self._entropy(_NONCE_BYTES)
        return nonce + AESGCM(self._read(name)).encrypt(nonce, secret, _bound(label, context))

    def unwrap(self, name: bytes, label: str, context: bytes, wrapped: bytes) -> bytes:
        """Undo :meth:`wrap`.

        Raises:
            KeyGone: the wrapping key was destroyed, or this is not what it wrapped.
        """
        key = self._read(name)
        try:
            return AESGCM(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _bound(label, context))
        except (InvalidTag, ValueError):
            raise KeyGone(f"the stored {label} does not open under this round's wrapping key") from None

    def destroy(self, name: bytes) -> None:
        """Overwrite, flush and remove a wrapping key; one that is gone already is fine."""
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.unlink(missing_ok=True)
        sync_folder(self._folder)

    def destroy_soon(self, names: Iterable[bytes]) -> None:
        """Destroy keys, right after the commit that ended their rounds; what a failing disk leaves goes later."""
        for name in names:
            with suppress(OSError):
                self.destroy(name)

    def names(self) -> set[bytes]:
        """The keys that are there. Inside a change, one that no row names is not one that was just made."""
        stems = (path.stem for path in self._folder.glob(f"*{_SUFFIX}"))
        return {bytes.fromhex(stem) for stem in stems if _NAME.fullmatch(stem)}

    def _read(self, name: bytes) -> bytes:
        try:
            key = self._path(name).read_bytes()
        except FileNotFoundError:
            raise KeyGone(f"the wrapping key {name.hex()} is not in {self._folder}") from None
        if len(key) != _KEY_BYTES:
            raise KeyGone(f"the wrapping key {name.hex()} is damaged")
        return key

    def _path(self, name: bytes) -> Path:
        return self._folder / (name.hex() + _SUFFIX)

    def __repr__(self) -> str:
        return f"KeyVault({str(self._folder)!r})"


def _bound(label: str, context: bytes) -> bytes:
    return digest("wrapped", label.encode(), context)
