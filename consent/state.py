"""What stands at this moment: a light value, thousands of which fit in one process.

Device and leader hold the same type. The device's follows from everything the person chose; the leader's only from the
receipts that it countersigned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

from consent.errors import LedgerFaulty
from privacy.crypto import VerifyKey, canonical_json, digest

_EPOCH_BYTES: Final = 8
_MIRROR_BYTES: Final = 32 + _EPOCH_BYTES


@dataclass(frozen=True, slots=True)
class Parties:
    """Between whom consent is given. Profiles and consent are per (site, person); keys are per leader.

    Attributes:
        device_key: the device's key for this leader.
        leader_key: the leader's key.
        site: the site's origin or name.
        person: pseudonym of the profile on this device.
        former_keys: those that the device had before, oldest first; a withdrawal that one of them signed still counts.
    """

    device_key: VerifyKey
    leader_key: VerifyKey
    site: str
    person: str
    former_keys: tuple[VerifyKey, ...] = ()

    def with_key(self, new: VerifyKey) -> Parties:
        """The same parties after the device's key was replaced."""
        former = tuple(key for key in (*self.former_keys, self.device_key) if key != new)
        return replace(self, device_key=new, former_keys=tuple(dict.fromkeys(former)))

    def genesis(self) -> bytes:
        """The head of an empty ledger (32 bytes): rows of one ledger never fit another."""
        names = canonical_json({"site": self.site, "person": self.person})
        return digest("consent-genesis", self.device_key.raw, self.leader_key.raw, names)


class Mirror(NamedTuple):
    """What is remembered outside of a ledger, so that an older copy of it is noticed.

    Attributes:
        head: digest of the last row (32 bytes).
        epoch: the last epoch, so that receipts of lost rows never pass again.
    """

    head: bytes
    epoch: int

    def to_bytes(self) -> bytes:
        """40 bytes: head, then epoch (big endian)."""
        return self.head + self.epoch.to_bytes(_EPOCH_BYTES, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            LedgerFaulty: another length.
        """
        if len(raw) != _MIRROR_BYTES:
            raise LedgerFaulty(f"expected a mirror of {_MIRROR_BYTES} bytes, got {len(raw)}")
        return cls(raw[:-_EPOCH_BYTES], int.from_bytes(raw[-_EPOCH_BYTES:], "big"))


@dataclass(frozen=True, slots=True)
class Grant:
    """One purpose that stands granted, and the receipt that says so.

    Attributes:
        purpose: its id.
        version: the version that was granted, and only that one.
        receipt: digest of the receipt in which it was chosen (32 bytes).
        issued_at: Unix seconds of that receipt.
        expires_at: Unix seconds from which the grant no longer holds.
        despite_gpc: chosen while Global Privacy Control was known to be on.
    """

    purpose: str
    version: int
    receipt: bytes
    issued_at: int
    expires_at: int
    despite_gpc: bool

    def answers(self, version: int, now: int) -> bool:
        """Whether it is a yes to this version of its purpose that is not too old by now (Unix seconds)."""
        return self.version == version and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Declined:
    """One purpose to which the latest answer was no, and the receipt that says so.

    Attributes:
        purpose: its id.
        version: the version that was refused or taken back.
        receipt: digest of the receipt in which it was chosen (32 bytes).
    """

    purpose: str
    version: int
    receipt: bytes


@dataclass(frozen=True, slots=True)
class ConsentState:
    """The consent of one person on one device towards one leader and site.

    Attributes:
        parties: between whom.
        head: digest of the ledger's last row (32 bytes).
        length: number of rows.
        epoch: number of the last change of what is granted; equal on device and leader once delivered.
        granted: what stands granted.
        declined: what was refused or withdrawn last, so that nobody is asked twice.
        gpc_observed: a row of this ledger says that Global Privacy Control is on.
        gpc_known: the latest grant was chosen knowing of it, or a later choice was. A later grant without knowledge of
            it is a device's that lost its ledger: what the leader remembers of the signal does not outlive it.
        receipt: digest of the last receipt; None before the first.
        recorded_at: Unix seconds at which the last receipt was recorded.
        countersigned: the leader confirmed the last receipt.
        fault: why the ledger does not verify; None if it does. With a fault nothing is granted.
        behind: choices were lost (the ledger was restarted), and the leader has not been told since what stands: it
            may hold more than this ledger says, so the next "no" is a withdrawal.
        seen_at: Unix seconds; the latest time that the device is known to have reached since what stands was granted.
            Nothing is younger, whatever the clock says. 0 where nobody kept it.
        signed_epoch: the last epoch that the device's key of now signed; 0 from a change of key on. A withdrawal by it
            has to come after this one alone: no key of before stands in its way.
        turned_epoch: the epoch in which the key was changed last; keys of before sign little beyond it.
    """

    parties: Parties
    head: bytes
    length: int = 0
    epoch: int = 0
    granted: tuple[Grant, ...] = ()
    declined: tuple[Declined, ...] = ()
    gpc_observed: bool = False
    gpc_known: bool = False
    receipt: bytes | None = None
    recorded_at: int = 0
    countersigned: bool = False
    fault: str | None = None
    behind: bool = False
    seen_at: int = 0
    signed_epoch: int = 0
    turned_epoch: int = 0

    def grant_of(self, purpose: str) -> Grant | None:
        """The grant of this purpose, whatever its version or age; None if there is none."""
        for grant in self.granted:
            if grant.purpose == purpose:
                return grant
        return None

    def declined_of(self, purpose: str) -> Declined | None:
        """The no to this purpose, whatever its version; None if the latest answer was not no."""
        for refused in self.declined:
            if refused.purpose == purpose:
                return refused
        return None

    @property
    def gpc_seen(self) -> bool:
        """Whether Global Privacy Control was on for this site, as far as is known here."""
        return self.gpc_observed or self.gpc_known

    @property
    def mirror(self) -> Mirror:
        """What to keep outside of the ledger once the last row is stored."""
        return Mirror(self.head, self.epoch)

    @property
    def may_stand_at_leader(self) -> bool:
        """Whether the leader may hold a grant: one stands here, or choices were lost and nobody can know."""
        return bool(self.granted) or self.behind or self.fault is not None

    @property
    def granted_versions(self) -> dict[str, int]:
        """Version by purpose of everything that stands granted."""
        return {grant.purpose: grant.version for grant in self.granted}
