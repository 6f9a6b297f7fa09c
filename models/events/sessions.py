"""Sessions: runs of events on one site with no gap of half an hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from models.events.vocabulary import Event

SESSION_GAP_SECONDS: Final = 1_800


@dataclass(frozen=True, slots=True)
class Session:
    """The events of one visit to one site, in the order of their times; never empty."""

    site: str
    events: tuple[Event, ...]

    @property
    def started_ms(self) -> int:
        """Time of the first event (ms since 1970, UTC)."""
        return self.events[0].at_ms

    @property
    def ended_ms(self) -> int:
        """Time of the last event (ms since 1970, UTC)."""
        return self.events[-1].at_ms

    @property
    def purchased(self) -> bool:
        """Whether the visit holds a purchase: the label of the intent study."""
        return any(event.kind == "purchase" for event in self.events)


def sessionise(events: Iterable[Event], gap_seconds: int = SESSION_GAP_SECONDS) -> list[Session]:
    """Cut events into sessions wherever a site was silent for more than ``gap_seconds``.

    Order of arrival does not matter, and an event id that occurs twice on a site counts once (the earliest copy):
    pages retry. The page's own session names are not used, because a page could merge or split visits with them.

    Args:
        events: of one person, any sites, any order.
        gap_seconds: the longest silence inside a session, in seconds.

    Returns:
        Sessions of all sites, by their starting time.
    """
    by_site: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_site[event.site].append(event)
    sessions = [
        session for site, of_site in by_site.items() for session in _cut(site, _distinct(of_site), gap_seconds * 1_000)
    ]
    return sorted(sessions, key=lambda session: (session.started_ms, session.site))


def _distinct(events: list[Event]) -> list[Event]:
    events.sort(key=lambda event: (event.at_ms, event.event_id))
    seen: set[str] = set()
    kept = []
    for event in events:
        if event.event_id not in seen:
            seen.add(event.event_id)
            kept.append(event)
    return kept


def _cut(site: str, events: list[Event], gap_ms: int) -> list[Session]:
    starts = [i for i, event in enumerate(events) if i == 0 or event.at_ms - events[i - 1].at_ms > gap_ms]
    ends = [*starts[1:], len(events)]
    return [Session(site, tuple(events[start:end])) for start, end in zip(starts, ends, strict=True)]
