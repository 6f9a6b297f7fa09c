"""What stands at this moment: a light value, thousands of which fit in one process.

Device and leader hold the same type. The device's follows from everything the person chose; the leader's only from the
receipts that it countersigned.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.crypto import VerifyKey, canonical_json, digest


@dataclass(frozen=True, slots=True)
class Parties:
    """Between whom consent is given. Profiles and consent are per (site, person); keys are per leader.

    Attributes:
        device_key: the device's key for this leader.
        leader_key: the leader's key.
        site: the site's origin or name.
        person: pseudonym of the profile on this device.
    """

    device_key: VerifyKey
    leader_key: VerifyKey
    site: str
    person: str

    def genesis(self) -> bytes:
        """The head of an empty ledger (32 bytes): rows of one ledger never fit another."""
        names = canonical_json({"site": self.site, "person": self.person})
        return digest("consent-genesis", self.device_key.raw, self.leader_key.raw, names)


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


@dataclass(frozen=True, slots=True)
class ConsentState:
    """The consent of one person on one device towards one leader and site.

    Attributes:
        parties: between whom.
        head: digest of the ledger's last row (32 bytes), to be mirrored in the keyring.
        length: number of rows.
        epoch: number of the last change of what is granted; equal on device and leader once delivered.
        granted: what stands granted.
        declined: (purpose, version) refused or withdrawn last, so that nobody is asked twice.
        gpc_seen: Global Privacy Control was observed on this site.
        receipt: digest of the last receipt; None before the first.
        recorded_at: Unix seconds at which the last receipt was recorded.
        countersigned: the leader confirmed the last receipt.
        fault: why the ledger does not verify; None if it does. With a fault nothing is granted.
    """

    parties: Parties
    head: bytes
    length: int = 0
    epoch: int = 0
    granted: tuple[Grant, ...] = ()
    declined: tuple[tuple[str, int], ...] = ()
    gpc_seen: bool = False
    receipt: bytes | None = None
    recorded_at: int = 0
    countersigned: bool = False
    fault: str | None = None

    def grant_of(self, purpose: str) -> Grant | None:
        """The grant of this purpose, whatever its version or age; None if there is none."""
        for grant in self.granted:
            if grant.purpose == purpose:
                return grant
        return None

    @property
    def granted_versions(self) -> dict[str, int]:
        """Version by purpose of everything that stands granted."""
        return {grant.purpose: grant.version for grant in self.granted}
