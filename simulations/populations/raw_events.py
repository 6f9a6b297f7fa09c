"""From drawn arrays to real events: what a page's script would have reported, one visit at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.events import Event, EventKind
from simulations.populations.behaviour import TURN_MS, Pages, Visits
from simulations.populations.intents import Intents
from simulations.populations.shop import CATEGORIES, HOME, SITE, price_of


@dataclass(frozen=True, slots=True)
class Records:
    """Everything drawn for a population, as arrays; offsets int64[devices + 1] and int64[visits + 1] cut them."""

    visits: Visits
    pages: Pages
    intents: Intents
    visit_offsets: NDArray[np.int64]
    page_offsets: NDArray[np.int64]


def visit_events(records: Records, device: int, visit: int, canary: str | None) -> Iterator[Event]:
    """Yield the events of one visit in order of time; a purchase, if there is one, comes last."""
    first, last = records.page_offsets[visit : visit + 2]
    for row in range(int(first), int(last)):
        yield from _page_events(records.pages, row, PageView.of_row(records.pages, row, f"{device}-{row}", canary))
    if records.intents.purchased[visit]:
        row = int(last) - 1
        page = PageView.of_row(records.pages, row, f"{device}-{row}", canary)
        yield page.event("purchase", int(records.pages.dwell_ms[row]) + TURN_MS // 2)


def _page_events(pages: Pages, row: int, page: PageView) -> Iterator[Event]:
    dwell_ms = int(pages.dwell_ms[row])
    scroll = float(pages.scroll[row])
    yield page.event("page_view", 0)
    if pages.searched[row]:
        yield page.event("search", dwell_ms // 10)
    if not math.isnan(scroll):
        yield page.event("scroll", dwell_ms * 3 // 10, scroll_depth=scroll)
    if pages.clicked[row]:
        yield page.event("click", dwell_ms // 2)
    if pages.carted[row]:
        yield page.event("add_to_cart", dwell_ms * 6 // 10)
    if pages.removed[row]:
        yield page.event("remove_from_cart", dwell_ms * 8 // 10)
    yield page.event("dwell", dwell_ms, dwell_seconds=dwell_ms / 1_000)


class PageView:
    """One page view on its way to events: what all of its events have in common."""

    __slots__ = ("_at_ms", "_category", "_id", "_path", "_price", "_product", "_title")

    def __init__(self, name: str, category: str, product: int, at_ms: int, canary: str | None) -> None:
        mark = f" {canary}" if canary else ""
        self._id = name
        self._at_ms = at_ms
        self._category = category
        self._product = f"{category}-{product}" if category != HOME else None
        self._price = price_of(category, product) if category != HOME else None
        label = category.capitalize() if category == HOME else f"{category.capitalize()} {product}"
        self._title = label + mark
        self._path = "/" + (f"{category}/{product}" if category != HOME else "") + (f"~{canary}" if canary else "")

    @classmethod
    def of_row(cls, pages: Pages, row: int, name: str, canary: str | None) -> PageView:
        """Read one page view from the arrays; ``name`` begins the ids of its events."""
        category = CATEGORIES[pages.category[row]]
        return cls(name, category, int(pages.product[row]), int(pages.start_ms[row]), canary)

    def event(
        self, kind: EventKind, after_ms: int, dwell_seconds: float | None = None, scroll_depth: float | None = None
    ) -> Event:
        """Return what happened on this page ``after_ms`` after it was opened."""
        return Event(
            event_id=f"{self._id}-{kind}",
            kind=kind,
            at_ms=self._at_ms + after_ms,
            site=SITE,
            path=self._path,
            title=self._title,
            category=self._category,
            product=self._product,
            price=self._price,
            dwell_seconds=dwell_seconds,
            scroll_depth=scroll_depth,
        )
