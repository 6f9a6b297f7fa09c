"""What stands, written down: a state as canonical JSON, so that it need not be replayed for every question.

The rows of the ledger stay the truth. A standing names the digest and the number of the last row that it follows from,
and whoever stores it authenticates it (``seal_standing``) with a secret that lies elsewhere: an edited or made-up
standing is worth nothing, and the rows can always be replayed instead.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from consent.errors import LedgerFaulty
from consent.state import ConsentState, Declined, Grant, Parties
from privacy.crypto import canonical_json, digest, parse_canonical

_DIGEST_BYTES: Final = 32
_FLAGS: Final = ("gpc_observed", "gpc_known", "countersigned", "behind")
_COUNTS: Final = ("length", "epoch", "recorded_at", "seen_at", "signed_epoch", "turned_epoch")
_PLAIN: Final = (*_FLAGS, *_COUNTS)


def write_standing(state: ConsentState) -> bytes:
    """A state's canonical JSON, without its parties; the same state gives the same bytes. Run by the leader.

    Raises:
        LedgerFaulty: the state follows from a ledger that does not verify; there is nothing to write down.
    """
    if state.fault is not None:
        raise LedgerFaulty(f"expected a ledger that verifies ({state.fault})")
    return canonical_json(
        {
            **{name: getattr(state, name) for name in _PLAIN},
            "head": state.head.hex(),
            "receipt": None if state.receipt is None else state.receipt.hex(),
            "granted": [
                [item.purpose, item.version, item.receipt.hex(), item.issued_at, item.expires_at, item.despite_gpc]
                for item in state.granted
            ],
            "declined": [[item.purpose, item.version, item.receipt.hex()] for item in state.declined],
        }
    )


def read_standing(parties: Parties, body: bytes) -> ConsentState:
    """Read what ``write_standing`` wrote. Run by the leader, after ``check_seal``.

    Raises:
        LedgerFaulty: these are other bytes than it writes.
    """
    try:
        fields: dict[str, Any] = parse_canonical(body)
        granted, declined = fields.pop("granted"), fields.pop("declined")
        head, receipt = fields.pop("head"), fields.pop("receipt")
        for name in ("signed_epoch", "turned_epoch"):  # one that was written before there were these
            fields.setdefault(name, fields["epoch"])
        return ConsentState(
            parties,
            head=_digest(head),
            receipt=None if receipt is None else _digest(receipt),
            granted=tuple(Grant(name, version, _digest(by), *rest) for name, version, by, *rest in granted),
            declined=tuple(Declined(name, version, _digest(by)) for name, version, by in declined),
            **fields,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LedgerFaulty(f"expected a standing in canonical JSON ({type(error).__name__})") from None


def seal_standing(secret: bytes, parties: Parties, body: bytes) -> bytes:
    """Authenticate a standing for its parties (HMAC-SHA-256, 32 bytes).

    Args:
        secret: 32 bytes that lie elsewhere than the standing.
        parties: whose it is; under another device's, person's or leader's name the seal does not hold.
        body: from ``write_standing``.
    """
    return hmac.digest(secret, digest("consent-standing", parties.genesis(), body), hashlib.sha256)


def check_seal(secret: bytes, parties: Parties, body: bytes, seal: bytes) -> None:
    """Insist that a standing is as it was sealed; compared in constant time.

    Raises:
        LedgerFaulty: it was edited, made up, or is another device's.
    """
    if not hmac.compare_digest(seal_standing(secret, parties, body), seal):
        raise LedgerFaulty("a stored standing is not the one that was sealed")


def _digest(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != _DIGEST_BYTES:
        raise ValueError(f"expected a digest of {_DIGEST_BYTES} bytes, got {len(raw)}")
    return raw
