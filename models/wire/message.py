"""What all messages share: frozen, versioned, no unknown fields, bounded strings; bytes as lower-case hex or base64."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from privacy.crypto import canonical_json

Hex16 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Sixteen bytes in lower-case hex: a device's id."""
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""Thirty-two bytes in lower-case hex: a digest or a raw Ed25519 public key."""
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
"""A name that a person chose: lower case, digits, hyphens."""
Text = Annotated[str, StringConstraints(max_length=2_000)]
CompactJws = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", max_length=262_144)
]
Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Milliseconds = Annotated[int, Field(ge=0, lt=2**53)]
"""Unix time in milliseconds."""


class Message(BaseModel):
    """A frozen message. Two equal messages have equal canonical bytes, and so one digest."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null")

    def document(self) -> dict[str, Any]:
        """The message as plain JSON values."""
        return self.model_dump(mode="json")

    def canonical(self) -> bytes:
        """The message in canonical JSON (RFC 8785): what is hashed, signed and logged."""
        return canonical_json(self.document())


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Decode standard base64, strictly.

    Raises:
        ValueError: a character outside the alphabet or wrong padding.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True)  # unlike base64.b64decode it makes no copy of the text
    except binascii.Error as error:
        raise ValueError("expected base64") from error
