"""Intent: will this visit end in a purchase? Features of the visit so far, and the label, without leakage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.events.features import DWELL_PREFIX, SESSION_TOPS, FeatureSpec, scaled_log
from models.events.profiles import is_weekend
from models.events.sessions import Session
from models.events.vocabulary import Event


def before_purchase(events: Sequence[Event]) -> Sequence[Event]:
    """Return the events up to, and without, the first purchase: all that may be known when intent is predicted."""
    for i, event in enumerate(events):
        if event.kind == "purchase":
            return events[:i]
    return events


@dataclass(slots=True)
class _Tally:
    kinds: Counter[str] = field(default_factory=Counter)
    dwell_seconds: dict[str, float] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    prices: list[float] = field(default_factory=list)
    scroll_sum: float = 0.0

    def add(self, event: Event) -> None:
        self.kinds[event.kind] += 1
        category = event.category or ""
        if event.kind == "page_view":
            self.categories.add(category)
            if event.product is not None:
                self.products.add(event.product)
            if event.price is not None:
                self.prices.append(event.price)
        elif event.kind == "dwell":
            self.dwell_seconds[category] = self.dwell_seconds.get(category, 0.0) + (event.dwell_seconds or 0.0)
        elif event.kind == "scroll":
            self.scroll_sum += event.scroll_depth or 0.0


def session_features(session: Session, spec: FeatureSpec) -> NDArray[np.float64]:
    """Turn a visit into intent features. Run on the device, at training and again while the visit goes on.

    Only events before the first purchase are read: training on a finished visit and scoring a running one see the
    same kind of row, and nothing after the answer leaks into the question.

    Args:
        session: one visit, finished or running.
        spec: of kind ``session``.

    Returns:
        float64[spec.dimension] in [0, 1], in the order of ``spec.names``.

    Raises:
        ValueError: the spec is of another kind.
    """
    if spec.kind != "session":
        raise ValueError(f"expected a spec of kind session, got {spec.kind}")
    tally = _Tally()
    for event in before_purchase(session.events):
        tally.add(event)
    dwell_total = sum(tally.dwell_seconds.values())
    values = {
        DWELL_PREFIX + category: tally.dwell_seconds.get(category, 0.0) / dwell_total if dwell_total else 0.0
        for category in spec.categories
    }
    counts = _counts(tally, dwell_total)
    values |= {name: scaled_log(counts[name], top) for name, top in SESSION_TOPS.items()}
    scrolls = tally.kinds["scroll"]
    values["mean_scroll"] = tally.scroll_sum / scrolls if scrolls else 0.0
    values["categories_seen"] = len(tally.categories.intersection(spec.categories)) / len(spec.categories)
    values["weekend"] = float(is_weekend(session.started_ms))
    return np.array([values[name] for name in spec.names], dtype=np.float64)


def _counts(tally: _Tally, dwell_total: float) -> dict[str, float]:
    page_views = tally.kinds["page_view"]
    return {
        "page_views": page_views,
        "products": len(tally.products),
        "clicks": tally.kinds["click"],
        "searches": tally.kinds["search"],
        "carts": tally.kinds["add_to_cart"],
        "removals": tally.kinds["remove_from_cart"],
        "dwell_seconds": dwell_total,
        "dwell_seconds_per_page": dwell_total / page_views if page_views else 0.0,
        "mean_price": sum(tally.prices) / len(tally.prices) if tally.prices else 0.0,
    }


def intent_rows(sessions: Sequence[Session], spec: FeatureSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one device's training rows: features float64[n, f] and labels float64[n] (1 = the visit bought).

    Visits that hold nothing but a purchase say nothing and are left out.
    """
    told = [session for session in sessions if before_purchase(session.events)]
    features = np.array([session_features(session, spec) for session in told], dtype=np.float64)
    labels = np.array([session.purchased for session in told], dtype=np.float64)
    return features.reshape(len(told), spec.dimension), labels
