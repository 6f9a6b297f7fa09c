"""Sliding windows in event time: what happened in the last N seconds, kept up incrementally for real-time segments."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Final, TypeVar

from models.events.vocabulary import Event

MAXIMUM_EVENTS: Final = 10_000

_Key = TypeVar("_Key")


class SlidingWindow:
    """Counts and dwell over ``(now - length_seconds, now]``, where *now* is the latest event time seen.

    Adding an event costs O(log n); reading costs one look-up. Late events count if they are still inside the window,
    so the order of arrival does not matter. Dwell is kept in whole milliseconds: sums that are added to and
    subtracted from for days must not drift. At most ``maximum_events`` are held, the oldest going first, so a page
    that floods the agent costs memory only up to that bound.
    """

    def __init__(self, length_seconds: int, maximum_events: int = MAXIMUM_EVENTS) -> None:
        """Open an empty window of ``length_seconds`` (at least 1)."""
        if length_seconds < 1 or maximum_events < 1:
            raise ValueError("expected a window of at least 1 second and 1 event")
        self._length_ms = length_seconds * 1_000
        self._maximum_events = maximum_events
        self._heap: list[tuple[int, int, str, str | None, int]] = []
        self._arrivals = 0
        self._now_ms = 0
        self._kinds: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str | None]] = Counter()
        self._dwell_ms: Counter[str | None] = Counter()

    def add(self, event: Event) -> None:
        """Admit an event and let time pass to its own time, if that is later."""
        dwell_ms = round(event.dwell_seconds * 1_000) if event.dwell_seconds is not None else 0
        self._arrivals += 1  # breaks ties in the heap, in order of arrival
        heapq.heappush(self._heap, (event.at_ms, self._arrivals, event.kind, event.category, dwell_ms))
        self._tally(event.kind, event.category, dwell_ms, 1)
        self.advance(event.at_ms)

    def advance(self, now_ms: int) -> None:
        """Let time pass to ``now_ms`` (ms since 1970); an earlier time than already seen changes nothing."""
        self._now_ms = max(self._now_ms, now_ms)
        horizon_ms = self._now_ms - self._length_ms
        while self._heap and (self._heap[0][0] <= horizon_ms or len(self._heap) > self._maximum_events):
            _, _, kind, category, dwell_ms = heapq.heappop(self._heap)
            self._tally(kind, category, dwell_ms, -1)

    def count(self, kind: str | None = None, category: str | None = None) -> int:
        """Return how many events are in the window, of one kind, of one category, or of both."""
        if category is None:
            return len(self._heap) if kind is None else self._kinds[kind]
        if kind is None:
            return sum(number for (_, of_category), number in self._pairs.items() if of_category == category)
        return self._pairs[kind, category]

    def dwell_seconds(self, category: str | None = None) -> float:
        """Return the visible seconds in the window, of one category or of all."""
        milliseconds = self._dwell_ms.total() if category is None else self._dwell_ms[category]
        return milliseconds / 1_000

    def __len__(self) -> int:
        """Return the number of events in the window."""
        return len(self._heap)

    def _tally(self, kind: str, category: str | None, dwell_ms: int, sign: int) -> None:
        _shift(self._kinds, kind, sign)
        _shift(self._pairs, (kind, category), sign)
        _shift(self._dwell_ms, category, sign * dwell_ms)


def _shift(counter: Counter[_Key], key: _Key, amount: int) -> None:
    counter[key] += amount
    if not counter[key]:
        del counter[key]  # or every category ever seen would stay for good
