"""Devices and their consent in memory, rebuilt from the store at start-up: a report costs two look-ups, no query."""

from __future__ import annotations

from collections.abc import Iterable
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
    enrolled_at: int
    """Unix seconds."""
    consent: ConsentState | None = None
    """None until the first receipt, which names the person."""

    @property
    def ended_at(self) -> int:
        """Unix seconds from which nothing here is anybody's consent any more; ahead while a yes stands.

        That is the last answer, or the time at which the last yes runs out. Without any answer, the enrolment.
        """
        if self.consent is None:
            return self.enrolled_at
        return max(self.enrolled_at, self.consent.recorded_at, *(yes.expires_at for yes in self.consent.granted))


@dataclass
class Register:
    """Every device, and for each purpose the devices whose consent is in force."""

    leader_key: VerifyKey
    site: str
    _devices: dict[bytes, Device] = field(default_factory=dict)
    _consenting: dict[str, set[bytes]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._devices)

    def enrol(self, device_id: bytes, key: VerifyKey, enrolled_at: int) -> None:
        """Know a device from now on; ``enrolled_at`` in Unix seconds."""
        self._devices[device_id] = Device(device_id, key, enrolled_at)

    def forget(self, device_ids: Iterable[bytes]) -> None:
        """Know these devices no more, as if they had never enrolled."""
        for device_id in device_ids:
            self._devices.pop(device_id, None)
            for members in self._consenting.values():
                members.discard(device_id)

    def device_ids(self) -> list[bytes]:
        """Every device that is known at this moment."""
        return list(self._devices)

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
