"""Rows of the consent ledger: what happened, chained by digests so that nothing can be edited, dropped or reordered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from consent.errors import LedgerFaulty
from privacy.crypto import canonical_json, digest, parse_canonical

RowKind = Literal["receipt", "countersignature", "gpc", "restart", "rotation"]
"""A signed receipt, the leader's confirmation of it, Global Privacy Control observed, a fresh start after a fault, a
change of the device's key."""
ROW_KINDS: Final[tuple[RowKind, ...]] = get_args(RowKind)
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as it is stored.

    Attributes:
        index: position, from 0.
        previous: digest of the row before, or the ledger's genesis (32 bytes).
        kind: what happened.
        content: the JWS of a receipt or countersignature; epoch and reason of a restart; what both
            keys signed of a change of key; empty for GPC.
        at: Unix seconds at which it was recorded.
    """

    index: int
    previous: bytes
    kind: RowKind
    content: str
    at: int

    def body(self) -> bytes:
        """Canonical JSON of the row: what is stored and hashed."""
        return canonical_json(
            {
                "index": self.index,
                "previous": self.previous.hex(),
                "kind": self.kind,
                "content": self.content,
                "at": self.at,
            }
        )

    @property
    def digest(self) -> bytes:
        """The ledger's head after this row (32 bytes)."""
        return head_after(self.body())

    @classmethod
    def parse(cls, body: bytes) -> Row:
        """Read a stored row; it must be exactly what ``body()`` writes.

        Raises:
            LedgerFaulty: it is not.
        """
        try:
            fields: dict[str, Any] = parse_canonical(body)
            row = cls(**{**fields, "previous": bytes.fromhex(fields["previous"])})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise LedgerFaulty(f"expected a row in canonical JSON ({type(error).__name__})") from None
        if row.kind not in ROW_KINDS or len(row.previous) != _DIGEST_BYTES or not isinstance(row.content, str):
            raise LedgerFaulty(f"expected a row of a kind in {ROW_KINDS} with a digest of {_DIGEST_BYTES} bytes")
        if type(row.index) is not int or type(row.at) is not int:
            raise LedgerFaulty("expected an integer index and time")
        return row


def head_after(body: bytes) -> bytes:
    """The ledger's head after a row of these bytes (32 bytes), whether or not they are a row."""
    return digest("consent-row", body)
