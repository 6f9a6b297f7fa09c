"""The gateway's ``Household`` over the store: who may be chosen, and each person's profile."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from client_agent.clocks import Clock
from client_agent.enrolment import Pins
from client_agent.erasing import erase_person
from client_agent.errors import NotEnrolled
from client_agent.gateway.ports import Member
from client_agent.people import PeopleKeeper
from client_agent.rights import Export, gather
from client_agent.store import AgentStore, PersonRecord
from client_agent.store.people import Browsers
from client_agent.visitor import StoredVisitor
from consent import Signals
from models.personalisation import PreparedBundle


class StoredPerson:
    """The gateway's ``Person`` over the store: somebody who has no profile, and the rights to their name."""

    def __init__(self, store: AgentStore, pins: Pins, name: str, clock: Clock, chosen: Callable[[], None]) -> None:
        self._store = store
        self._pins = pins
        self._name = name
        self._clock = clock
        self._chosen = chosen

    @property
    def site(self) -> str:
        """The site's name."""
        return self._pins.site

    def everything(self, signals: Signals) -> Export:
        """All that is held about the person, read as it is written out."""
        return gather(self._store, self._pins, self._name, self._clock, signals=signals)

    def erase_everything(self) -> None:
        """Delete the person's name and browsers, and their traces as soon as that can be done."""
        erase_person(self._store, self._pins, self._name, self._clock)
        self._chosen()


class StoredHousehold:
    """Everybody behind this gateway, as they are now, also through another process. Safe to call from threads.

    Args:
        store: the agent's store.
        pins: the leader's, whose consent this is.
        clock: the machine's clocks.
        bundle: the verified bundle in force, None before the first.
        chosen: told of each choice after it is durable, so that the leader and the helper hear of it at once.
        only: the names that may be chosen at this gateway; everybody's unless given.

    Raises:
        NotEnrolled: somebody who is named in ``only`` is not behind this agent.
    """

    def __init__(
        self,
        store: AgentStore,
        pins: Pins,
        clock: Clock,
        bundle: Callable[[], PreparedBundle | None],
        chosen: Callable[[], None],
        only: Collection[str] = (),
    ) -> None:
        self._store = store
        self._pins = pins
        self._clock = clock
        self._bundle = bundle
        self._chosen = chosen
        self._only = frozenset(only)
        self._keeper = PeopleKeeper(store, pins, clock, os.urandom)
        self._lock = threading.Lock()
        self._visitors: dict[str, StoredVisitor] = {}
        self._change = -1
        missing = sorted(self._only - {record.name for record in store.people.all()})
        if missing:
            raise NotEnrolled(f"expected the name of a person behind this agent, got {missing[0]!r}")

    @property
    def site(self) -> str:
        """The site's name."""
        return self._pins.site

    @property
    def browsers(self) -> Browsers:
        """Their browsers."""
        return self._store.browsers

    def now_ms(self) -> int:
        """The present, ms since 1970."""
        return self._clock.now_ms()

    def members(self) -> list[Member]:
        """Who may be chosen here, by name."""
        return [_member(record) for record in self._store.people.all() if self._is_chosen(record.name)]

    def member(self, name: str) -> Member | None:
        """One of them; None for anybody else."""
        record = self._store.people.get(name) if self._is_chosen(name) else None
        return _member(record) if record else None

    def visitor(self, name: str) -> StoredVisitor | None:
        """Their profile on this site; None for a child, and for an adult who has none yet."""
        record = self._store.people.get(name) if self._is_chosen(name) else None
        if record is None or record.kind == "child":
            return None
        with self._lock:
            self._let_go_of_the_gone()
            found = [r for r in self._store.participants.of_person(name) if r.site == self._pins.site]
            if not found:
                return None
            if name not in self._visitors:
                self._visitors[name] = StoredVisitor(
                    self._store, self._pins, found[0].participant_id, self._clock, self._bundle, self._chosen
                )
            return self._visitors[name]

    def person(self, name: str) -> StoredPerson | None:
        """What is held about somebody without a profile, and its erasure; None for anybody else."""
        if self.member(name) is None or self.visitor(name) is not None:
            return None
        return StoredPerson(self._store, self._pins, name, self._clock, self._chosen)

    def together(self) -> AbstractContextManager[None]:
        """All that is read and changed within is one transaction."""
        return self._store.transaction()

    def stands(self, checked: PersonRecord) -> bool:
        """Whether a person is as they were when their PIN was checked: here, of the same kind, with the same PIN."""
        known = self._store.people.get(checked.name)
        if known is None or known.kind != checked.kind or known.has_pin != checked.has_pin:
            return False
        return hmac.compare_digest(known.pin_digest or b"", checked.pin_digest or b"")

    def check_pin(self, name: str, pin: str) -> PersonRecord:
        """The person as they were when this was their PIN, or when they had none.

        Raises:
            PersonRefused: another PIN, too many wrong ones, or nobody of this name.
        """
        return self._keeper.check_pin(name, pin)

    def _let_go_of_the_gone(self) -> None:
        """Forget profiles in memory when anybody was enrolled or erased, or became a child; the store has the rest."""
        change = self._store.participants.last_change()
        if change != self._change:
            self._visitors.clear()
            self._change = change

    def _is_chosen(self, name: str) -> bool:
        return not self._only or name in self._only


def _member(record: PersonRecord) -> Member:
    return Member(record.name, record.kind, record.has_pin)
