"""Canonical JSON (RFC 8785) and domain-separated hashing: one way to turn a statement into 32 bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """Serialise a JSON value to its one canonical form (RFC 8785, UTF-8)."""
    return rfc8785.dumps(value)


def parse_canonical(data: bytes) -> Any:
    """Parse JSON and insist that it was in canonical form, so that equal meaning is equal bytes.

    Raises:
        ValueError: the bytes are not JSON, or not the canonical form of what they say.
    """
    value = json.loads(data)
    if rfc8785.dumps(value) != data:
        raise ValueError("expected canonical JSON (RFC 8785), got another spelling of the same value")
    return value


def digest(domain: str, *parts: bytes) -> bytes:
    """SHA-256 over a domain name and length-prefixed parts (32 bytes).

    The length prefixes make the encoding injective: no two different lists of parts hash the same input.
    """
    state = hashlib.sha256()
    for part in (b"hearthside/1/" + domain.encode("ascii"), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
