"""What the gateway and the visitor's page need of the agent: one person on one site."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from consent import ConsentState, Notice
from models.events import Event
from models.personalisation import PreparedBundle


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

    def append_events(self, events: Sequence[Event]) -> None:
        """Store events; durable when it returns. An id that is stored already is skipped."""
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

    def budget(self) -> Budget | None:
        """What was spent; None before anything was asked."""
        ...

    def receipts(self) -> Sequence[str]:
        """The signed consent receipts, oldest first."""
        ...
