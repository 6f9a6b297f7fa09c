"""What the page's script is given, sealed under the secret of its browser's row: passes, and the keys of its queue.

::

    pass         nonce | AES-256-GCM(row secret; consent epoch, time of issue)      proves one person and one consent
    sealed key   nonce | AES-256-GCM(row secret; key, consent epoch, end)           goes with each row of the queue
    row          AES-256-GCM(key; events)  or, where a page goes away,  events xor the key's stream

A page's script learns nothing from a pass: two of one person have nothing in common, and nothing in them can be
compared. It stores rows that it cannot read itself once its page is gone: the key is in the page's memory only. When
the browser's row goes (leaving, somebody else, a new PIN, removal, erasure) its secret goes with it, and whatever is
left in the browser's files opens nowhere any more. A withdrawal and an erasure of the events replace the secret.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

PASS_MS: Final = 60_000
"""How long a pass opens the door; the script asks for a fresh one before each batch."""
FORMER_MS: Final = 30 * 60_000
"""How long a tab may ask whether still the same person is here, under the same consent; after that it starts anew."""
QUEUED_MS: Final = 7 * 86_400_000
"""How long what a closed tab left is taken in."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_NUMBER_BYTES: Final = 8
_PASS: Final = b"hearthside pass"
_QUEUE: Final = b"hearthside queue"
_FIRST_BLOCK: Final = (2).to_bytes(4, "big")
"""Counter of GCM's first block of text under a nonce of 96 bits (NIST SP 800-38D, section 7.1)."""
_TEXT_MAXIMUM: Final = 65_536
_EVENTS_MAXIMUM: Final = 64


def issue_pass(secret: bytes, epoch: int, now_ms: int, entropy: Callable[[int], bytes]) -> str:
    """A fresh pass for whoever is at this browser, under this consent."""
    return _seal(secret, _number(epoch) + _number(now_ms), _PASS, entropy)


def age_of(text: str, secret: bytes, epoch: int, now_ms: int) -> int | None:
    """How old a pass is, ms; None for one of another browser, person or consent.

    A clock that was set meanwhile makes it older, whichever way it was set: the script then asks for another.
    """
    body = _open(text, secret, _PASS)
    if body is None or body[:_NUMBER_BYTES] != _number(epoch):
        return None
    return abs(now_ms - int.from_bytes(body[_NUMBER_BYTES:], "big"))


def issue_key(secret: bytes, epoch: int, now_ms: int, entropy: Callable[[int], bytes]) -> tuple[str, str]:
    """A fresh key for the script's queue: (the key, the same sealed for the door), both base64url."""
    key = entropy(_KEY_BYTES)
    body = key + _number(epoch) + _number(now_ms + QUEUED_MS)
    return _text(key), _seal(secret, body, _QUEUE, entropy)


def is_row(row: Any) -> bool:
    """Whether the script sent a row of its queue instead of an event."""
    return isinstance(row, dict) and "sealed" in row


def open_row(row: dict[str, Any], secret: bytes, epoch: int, now_ms: int) -> list[Any]:
    """The events in a row of the queue; none where it is another browser's, person's or consent's, or too old."""
    body = _open(row["sealed"], secret, _QUEUE)
    if body is None or body[_KEY_BYTES:-_NUMBER_BYTES] != _number(epoch):
        return []
    if now_ms >= int.from_bytes(body[-_NUMBER_BYTES:], "big"):
        return []
    text = _opened(row, body[:_KEY_BYTES])
    try:
        events = json.loads(text) if text is not None and len(text) <= _TEXT_MAXIMUM else []
    except (ValueError, RecursionError):
        return []
    return events[:_EVENTS_MAXIMUM] if isinstance(events, list) else []


def _opened(row: dict[str, Any], key: bytes) -> bytes | None:
    """The text of a row; None where it is not one.

    What a page adds while it goes away is only added to a stream that the key made before, for there is no time left
    to seal it. Nothing vouches that it was not altered, nor needs to: who could alter it is a script of the same page,
    which may say what it likes at the door.
    """
    nonce, data, late = _bytes(row.get("iv")), _bytes(row.get("data")), _bytes(row.get("late"))
    if nonce is None or len(nonce) != _NONCE_BYTES:
        return None
    if late is not None:
        return Cipher(AES(key), CTR(nonce + _FIRST_BLOCK)).decryptor().update(late)
    try:
        return AESGCM(key).decrypt(nonce, data, None) if data is not None else None
    except InvalidTag:
        return None


def _seal(secret: bytes, body: bytes, label: bytes, entropy: Callable[[int], bytes]) -> str:
    nonce = entropy(_NONCE_BYTES)
    return _text(nonce + AESGCM(secret).encrypt(nonce, body, label))


def _open(text: Any, secret: bytes, label: bytes) -> bytes | None:
    sealed = _bytes(text)
    if sealed is None or len(sealed) <= _NONCE_BYTES:
        return None
    try:
        return AESGCM(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label)
    except InvalidTag:
        return None


def _number(value: int) -> bytes:
    return value.to_bytes(_NUMBER_BYTES, "big")


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: Any) -> bytes | None:
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
