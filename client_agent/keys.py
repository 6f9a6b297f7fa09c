"""Where the store's key and the mirror of the ledgers live: the system's keyring, else a file only its owner reads.

The keyring is asked first. Without one (a headless box) the same entries go into a 0600 file beside the store, with a
warning: whoever copies that folder has the key.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from client_agent.errors import KeyringUnreadable
from client_agent.files import open_private, sync_folder

KEY_FILE = "keys.json"
SERVICE = "hearthside-agent"


class KeyFileWarning(UserWarning):
    """Keys lie in a file because the system has no keyring."""


class Keyring(Protocol):
    """Named secrets outside the store."""

    def read(self, name: str) -> bytes | None:
        """The secret of this name, None if there is none."""
        ...

    def write(self, name: str, secret: bytes) -> None:
        """Store a secret durably, replacing an older one."""
        ...

    def write_all(self, entries: Mapping[str, bytes]) -> None:
        """Store secrets by name, in one go where the keyring can."""
        ...


class SystemKeyring:
    """The operating system's keyring; entries are named after the store's folder."""

    def __init__(self, folder: Path) -> None:
        self._prefix = str(folder.resolve())

    def read(self, name: str) -> bytes | None:
        """The secret of this name, None if there is none."""
        import keyring

        with _answering():
            text = keyring.get_password(SERVICE, f"{self._prefix}:{name}")
        return None if text is None else _decode(text)

    def write(self, name: str, secret: bytes) -> None:
        """Store a secret."""
        import keyring

        with _answering():
            keyring.set_password(SERVICE, f"{self._prefix}:{name}", base64.b64encode(secret).decode("ascii"))

    def write_all(self, entries: Mapping[str, bytes]) -> None:
        """Store secrets in the given order: a system's keyring knows no transactions, and a crash leaves the first."""
        for name, secret in entries.items():
            self.write(name, secret)


class FileKeyring:
    """A JSON file with mode 0600, replaced as a whole, so that a crash leaves the old or the new one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEY_FILE

    def read(self, name: str) -> bytes | None:
        """The secret of this name, None if there is none."""
        text = self._load().get(name)
        return None if text is None else _decode(text)

    def write(self, name: str, secret: bytes) -> None:
        """Store a secret: on the disk when this returns."""
        self.write_all({name: secret})

    def write_all(self, entries: Mapping[str, bytes]) -> None:
        """Store secrets in one file write; all of them are on the disk when this returns."""
        kept = self._load() | {name: base64.b64encode(secret).decode("ascii") for name, secret in entries.items()}
        draft = self._path.with_suffix(".new")
        try:
            with open_private(draft) as file:
                file.write(json.dumps(kept).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)  # a key that was given up stays in no file
            raise
        sync_folder(self._path.parent)  # the new name too: a store may be encrypted with what was just written

    def _load(self) -> dict[str, str]:
        try:
            entries = json.loads(self._path.read_text("ascii"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise KeyringUnreadable(f"{self._path}: expected keys in JSON, the file is damaged") from None
        if not isinstance(entries, dict):
            raise KeyringUnreadable(f"{self._path}: expected keys by name")
        return entries


def open_keyring(folder: Path, *, prefer_file: bool = False) -> Keyring:
    """The system's keyring if it works, else the file, with a warning.

    Args:
        folder: the agent's folder.
        prefer_file: use the file without asking the system (a gateway's service account, tests).
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if prefer_file or (folder / KEY_FILE).exists():
        return FileKeyring(folder)
    if _system_keyring_works():
        return SystemKeyring(folder)
    warnings.warn(
        f"no system keyring: the store's key lies in {folder / KEY_FILE}, readable by its owner only",
        KeyFileWarning,
        stacklevel=2,
    )
    return FileKeyring(folder)


@contextmanager
def _answering() -> Iterator[None]:
    """One error for whatever a system's keyring fails with."""
    from keyring.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise KeyringUnreadable(f"expected the system's keyring to answer, got {type(error).__name__}") from None


def _system_keyring_works() -> bool:
    import keyring
    from keyring.backends import fail, null

    return not isinstance(keyring.get_keyring(), fail.Keyring | null.Keyring)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise KeyringUnreadable("expected base64 in the keyring's entry") from None
