"""Named, versioned features: what each position of a feature vector means, and the public constants that bound it.

Every feature lies in [0, 1]. The scales are constants of this module and not statistics of anyone's data: a private
pipeline cannot look at the data for a mean or a maximum without paying for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from privacy.crypto import canonical_json, digest

FEATURE_VERSION: Final = 1
MAXIMUM_CATEGORIES: Final = 256

# Count features are log(1 + x) / log(1 + top), cut at 1. The tops are round numbers that a busy shopper reaches.
# Carts and purchases are told per visit: as plain counts their chance differences drown the interests in k-means
# (adjusted Rand index against planted personas .66 instead of .94).
PROFILE_TOPS: Final[dict[str, float]] = {
    "visits": 60.0,
    "page_views": 600.0,
    "pages_per_visit": 40.0,
    "clicks_per_visit": 20.0,
    "searches_per_visit": 5.0,
    "carts_per_visit": 5.0,
    "removals_per_visit": 5.0,
    "purchases_per_visit": 5.0,
    "dwell_seconds_per_page": 300.0,
    "mean_price": 1_000.0,
}
PROFILE_SHARES: Final = ("mean_scroll",)

SESSION_TOPS: Final[dict[str, float]] = {
    "page_views": 50.0,
    "products": 30.0,
    "clicks": 50.0,
    "searches": 10.0,
    "carts": 10.0,
    "removals": 10.0,
    "dwell_seconds": 3_600.0,
    "dwell_seconds_per_page": 300.0,
    "mean_price": 1_000.0,
}
SESSION_SHARES: Final = ("mean_scroll", "categories_seen", "weekend")

DWELL_PREFIX: Final = "dwell:"


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The meaning of a feature vector: its kind, its version and the categories it distinguishes.

    Attributes:
        kind: ``profile`` (a person's 30 days, for personas) or ``session`` (one visit before any purchase, for intent).
        categories: the site's page categories in a fixed order, distinct.
        version: of the list of features; both ends must agree on it.
    """

    kind: Literal["profile", "session"]
    categories: tuple[str, ...]
    version: int = FEATURE_VERSION

    def __post_init__(self) -> None:
        """Refuse specs that have no fixed meaning."""
        if self.version != FEATURE_VERSION:
            raise ValueError(f"expected feature version {FEATURE_VERSION}, got {self.version}")
        if not 1 <= len(self.categories) <= MAXIMUM_CATEGORIES:
            raise ValueError(f"expected 1 to {MAXIMUM_CATEGORIES} categories, got {len(self.categories)}")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("expected distinct categories")

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each position: dwell share by category, then scaled counts, then shares."""
        tops, shares = (PROFILE_TOPS, PROFILE_SHARES) if self.kind == "profile" else (SESSION_TOPS, SESSION_SHARES)
        return (*(DWELL_PREFIX + category for category in self.categories), *tops, *shares)

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return len(self.names)

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of what the vector means: equal digests, interchangeable vectors."""
        body = {"kind": self.kind, "names": list(self.names), "version": self.version}
        return digest("feature-spec", canonical_json(body))


def scaled_log(value: float, top: float) -> float:
    """Return ``min(1, log(1 + value) / log(1 + top))`` for ``value >= 0``: heavy tails bounded, small counts apart."""
    return min(1.0, math.log1p(value) / math.log1p(top))
