"""What a consent record shows, receipt by receipt; ``consent.records`` arrives at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

from consent.instants import tell_instant
from consent.receipts import Receipt
from consent.rows import Row
from consent.state import Grant
from privacy.crypto import parse_canonical


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
            **_told(self.digest, self.receipt),
            "recorded_at": tell_instant(self.recorded_at),
            "confirmed_at": tell_instant(self.confirmed_at),
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A receipt that is no part of the ledger any more, or never was, and verifies by itself all the same.

    Attributes:
        place: its number in what was set aside, from 0.
        digest: its name (32 bytes).
        receipt: what it says; this device signed it, for this site, person and leader.
        confirmed_at: Unix seconds by the leader's clock; None: not confirmed, as far as this record shows.
    """

    place: int
    digest: bytes
    receipt: Receipt
    confirmed_at: int | None

    def document(self) -> dict[str, Any]:
        """As JSON, times in ISO 8601."""
        told = _told(self.digest, self.receipt)
        return {"place": self.place, **told, "confirmed_at": tell_instant(self.confirmed_at)}


@dataclass(frozen=True, slots=True)
class Restart:
    """Where a ledger began anew, with everything off; the rows before it that did not verify were set aside.

    Attributes:
        row: the number of its row.
        at: Unix seconds by the device's clock.
        epoch: the largest that the device remembered.
        reason: what was wrong, in the device's words.
    """

    row: int
    at: int
    epoch: int
    reason: str

    @classmethod
    def parse(cls, row: Row) -> Self:
        """Read a row of this kind from a ledger that verifies as far as it."""
        told = parse_canonical(row.content.encode("utf-8"))
        reason = told.get("reason")
        return cls(row.index, row.at, told["epoch"], reason if isinstance(reason, str) else "")

    def document(self) -> dict[str, Any]:
        """As JSON, times in ISO 8601."""
        return {"row": self.row, "at": tell_instant(self.at), "epoch": self.epoch, "reason": self.reason}


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
        restarts: where the ledger began anew after a fault.
        set_aside: how many rows did not verify then, and receipts without a row: they count for nothing.
        found: those of them that verify by themselves as receipts that were signed.
        unseen_epochs: (first, last) of the epochs that were reached and of which the record has no receipt: choices
            that were lost, or left out.
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
    restarts: tuple[Restart, ...] = ()
    set_aside: int = 0
    found: tuple[Found, ...] = ()
    unseen_epochs: tuple[tuple[int, int], ...] = ()
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
            "ended_at": tell_instant(self.ended_at),
            "receipts": [proven.document() for proven in self.receipts],
            "restarts": [restart.document() for restart in self.restarts],
            "set_aside": self.set_aside,
            "found": [found.document() for found in self.found],
            "unseen_epochs": [list(ends) for ends in self.unseen_epochs],
            "standing": [
                {
                    "purpose": grant.purpose,
                    "version": grant.version,
                    "receipt": grant.receipt.hex(),
                    "issued_at": tell_instant(grant.issued_at),
                    "expires_at": tell_instant(grant.expires_at),
                }
                for grant in self.standing
            ],
            "gpc_seen": self.gpc_seen,
            "fault": None if self.fault is None else asdict(self.fault),
        }


def unseen_epochs(
    receipts: Sequence[ProvenReceipt], restarts: Sequence[Restart], found: Iterable[Found]
) -> tuple[tuple[int, int], ...]:
    """(First, last) of each run of epochs that a ledger went through and of which there is no receipt.

    A refusal changes nothing that is granted, so it has the epoch of what is before it and fills none.
    """
    signed = [*(item.receipt for item in receipts), *(item.receipt for item in found)]
    seen = {receipt.epoch for receipt in signed if receipt.kind != "refusal"}
    reached = seen | {restart.epoch for restart in restarts}
    known = sorted({0} | reached)
    gaps = []
    for before, epoch in pairwise(known):
        last = epoch - 1 if epoch in seen else epoch
        if before < last:
            gaps.append((before + 1, last))
    return tuple(gaps)


def _told(name: bytes, receipt: Receipt) -> dict[str, Any]:
    return {
        "receipt": name.hex(),
        "kind": receipt.kind,
        "purposes": list(receipt.chosen),
        "standing": list(receipt.granted),
        "epoch": receipt.epoch,
        "notice": receipt.notice_hash.hex(),
        "language": receipt.language,
        "gpc": receipt.gpc,
        "issued_at": tell_instant(receipt.issued_at),
        "expires_at": tell_instant(receipt.expires_at) if receipt.kind == "grant" else None,
    }
