"""Who gives way where connections are too many: of one worker, or of one address. Pure; time is an argument.

First goes who has been without a request for longest, then who lets the service wait most: for a body, or for the
reading of an answer. Who is at work never does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

_FIRST_SECOND_BYTES: Final = 65_536
"""Credit of whoever has just begun: nobody is slow in the first second."""
_PREFIX_6: Final = 64
"""One subscriber's part of an IPv6 address; the rest is the subscriber's to choose."""


class Member(Protocol):
    """What a crowd knows of a connection."""

    waited_since: float | None
    moved_bytes: int

    def is_held_up(self) -> bool:
        """Whether it is the service itself that reads no further."""

    def cut(self, reason: str) -> None:
        """End it at once."""


class Crowd:
    """Connections that share a limit.

    Attributes:
        limit: how many there may be.
        members: all of them.
        resting: those without a request under way, longest first, and since when.
        waiting: those that the service waits for.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.members: set[Member] = set()
        self.resting: dict[Member, float] = {}
        self.waiting: set[Member] = set()
        self._slowest: list[Member] = []

    def enter(self, member: Member, now: float) -> bool:
        """Take a new one in; False if there is no room for it."""
        self.members.add(member)
        self.resting[member] = now
        if len(self.members) <= self.limit:
            return True
        leaves = next((other for other in self.resting if other is not member), None) or self._slow(now)
        if leaves is None:
            return False
        leaves.cut("crowded-out")
        return True

    def leave(self, member: Member) -> None:
        """One is gone, or as good as gone."""
        self.members.discard(member)
        self.resting.pop(member, None)
        self.waiting.discard(member)

    def look_again(self) -> None:
        """Forget who was slow; run once a second."""
        self._slowest.clear()

    def _slow(self, now: float) -> Member | None:
        """Who lets the service wait most; put in order at most once a second and once for each that has gone."""
        for _ in range(2):
            while self._slowest:
                if (found := self._slowest.pop()) in self.waiting and not found.is_held_up():
                    return found
            self._slowest = sorted(self.waiting, key=lambda member: pace(member, now), reverse=True)
        return None


def pace(member: Member, now: float) -> float:
    """Bytes a second since the service began to wait; whoever has just begun counts as quick."""
    waited = now - member.waited_since if member.waited_since is not None else 0.0
    return (member.moved_bytes + _FIRST_SECOND_BYTES) / (1.0 + waited)


@dataclass
class Addresses:
    """Crowds by address.

    Attributes:
        limit: how many connections one address may have.
        unlimited: addresses or networks of proxies, ``*`` for all: who comes through one is not known by the address.
        crowds: by address.
    """

    limit: int
    unlimited: Collection[str] = ()
    crowds: dict[str, Crowd] = field(default_factory=dict)

    def of(self, address: str) -> Crowd | None:
        """An address's crowd; None where it has no limit."""
        if not address or any(_covers(named, address) for named in self.unlimited):
            return None
        return self.crowds.setdefault(subscriber(address), Crowd(self.limit))

    def tidy(self, address: str) -> None:
        """Forget an address without a connection."""
        crowd = self.crowds.get(name := subscriber(address)) if address else None
        if crowd is not None and not crowd.members:
            del self.crowds[name]

    def each(self, act: Callable[[Crowd], None]) -> None:
        """Do something with every crowd."""
        for crowd in self.crowds.values():
            act(crowd)


def _covers(named: str, address: str) -> bool:
    """Whether a setting of proxies means an address, as the HTTP server beneath reads that setting."""
    if named in ("*", address):
        return True
    try:
        return "/" in named and ipaddress.ip_address(address) in ipaddress.ip_network(named)
    except ValueError:
        return False


def subscriber(address: str) -> str:
    """What of an address is given to one subscriber: an IPv4 address, or the first half of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((int(found), _PREFIX_6), strict=False))
