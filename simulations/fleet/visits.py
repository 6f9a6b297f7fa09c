"""What each simulated device does with a published bundle: verify it, find its own persona, choose its own content."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from client_agent.distribution import BundleSource
from client_agent.downloading import SharedFetches
from client_agent.federation.federation import Federation
from consent import NO_SIGNALS, PERSONALISATION, ConsentState
from consent import decide as decide_consent
from models.personalisation import PreparedBundle, decide, features_of, prepare
from models.wire.problems import ProblemError
from simulations.populations import ShopDevice

DEFAULT_CONTENT = "default content"
"""What a page shows in a slot that no rule fills."""


@dataclass
class Personalised:
    """Counts over devices; persona and module never leave a device outside a simulation."""

    verified: int = 0
    refused_bundles: int = 0
    shown: dict[str, dict[str, int]] = field(default_factory=dict)
    """By persona label: how many of its devices were shown each module."""
    right: int = 0
    """Devices whose persona is the one that was planted."""
    assigned: int = 0


def personalise(
    federation: Federation,
    devices: dict[str, ShopDevice],
    folder: Path,
    leader: str,
    root: bytes,
    site: str,
    present_ms: int,
    slot: str,
    moment: dt.datetime,
) -> Personalised:
    """Let every device that agreed to personalisation fetch, verify and decide, each with its own trusted metadata.

    Downloads are shared between the devices of one process; verification is not.

    Args:
        federation: who takes part, with everybody's consent.
        devices: by local name.
        folder: for each device's TUF metadata.
        leader: the leader's address.
        root: the pinned root metadata.
        site: the site's name.
        present_ms: the end of the simulated 30 days, ms since 1970: profiles are as of then.
        slot: the slot whose module is counted.
        moment: the real present, UTC, for consent and for TUF's expiry.
    """
    outcome, shown = Personalised(), Counter[tuple[str, str]]()
    prepared: dict[int, PreparedBundle] = {}
    shared: SharedFetches = {}
    with httpx.Client() as client:
        for record in federation.store.participants.all():
            if record.participant_id not in federation.roster:
                continue
            if not _agreed(federation.roster[record.participant_id].consent, moment):
                continue
            source = BundleSource(folder / record.participant_id, leader, root, site, client, shared)
            try:
                bundle = source.fetch(moment)
            except ProblemError:
                outcome.refused_bundles += 1
                continue
            if bundle is None:
                continue
            outcome.verified += 1
            ready = prepared.setdefault(bundle.bundle_version, prepare(bundle))
            device = devices[record.person]
            decision = decide(ready, features_of(device.events(), bundle, present_ms))
            if decision.persona is None:
                continue
            outcome.assigned += 1
            outcome.right += decision.persona == device.persona.label.lower()
            shown[decision.persona, decision.slots.get(slot, DEFAULT_CONTENT)] += 1
    for (persona, module), count in shown.items():
        outcome.shown.setdefault(persona, {})[module] = count
    return outcome


def _agreed(consent: ConsentState, moment: dt.datetime) -> bool:
    return decide_consent("use", PERSONALISATION, consent, NO_SIGNALS, int(moment.timestamp())).allowed
