"""Key files: one Ed25519 seed in hex, readable by its owner only; and other secrets that are a file's one line."""

from __future__ import annotations

import datetime as dt
import os
import stat
from pathlib import Path

from cryptography import x509

from aggregator.errors import SettingsInvalid
from privacy.crypto import KeyInvalid, SigningKey


def create_key(path: Path) -> SigningKey:
    """Make a key and write it with mode 0600.

    Raises:
        SettingsInvalid: the file exists; a key is never overwritten.
    """
    key = SigningKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsInvalid(f"{path} exists already; a key is never overwritten") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(key.seed().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key(path: Path) -> SigningKey:
    """Read a key file.

    Raises:
        SettingsInvalid: missing, readable by others, or not a key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise SettingsInvalid(f"expected a key at {path}; make one with 'hearthside-aggregator init'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read ({type(error).__name__})") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsInvalid(f"{path} can be read by others; expected mode 0600")
    try:
        return SigningKey(bytes.fromhex(text))
    except (ValueError, KeyInvalid):
        raise SettingsInvalid(f"{path} is no key: expected 64 hexadecimal digits") from None


def certificate_expiry(path: Path) -> dt.datetime:
    """When the first certificate of a PEM file expires.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def load_secret(path: Path) -> str:
    """Read a file whose one line is a secret, such as a database's URL with its password.

    Raises:
        SettingsInvalid: missing, unreadable, readable by everybody, or not one line.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read ({type(error).__name__})") from None
    if mode & stat.S_IRWXO:
        raise SettingsInvalid(f"{path} can be read by everybody; expected mode 0600 or 0640")
    if not text or "\n" in text:
        raise SettingsInvalid(f"{path}: expected one line")
    return text
