"""Devices and their consent in memory, rebuilt from the store at start-up: a report costs two look-ups, no query."""

from __future__ import annotations

from dataclasses import dataclass, field

from consent.ledger import open_ledger
from consent.policy import decide
from consent.purposes import PURPOSES
from consent.signals.facts import NO_SIGNALS
from consent.state import ConsentState, Parties
from privacy.crypto import VerifyKey


@dataclass(slots=True)
class Device:
    """One enrolled device key; behind a gateway, one person's profile."""

    device_id: bytes
    key: VerifyKey
    consent: ConsentState | None = None
    """None until the first receipt, which names the person."""


@dataclass
class Register:
    """Every device, and for each purpose the devices whose consent is in force."""

    leader_key: VerifyKey
    site: str
    _devices: dict[bytes, Device] = field(default_factory=dict)
    _consenting: dict[str, set[bytes]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._devices)

    def enrol(self, device_id: bytes, key: VerifyKey) -> None:
        """Know a device from now on."""
        self._devices[device_id] = Device(device_id, key)

    def device(self, device_id: bytes) -> Device | None:
        """A device, if it is enrolled."""
        return self._devices.get(device_id)

    def parties(self, device: Device, person: str) -> Parties:
        """Between whom a device's consent is given."""
        return Parties(device.key, self.leader_key, self.site, person)

    def consent_of(self, device: Device, person: str) -> ConsentState:
        """What stands for a device; nothing before its first receipt."""
        return device.consent or open_ledger(self.parties(device, person))

    def set_consent(self, device: Device, state: ConsentState, now: int) -> None:
        """A receipt is durable: what it says stands from now on."""
        device.consent = state
        for purpose in PURPOSES:
            members = self._consenting.setdefault(purpose.id, set())
            if decide("accept", purpose.id, state, NO_SIGNALS, now).allowed:
                members.add(device.device_id)
            else:
                members.discard(device.device_id)

    def consenting(self, purpose: str) -> int:
        """How many devices have consent for a purpose in force (presence: outside the contract)."""
        return len(self._consenting.get(purpose, ()))

    def allowed(self, device: Device, purpose: str, epoch: int, now: int) -> bool:
        """The gate *accept*: consent in force for the purpose, in the epoch that the report was made under."""
        state = device.consent
        return state is not None and state.epoch == epoch and decide("accept", purpose, state, NO_SIGNALS, now).allowed
