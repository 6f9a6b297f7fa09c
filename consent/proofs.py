"""What a consent record shows, receipt by receipt; ``consent.records`` arrives at it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from consent.instants import LATEST_SECONDS, write_instant
from consent.receipts import Receipt
from consent.state import Grant


@dataclass(frozen=True, slots=True)
class ProvenReceipt:
    """One receipt whose signature and place in the chain verify.

    Attributes:
        row: the number of its row, from 0.
        digest: its name (32 bytes).
        receipt: what it says.
        recorded_at: Unix seconds by the device's clock.
        confirmed_at: Unix seconds by the leader's clock; None: not confirmed, as far as this record shows.
    """

    row: int
    digest: bytes
    receipt: Receipt
    recorded_at: int
    confirmed_at: int | None

    def document(self) -> dict[str, Any]:
        """As JSON, times in ISO 8601."""
        return {
            "row": self.row,
            "receipt": self.digest.hex(),
            "kind": self.receipt.kind,
            "purposes": list(self.receipt.chosen),
            "standing": list(self.receipt.granted),
            "epoch": self.receipt.epoch,
            "notice": self.receipt.notice_hash.hex(),
            "language": self.receipt.language,
            "gpc": self.receipt.gpc,
            "issued_at": _instant(self.receipt.issued_at),
            "expires_at": _instant(self.receipt.expires_at) if self.receipt.kind == "grant" else None,
            "recorded_at": _instant(self.recorded_at),
            "confirmed_at": _instant(self.confirmed_at),
        }


@dataclass(frozen=True, slots=True)
class RecordFault:
    """Why a record does not verify.

    Attributes:
        row: the row that does not; None where it is none of them (the keys, the end, a confirmation).
        reason: what was expected and what was got.
    """

    row: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a record shows.

    Attributes:
        site: for which site.
        person: the pseudonym.
        device: fingerprint of the key that signed the choices.
        leader: fingerprint of the leader's key.
        rows: how many rows verify.
        ended_at: Unix seconds at which the device signed the end; None if that does not verify.
        receipts: the receipts in order, up to the fault if there is one.
        standing: what stands granted at the end; nothing with a fault.
        gpc_seen: Global Privacy Control was observed.
        fault: why the record does not verify; None if it does.
    """

    site: str = ""
    person: str = ""
    device: str = ""
    leader: str = ""
    rows: int = 0
    ended_at: int | None = None
    receipts: tuple[ProvenReceipt, ...] = ()
    standing: tuple[Grant, ...] = ()
    gpc_seen: bool = False
    fault: RecordFault | None = None

    @property
    def holds(self) -> bool:
        """Everything verifies."""
        return self.fault is None

    def document(self) -> dict[str, Any]:
        """As JSON, times in ISO 8601."""
        return {
            "verified": self.holds,
            "site": self.site,
            "person": self.person,
            "device": self.device,
            "leader": self.leader,
            "rows": self.rows,
            "ended_at": _instant(self.ended_at),
            "receipts": [proven.document() for proven in self.receipts],
            "standing": [
                {
                    "purpose": grant.purpose,
                    "version": grant.version,
                    "receipt": grant.receipt.hex(),
                    "issued_at": _instant(grant.issued_at),
                    "expires_at": _instant(grant.expires_at),
                }
                for grant in self.standing
            ],
            "gpc_seen": self.gpc_seen,
            "fault": None if self.fault is None else asdict(self.fault),
        }


def _instant(unix_seconds: int | None) -> str | None:
    """ISO 8601; None for no time, and for one after the year 9999, which only a made-up record has."""
    return None if unix_seconds is None or unix_seconds > LATEST_SECONDS else write_instant(unix_seconds)
