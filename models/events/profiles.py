"""A person's profile on one site: what 30 days of events come to. It never leaves the device as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.events.features import DWELL_PREFIX, PROFILE_TOPS, FeatureSpec, scaled_log
from models.events.sessions import Session, sessionise
from models.events.vocabulary import Event

PROFILE_DAYS: Final = 30
DAY_MS: Final = 86_400_000
PROFILE_MS: Final = PROFILE_DAYS * DAY_MS


@dataclass(frozen=True, slots=True)
class Profile:
    """Sums over one person's events on one site in the last 30 days.

    Attributes:
        visits: sessions.
        weekend_visits: sessions that started on a Saturday or Sunday, UTC.
        active_days: distinct UTC days with a session's start, at most ``PROFILE_DAYS`` + 1.
        kinds: number of events of each kind.
        dwell_seconds: visible seconds by category; pages without a category are under ``""``.
        pages: page views by category, likewise.
        scroll_sum: sum of the scroll depths (each 0..1) over the scroll events.
        price_sum: sum of the prices on viewed pages that had one.
        priced_pages: how many those are.
    """

    visits: int
    weekend_visits: int
    active_days: int
    kinds: Mapping[str, int]
    dwell_seconds: Mapping[str, float]
    pages: Mapping[str, int]
    scroll_sum: float
    price_sum: float
    priced_pages: int

    def dwell_share(self, category: str) -> float:
        """Return the share of the visible time that went to a category (0..1; 0 if there was no visible time)."""
        return _ratio(self.dwell_seconds.get(category, 0.0), sum(self.dwell_seconds.values()))

    def page_share(self, category: str) -> float:
        """Return the share of page views that went to a category (0..1), for example of a site's ``sale`` pages."""
        return _ratio(self.pages.get(category, 0), sum(self.pages.values()))


def build_profile(events: Iterable[Event], now_ms: int, days: int = PROFILE_DAYS) -> Profile:
    """Sum up the sessions that started within ``days`` before ``now_ms``.

    Args:
        events: of one person on one site (the caller keeps sites apart), any order.
        now_ms: the present, in ms since 1970; later events are ignored.
        days: how far to look back.
    """
    return profile_of_sessions(
        session
        for session in sessionise(events)
        if now_ms - days * DAY_MS < session.started_ms and session.ended_ms <= now_ms
    )


def profile_of_sessions(sessions: Iterable[Session]) -> Profile:
    """Sum up sessions that are already cut and chosen."""
    visits = weekend_visits = priced_pages = 0
    scroll_sum = price_sum = 0.0
    days: set[int] = set()
    kinds: Counter[str] = Counter()
    dwell_seconds: dict[str, float] = {}
    pages: Counter[str] = Counter()
    for session in sessions:
        visits += 1
        weekend_visits += is_weekend(session.started_ms)
        days.add(session.started_ms // DAY_MS)
        for event in session.events:
            kinds[event.kind] += 1
            category = event.category or ""
            if event.kind == "page_view":
                pages[category] += 1
                if event.price is not None:
                    price_sum += event.price
                    priced_pages += 1
            elif event.kind == "dwell":
                dwell_seconds[category] = dwell_seconds.get(category, 0.0) + (event.dwell_seconds or 0.0)
            elif event.kind == "scroll":
                scroll_sum += event.scroll_depth or 0.0
    return Profile(
        visits=visits,
        weekend_visits=weekend_visits,
        active_days=len(days),
        kinds=MappingProxyType(kinds),
        dwell_seconds=MappingProxyType(dwell_seconds),
        pages=MappingProxyType(pages),
        scroll_sum=scroll_sum,
        price_sum=price_sum,
        priced_pages=priced_pages,
    )


def profile_vector(profile: Profile, spec: FeatureSpec) -> NDArray[np.float64]:
    """Turn a profile into the vector that personas are made of. Run on the device.

    Args:
        profile: of one person on one site.
        spec: of kind ``profile``.

    Returns:
        float64[spec.dimension] in [0, 1], in the order of ``spec.names``; an empty profile is all zeros.

    Raises:
        ValueError: the spec is of another kind.
    """
    if spec.kind != "profile":
        raise ValueError(f"expected a spec of kind profile, got {spec.kind}")
    values = {DWELL_PREFIX + category: profile.dwell_share(category) for category in spec.categories}
    counts = _profile_counts(profile)
    values |= {name: scaled_log(counts[name], top) for name, top in PROFILE_TOPS.items()}
    values["mean_scroll"] = _ratio(profile.scroll_sum, profile.kinds.get("scroll", 0))
    return np.array([values[name] for name in spec.names], dtype=np.float64)


def _profile_counts(profile: Profile) -> dict[str, float]:
    kinds = profile.kinds
    page_views = kinds.get("page_view", 0)
    return {
        "visits": profile.visits,
        "page_views": page_views,
        "pages_per_visit": _ratio(page_views, profile.visits),
        "clicks_per_visit": _ratio(kinds.get("click", 0), profile.visits),
        "searches_per_visit": _ratio(kinds.get("search", 0), profile.visits),
        "carts_per_visit": _ratio(kinds.get("add_to_cart", 0), profile.visits),
        "removals_per_visit": _ratio(kinds.get("remove_from_cart", 0), profile.visits),
        "purchases_per_visit": _ratio(kinds.get("purchase", 0), profile.visits),
        "dwell_seconds_per_page": _ratio(sum(profile.dwell_seconds.values()), page_views),
        "mean_price": _ratio(profile.price_sum, profile.priced_pages),
    }


def transitions(sessions: Iterable[Session], categories: Sequence[str]) -> NDArray[np.int64]:
    """Count how often a page view of category *i* was followed by one of category *j* in the same session.

    Pages of other categories are left out, so their neighbours count as consecutive.

    Returns:
        int64[len(categories), len(categories)], rows are *from*.
    """
    index = {category: i for i, category in enumerate(categories)}
    counts = np.zeros((len(categories), len(categories)), dtype=np.int64)
    for session in sessions:
        path = [
            index[event.category] for event in session.events if event.kind == "page_view" and event.category in index
        ]
        for here, there in pairwise(path):
            counts[here, there] += 1
    return counts


def dwell_seconds(sessions: Iterable[Session]) -> list[float]:
    """Return the visible seconds of every page that reported them, in order."""
    return [
        event.dwell_seconds
        for session in sessions
        for event in session.events
        if event.kind == "dwell" and event.dwell_seconds is not None
    ]


def is_weekend(at_ms: int) -> bool:
    """Return whether a time (ms since 1970) falls on a Saturday or Sunday, UTC."""
    return (at_ms // DAY_MS + 3) % 7 >= 5  # noqa: PLR2004 - 1970-01-01 was a Thursday: day 3 of a week from Monday


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
