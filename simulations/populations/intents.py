"""The planted intent: a known logistic of what the visitor did, plus noise that no model can explain.

The logistic is linear in ``models.events`` features of the visit, so a linear model or a small net can learn it; the
noise (a device's own leaning, a visit's mood, the coin) puts the ceiling on every model's AUC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.events.features import SESSION_TOPS
from simulations.populations.behaviour import Pages, Visits, elapsed_share, on_weekend
from simulations.populations.shop import CATEGORIES, PRICE_RANGES, PRODUCTS_PER_CATEGORY, price_of

INTERCEPT: Final = -8.0
WEIGHTS: Final[dict[str, float]] = {
    "page_views": 2.0,
    "carts": 6.5,
    "removals": -3.0,
    "searches": 1.5,
    "dwell_seconds_per_page": 3.0,
    "mean_scroll": 3.0,
    "mean_price": -0.8,
    "dwell:sale": 0.7,
    "weekend": 0.4,
}
TREND: Final = 0.4  # drift: log-odds gained over the 30 days, seen by no feature
DEVICE_SPREAD: Final = 0.4
VISIT_SPREAD: Final = 0.4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Intents:
    """The planted truth of every visit: probability float64[s] of a purchase, and whether it came, bool[s]."""

    probability: Floats
    purchased: NDArray[np.bool_]


def planted_features(visits: Visits, pages: Pages) -> dict[str, Floats]:
    """Return the features that the planted logistic reads, float64[s] each, as ``session_features`` defines them."""
    number = visits.pages.size

    def total(values: NDArray[np.generic]) -> Floats:
        return np.asarray(np.bincount(pages.visit, weights=values.astype(np.float64), minlength=number))

    scrolled = ~np.isnan(pages.scroll)
    prices = price_table()[pages.category, pages.product]
    priced = total(pages.product >= 0)
    dwell = total(pages.dwell_ms) / 1_000
    on_sale = pages.category == CATEGORIES.index("sale")
    counts = {
        "page_views": visits.pages.astype(np.float64),
        "carts": total(pages.carted),
        "removals": total(pages.removed),
        "searches": total(pages.searched),
        "dwell_seconds_per_page": dwell / visits.pages,
        "mean_price": total(np.where(pages.product >= 0, prices, 0.0)) / np.maximum(priced, 1),
    }
    features = {name: _scaled_log(values, SESSION_TOPS[name]) for name, values in counts.items()}
    features["mean_scroll"] = total(np.nan_to_num(pages.scroll)) / np.maximum(total(scrolled), 1)
    features["dwell:sale"] = total(np.where(on_sale, pages.dwell_ms, 0)) / 1_000 / dwell
    features["weekend"] = on_weekend(visits.start_ms).astype(np.float64)
    return features


def draw_intents(devices: int, visits: Visits, pages: Pages, start_ms: int, generator: np.random.Generator) -> Intents:
    """Draw which visits end in a purchase."""
    features = planted_features(visits, pages)
    logit = INTERCEPT + TREND * elapsed_share(visits.start_ms, start_ms)
    for name, weight in WEIGHTS.items():
        logit = logit + weight * features[name]
    logit = logit + DEVICE_SPREAD * generator.standard_normal(devices)[visits.device]
    logit = logit + VISIT_SPREAD * generator.standard_normal(logit.size)
    probability = np.asarray(1 / (1 + np.exp(-logit)), dtype=np.float64)
    return Intents(probability, generator.random(logit.size) < probability)


def price_table() -> Floats:
    """Return float64[categories, products] of prices; home has none (NaN)."""
    table = np.full((len(CATEGORIES), PRODUCTS_PER_CATEGORY), np.nan)
    for category in PRICE_RANGES:
        row = [price_of(category, product) for product in range(PRODUCTS_PER_CATEGORY)]
        table[CATEGORIES.index(category)] = row
    return table


def _scaled_log(values: Floats, top: float) -> Floats:
    return np.asarray(np.minimum(1.0, np.log1p(values) / np.log1p(top)))
