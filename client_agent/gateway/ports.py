"""What the gateway and the agent's own pages need of the agent: a household, and each of its people on one site."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from client_agent.store.people import BrowserRecord, Kind, PersonRecord
from consent import ConsentState, Gate, Notice, Signals
from models.events import Event
from models.personalisation import PreparedBundle

if TYPE_CHECKING:  # what is exported is decided on, too: these modules need the port's
    from client_agent.history import Recorded
    from client_agent.rights import Export
    from client_agent.store.contributions import Contribution


@dataclass(frozen=True, slots=True)
class Sent:
    """What left this device for one purpose.

    Attributes:
        purpose: its id.
        reports: how many reports were handed to the leader; null reports are among them and look the same.
        size_bytes: their bytes.
    """

    purpose: str
    reports: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Budget:
    """The contract of this device and person (device level, zero-out).

    Attributes:
        spent_epsilon: charged in the running window.
        cap_epsilon: the most that any window may cost.
        delta: of both figures.
        window_days: what is released within any so many days is what the cap bounds.
        lifetime_epsilon: charged since the beginning.
        intact: the ledger agrees with its mirror; if not, all of it counts as spent.
        local_epsilon: what holds if leader and helper collude (per training row, zero-out, at ``local_delta``): the
            sum over the studies that trained here, because they train on the same rows and epsilons and deltas add;
            None where no model was trained here with noise of its own.
        local_delta: of that sum.
        local_studies: (short name, figure) of each study in it, at the study's own delta.
    """

    spent_epsilon: float
    cap_epsilon: float
    delta: float
    window_days: float
    lifetime_epsilon: float
    intact: bool = True
    local_epsilon: float | None = None
    local_delta: float = 0.0
    local_studies: tuple[tuple[str, float], ...] = ()


class Person(Protocol):
    """Somebody who is known here by name, with a profile or without one. Every call may block on the store."""

    @property
    def site(self) -> str:
        """The site's name."""
        ...

    def everything(self, signals: Signals) -> Export:
        """All that is held about the person, read as it is written out."""
        ...

    def erase_everything(self) -> None:
        """Delete all about the person; durable when it returns."""
        ...


class Visitor(Protocol):
    """One person on one site, as the agent keeps them. Every call may block on the encrypted store."""

    @property
    def site(self) -> str:
        """The site's name."""
        ...

    def now_ms(self) -> int:
        """The present, ms since 1970."""
        ...

    def consent(self) -> ConsentState:
        """What stands."""
        ...

    def choose(self, granted: Collection[str], declined: Collection[str], notice: Notice) -> None:
        """Record a choice that was made on this notice; durable, and in force, when it returns."""
        ...

    def observe_gpc(self) -> None:
        """Record that Global Privacy Control is on."""
        ...

    def note_withheld(self, gate: Gate, purposes: Collection[str]) -> None:
        """Count, for the person to see, that Global Privacy Control alone shut a gate for these purposes."""
        ...

    def append_events(self, events: Sequence[Event], under: ConsentState | None = None) -> bool:
        """Store events; durable when it returns. An id that is stored already is skipped.

        Args:
            events: what happened.
            under: the consent that allows it; where another one stands by now, nothing is stored.

        Returns:
            Whether they are stored; False for a person who is gone, too.
        """
        ...

    def events(self) -> Sequence[Event]:
        """The last 30 days' events, in order of arrival."""
        ...

    def erase_events(self) -> None:
        """Delete all events."""
        ...

    def bundle(self) -> PreparedBundle | None:
        """The verified bundle in force; None before the first."""
        ...

    def sent(self) -> Sequence[Sent]:
        """What left, by purpose."""
        ...

    def log_holds(self) -> bool:
        """Whether the record of what the leader asks, which everybody is shown, adds up; if not, nothing is sent."""
        ...

    def budget(self) -> Budget | None:
        """What was spent; None before anything was asked."""
        ...

    def receipts(self) -> Sequence[str]:
        """The signed consent receipts, oldest first."""
        ...

    def history(self) -> Sequence[Recorded]:
        """What was chosen when, and who signed that they heard of it; the latest first."""
        ...

    def contributions(self) -> Sequence[Contribution]:
        """What became of each report; the latest first. Nulls are among them and look the same."""
        ...

    def consent_record(self) -> bytes:
        """The whole consent ledger in one file that anyone can verify elsewhere."""
        ...

    def everything(self, signals: Signals) -> Export:
        """All that is held about the person, read as it is written out."""
        ...

    def erase_everything(self) -> None:
        """Take back every yes and delete all about the person; durable when it returns."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One person of the household, as the pages name them.

    Attributes:
        name: a local name.
        kind: a child has no visitor.
        has_pin: a PIN stands before their page.
    """

    name: str
    kind: Kind
    has_pin: bool = False


class Browsers(Protocol):
    """The browsers in which somebody said who they are, by the digests of their tokens."""

    def by_page(self, page: bytes) -> BrowserRecord | None:
        """The browser with this digest on the agent's own origin."""
        ...

    def by_site(self, site: bytes) -> BrowserRecord | None:
        """The browser with this digest on the site's origin."""
        ...

    def of(self, person: str) -> Sequence[BrowserRecord]:
        """A person's browsers, the latest used first."""
        ...

    def put(self, record: BrowserRecord) -> None:
        """Store a browser; durable when it returns."""
        ...

    def meet(self, page: bytes, site: bytes) -> bool:
        """Note a browser's digest on the site's origin; False if the browser has ended meanwhile."""
        ...

    def touch(self, page: bytes, used_at_ms: int, opened_at_ms: int) -> None:
        """Note that a browser was used."""
        ...

    def end(self, pages: Sequence[bytes]) -> None:
        """Delete browsers."""
        ...

    def end_unused(self, lasting_before_ms: int, others_before_ms: int) -> None:
        """Delete browsers that were not used since, those to be remembered and the others."""
        ...


class Household(Protocol):
    """Everybody behind this gateway. Every call may block on the encrypted store."""

    @property
    def site(self) -> str:
        """The site's name."""
        ...

    @property
    def browsers(self) -> Browsers:
        """Their browsers."""
        ...

    def now_ms(self) -> int:
        """The present, ms since 1970."""
        ...

    def members(self) -> Sequence[Member]:
        """Who may be chosen here, by name."""
        ...

    def member(self, name: str) -> Member | None:
        """One of them; None for anybody else."""
        ...

    def visitor(self, name: str) -> Visitor | None:
        """Their profile on this site; None for a child, and for an adult who has none yet."""
        ...

    def person(self, name: str) -> Person | None:
        """What is held about somebody without a profile, and its erasure; None for anybody else."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """All that is read and changed within is one transaction."""
        ...

    def stands(self, checked: PersonRecord) -> bool:
        """Whether a person is as they were when their PIN was checked: here, of the same kind, with the same PIN."""
        ...

    def check_pin(self, name: str, pin: str) -> PersonRecord:
        """The person as they were when this was their PIN, or when they had none.

        Raises:
            PersonRefused: another PIN, too many wrong ones, or nobody of this name.
        """
        ...
