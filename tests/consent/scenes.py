"""One person, one device, one leader, one site: what the tests of consent play with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from consent import (
    INTENT,
    PURPOSES,
    Accepted,
    ConsentState,
    Parties,
    Purpose,
    Receipt,
    Registry,
    Row,
    accept,
    decline,
    grant,
    notice,
    open_ledger,
    record,
    sign_receipt,
)
from privacy.crypto import SigningKey

SITE = "https://shop.example"
NOW = 1_780_000_000
DAY = 86_400
DEVICE = SigningKey(bytes(range(32)))
LEADER = SigningKey(bytes(range(32, 64)))
STRANGER = SigningKey(bytes(range(64, 96)))
PARTIES = Parties(DEVICE.verify_key, LEADER.verify_key, SITE, "person-1")


def next_version(registry: Registry, purpose_id: str) -> Registry:
    """The registry after one purpose has changed its meaning."""
    return Registry(_raised(p) if p.id == purpose_id else p for p in registry)


def _raised(purpose: Purpose) -> Purpose:
    return replace(purpose, version=purpose.version + 1)


def a_grant(state: ConsentState | None = None, purposes: Any = (INTENT,), **changes: Any) -> Receipt:
    """A grant that would be accepted, with any field changed."""
    gpc = changes.get("gpc", False)
    receipt = grant(state or open_ledger(PARTIES), purposes, notice=notice(SITE, "en", gpc=gpc), issued_at=NOW)
    return replace(receipt, **changes)


def signed(receipt: Receipt) -> str:
    """The receipt as the device signs it."""
    return sign_receipt(DEVICE, receipt)


@dataclass
class Scene:
    """A device and its leader, with every row that they stored."""

    registry: Registry = PURPOSES
    device: ConsentState = field(default_factory=lambda: open_ledger(PARTIES))
    leader: ConsentState = field(default_factory=lambda: open_ledger(PARTIES))
    rows: list[Row] = field(default_factory=list)
    leader_rows: list[Row] = field(default_factory=list)
    clock: int = NOW

    def grant(self, *purposes: str, gpc: bool = False) -> str:
        """The person says yes; returns the signed receipt."""
        shown = notice(SITE, "en", self.registry, gpc=gpc or self.device.gpc_seen)
        return self._record(grant(self.device, purposes, notice=shown, issued_at=self.clock, registry=self.registry))

    def decline(self, *purposes: str) -> str:
        """The person says no; returns the signed receipt."""
        shown = notice(SITE, "en", self.registry, gpc=self.device.gpc_seen)
        return self._record(decline(self.device, purposes, notice=shown, issued_at=self.clock, registry=self.registry))

    def deliver(self, jws: str) -> Accepted:
        """The leader takes a receipt in."""
        answer = accept(self.leader, jws, LEADER, self.clock, self.registry)
        assert isinstance(answer, Accepted), answer
        self.leader = answer.state
        if answer.row:
            self.leader_rows.append(answer.row)
        return answer

    def _record(self, receipt: Receipt) -> str:
        jws = signed(receipt)
        self.device, row = record(self.device, jws, self.clock, self.registry)
        self.rows.append(row)
        return jws
