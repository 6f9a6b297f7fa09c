"""Set up a whole house in a folder: keys, settings, tokens and the signed root, as three operators would.

Production does the same with ``hearthside-aggregator init`` and ``token create``, each party on its own machine; here
one simulation plays them all, with real keys that it has just made.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aggregator.key_files import create_key
from aggregator.leader.ceremony import Change as KeyChange
from aggregator.leader.distribution import Distribution
from aggregator.leader.officers import sign
from aggregator.leader.repository import KEY_FOLDER, RoleKeys
from aggregator.settings import LeaderSettings
from aggregator.storage.database import Change, Database
from aggregator.storage.tokens import create_token
from client_agent.enrolment import Pins
from privacy.accounting import Contract
from privacy.crypto import SigningKey
from simulations.demo.plans import Parties

TOKEN_MS = 86_400_000
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class House:
    """Where everything lies, and the secrets of the parties that the simulation plays."""

    folder: Path
    site: str
    leader_url: str
    helper_url: str
    officer: SigningKey
    pins: Pins
    root: bytes
    tokens: dict[str, str]

    @property
    def leader_folder(self) -> Path:
        """The leader's own folder."""
        return self.folder / "leader"

    @property
    def helper_folder(self) -> Path:
        """The helper's own folder."""
        return self.folder / "helper"

    def parties(self, now_ms: int) -> Parties:
        """Whom a study binds."""
        return Parties(self.pins.leader_key.raw.hex(), self.pins.helper_key.raw.hex(), now_ms, self.site)


def build_house(
    folder: Path,
    site: str,
    contract: Contract,
    leader_port: int,
    helper_port: int,
    now: dt.datetime,
    databases: Mapping[str, str] | None = None,
) -> House:
    """Make keys, settings, tokens and an empty bundle repository for a leader and a helper.

    Args:
        folder: empty or not there yet.
        site: the site's name.
        contract: both services' own budget (device level, zero-out).
        leader_port: where the leader will listen on the loopback interface; also its name in process.
        helper_port: likewise.
        now: the present, UTC.
        databases: the URLs of the ``leader``'s and the ``helper``'s stores; files in their folders unless given.
    """
    stores = {role: {"database_url": url} for role, url in (databases or {}).items()}
    leader_folder, helper_folder, office = (folder / name for name in ("leader", "helper", "office"))
    for each in (leader_folder, helper_folder, office):
        each.mkdir(parents=True, mode=0o700)
    leader, helper = create_key(leader_folder / "service.key"), create_key(helper_folder / "service.key")
    officer = create_key(office / "officer.key")
    urls = {"leader": f"http://127.0.0.1:{leader_port}", "helper": f"http://127.0.0.1:{helper_port}"}
    common = {
        "site": site,
        "budget_epsilon": contract.epsilon,
        "budget_delta": contract.delta,
        "budget_order": contract.order,
        "officers": [officer.verify_key.raw.hex()],
    }
    leader_settings = {**common, "helper_url": urls["helper"], "helper_key": helper.verify_key.raw.hex()}
    leader_hosts, helper_hosts = ([f"127.0.0.1:{port}"] for port in (leader_port, helper_port))
    _write(leader_folder, {**leader_settings, "hosts": leader_hosts, **stores.get("leader", {})})
    helper_settings = {**common, "leader_key": leader.verify_key.raw.hex(), "hosts": helper_hosts}
    _write(helper_folder, {**helper_settings, **stores.get("helper", {})})
    distribution = _found_repository(leader_folder, site, officer, now)
    return House(
        folder=folder,
        site=site,
        leader_url=urls["leader"],
        helper_url=urls["helper"],
        officer=officer,
        pins=Pins(leader.verify_key, helper.verify_key, (officer.verify_key,), site),
        root=(distribution.metadata_dir / "1.root.json").read_bytes(),
        tokens=asyncio.run(_tokens(LeaderSettings.read(leader_folder), int(now.timestamp() * 1000))),
    )


def _found_repository(leader_folder: Path, site: str, officer: SigningKey, now: dt.datetime) -> Distribution:
    """What ``tuf init``, ``tuf sign`` and ``tuf install`` do, with the officer's key beside the leader's for once."""
    keys = RoleKeys(leader_folder / KEY_FOLDER)
    distribution = Distribution(leader_folder / "tuf", site, keys)
    first = KeyChange(officers=(officer.verify_key,), online=keys.create(), publishing=keys.create())
    distribution.install([sign(distribution.request(first, now), officer, now)], now)
    return distribution


def _write(folder: Path, settings: dict[str, object]) -> None:
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


async def _tokens(settings: LeaderSettings, now_ms: int) -> dict[str, str]:
    database = Database(settings.url())
    await database.open("leader")

    async def act(change: Change) -> dict[str, str]:
        return {
            scope: await create_token(change.connection, scope, now_ms, now_ms + TOKEN_MS, label="simulation")
            for scope in ("analyst", "operator", "enrol")
        }

    try:
        return await database.change(act)
    finally:
        await database.close()
