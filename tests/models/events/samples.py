"""Events for tests, with only what a test cares about spelled out."""

from __future__ import annotations

from itertools import count
from typing import Any

from models.events import Event

_NUMBERS = count()
START_MS = 1_780_272_000_000  # a Monday, 00:00 UTC


def event(kind: str = "page_view", at_seconds: float = 0, **fields: Any) -> Event:
    """Return an event ``at_seconds`` after the start, with an id of its own."""
    fields.setdefault("event_id", f"e{next(_NUMBERS)}")
    fields.setdefault("site", "shop.example")
    return Event(kind=kind, at_ms=START_MS + round(at_seconds * 1_000), **fields)


def document(**changes: Any) -> dict[str, Any]:
    """Return a valid page view as a page would send it, with changes."""
    good = {
        "version": 1,
        "event_id": "a-1",
        "kind": "page_view",
        "at_ms": START_MS,
        "site": "shop.example:8443",
        "session": "s1",
        "path": "/sneakers/12",
        "title": "Röde Schuhe",
        "category": "sneakers",
        "product": "sneakers-12",
        "price": 79.5,
    }
    return good | changes
