"""One agent in one folder: its store, the services it was pinned to, and how to reach them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.enrolment import PINS, Pins
from client_agent.errors import NotEnrolled
from client_agent.keys import Keyring
from client_agent.store import STORE_FILE, AgentStore, open_store

_ADDRESSES = "addresses"
_TUF_ROOT = "tuf-root"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services are."""

    leader: str
    helper: str


@dataclass(frozen=True)
class Agent:
    """An agent that was set up.

    Attributes:
        folder: its folder.
        store: its store.
        pins: the keys that it accepts.
        addresses: where the services are.
    """

    folder: Path
    store: AgentStore
    pins: Pins
    addresses: Addresses

    def leader(self) -> LeaderConnection:
        """A new connection to the leader."""
        return LeaderConnection(self.addresses.leader)

    def helper(self) -> HelperConnection:
        """A new connection to the helper."""
        return HelperConnection(self.addresses.helper)

    @property
    def tuf_root(self) -> bytes | None:
        """The pinned root metadata of the bundle, None before the first."""
        return self.store.facts.get(_TUF_ROOT)

    def keep_tuf_root(self, root: bytes) -> None:
        """Keep root metadata that ``pin_root`` checked."""
        self.store.facts.put(_TUF_ROOT, root)


def open_agent(folder: Path, keyring: Keyring | None = None) -> Agent:
    """Open the agent in a folder.

    Raises:
        NotEnrolled: there is none, or it was never pinned.
        StoreError: the store does not open.
    """
    if not (folder / STORE_FILE).exists():
        raise NotEnrolled(f"expected an agent in {folder}; enrol first")
    store = open_store(folder, keyring)
    pins, addresses = store.facts.get(PINS), store.facts.get(_ADDRESSES)
    if pins is None or addresses is None:
        raise NotEnrolled(f"the agent in {folder} was never enrolled; enrol first")
    return Agent(folder, store, Pins.parse(pins), Addresses(**json.loads(addresses)))


def set_up(folder: Path, pins: Pins, addresses: Addresses, keyring: Keyring | None = None) -> Agent:
    """Make or extend the agent in a folder with pins that were checked."""
    store = open_store(folder, keyring)
    with store.transaction():
        store.facts.put(PINS, pins.to_bytes())
        store.facts.put(_ADDRESSES, json.dumps({"leader": addresses.leader, "helper": addresses.helper}).encode())
    return Agent(folder, store, pins, addresses)
