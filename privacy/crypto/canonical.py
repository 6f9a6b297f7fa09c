"""Canonical JSON (RFC 8785) and domain-separated hashing: one way to turn a statement into 32 bytes.

``rfc8785`` says what is canonical. Where its answer is known beforehand, Python's own encoder gives the same bytes ten
times faster: text that is ASCII throughout, without a fraction and without a number beyond 2^53. Whatever is not
plainly of that kind, and everything that is refused, is decided by the library (docs/decisions/0010).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, NoReturn

import rfc8785

_SAFE_INTEGER_CHARACTERS: Final = 15
"""Integers of up to 15 digits (a sign included) are below 2^53, so that every reader of JSON keeps them exactly."""


def canonical_json(value: Any) -> bytes:
    """Serialise a JSON value to its one canonical form (RFC 8785, UTF-8).

    Raises:
        ValueError: there is none: a number beyond 2^53, a NaN, a key that is no text, a lone surrogate.
    """
    return _plain_form(value) or rfc8785.dumps(value)


def parse_canonical(data: bytes) -> Any:
    """Parse JSON and insist that it was in canonical form, so that equal meaning is equal bytes.

    Raises:
        ValueError: the bytes are not JSON, or not the canonical form of what they say.
    """
    try:
        text = data.decode("ascii")
        value = _read_plain(text)
    except ValueError:
        value = json.loads(data)
    else:
        if _write(value) == text:
            return value
    if rfc8785.dumps(value) != data:
        raise ValueError("expected canonical JSON (RFC 8785), got another spelling of the same value")
    return value


def _plain_form(value: Any) -> bytes | None:
    """The canonical form of what is plain; None for what the library has to decide.

    Read back and compared, because the encoder is lenient where the library is not: it writes the key 1 as the text
    "1".
    """
    try:
        text = _write(value)
        if text.isascii() and _read_plain(text) == value:
            return text.encode()
    except (ValueError, TypeError, RecursionError):
        pass
    return None


def _not_plain(number: str) -> NoReturn:
    raise ValueError(f"expected an integer, got {number}")


def _safe_integer(number: str) -> int:
    return int(number) if len(number) <= _SAFE_INTEGER_CHARACTERS else _not_plain(number)


# ASCII keys sort alike by code point, as here, and by UTF-16 unit, as the RFC wants; ASCII strings are escaped alike.
_write: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode  # a cycle ends at the depth of the stack, as it does in the library
_read_plain: Final = json.JSONDecoder(parse_float=_not_plain, parse_int=_safe_integer, parse_constant=_not_plain).decode


def digest(domain: str, *parts: bytes) -> bytes:
    """SHA-256 over a domain name and length-prefixed parts (32 bytes).

    The length prefixes make the encoding injective: no two different lists of parts hash the same input.
    """
    state = hashlib.sha256()
    for part in (b"hearthside/1/" + domain.encode("ascii"), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
