"""How planted visitors behave: visits, page chains, dwell, scroll and carts, drawn for everybody at once.

Dwell and scroll are simulated: no public data set has them for web pages. All draws are vectorised over the
population and come from one generator in a fixed order, so a seed fixes every event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulations.populations.shop import CATEGORIES, HOME, PERSONAS, PRODUCTS_PER_CATEGORY

DAYS: Final = 30
MINIMUM_VISITS: Final = 5
MAXIMUM_VISITS: Final = 25
MAXIMUM_PAGES: Final = 40

# The planted page chain: stay in the category (nobody stays at home), go home, or draw afresh from one's interests.
STAY: Final = 0.50
GO_HOME: Final = 0.08
ENTER_AT_HOME: Final = 0.55
INTEREST_CONCENTRATION: Final = 30.0

# Drift: by the last day this share of everybody's interest has moved to the sale pages.
DRIFT_TO_SALE: Final = 0.12

# Seasonality: weight of the four quarters of a day (UTC), and of Saturdays and Sundays.
QUARTER_WEIGHTS: Final = (0.4, 1.0, 1.2, 1.6)
WEEKEND_WEIGHT: Final = 1.4

# At most one visit per quarter day, starting in its first three hours and at most 40 * (200 + 1) seconds long: the
# silence between two visits is then at least 46 minutes, and sessions are recovered exactly by the 30 minute gap.
SLOT_MS: Final = 6 * 3_600_000
START_SPREAD_MS: Final = 3 * 3_600_000
DWELL_RANGE_SECONDS: Final = (1.0, 200.0)
TURN_MS: Final = 1_000

SCROLL_RATE: Final = 0.7
CLICK_RATE: Final = 0.45
REMOVAL_RATE: Final = 0.2
CART_LOG_ODDS: Final = -2.3

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Visits:
    """One entry per visit, sorted by device and time.

    Attributes:
        device: int64[s].
        start_ms: int64[s], since 1970.
        pages: int64[s], number of page views, 1 to ``MAXIMUM_PAGES``.
        engagement: float64[s], standard normal: how keen the visitor is that day; it moves everything observable.
    """

    device: Ints
    start_ms: Ints
    pages: Ints
    engagement: Floats


@dataclass(frozen=True, slots=True)
class Pages:
    """One entry per page view, sorted by visit and order.

    Attributes:
        visit: int64[p], index into the visits.
        category: int64[p], index into ``CATEGORIES``.
        product: int64[p], number inside the category, -1 on home pages.
        start_ms: int64[p], since 1970.
        dwell_ms: int64[p], visible time.
        scroll: float64[p], depth 0..1, NaN where the visitor did not scroll.
        clicked, searched, carted, removed: bool[p].
    """

    visit: Ints
    category: Ints
    product: Ints
    start_ms: Ints
    dwell_ms: Ints
    scroll: Floats
    clicked: Flags
    searched: Flags
    carted: Flags
    removed: Flags


def draw_personas(devices: int, generator: np.random.Generator) -> Ints:
    """Draw each device's persona, int64[devices], by the planted shares."""
    return generator.choice(len(PERSONAS), size=devices, p=[persona.share for persona in PERSONAS])


def draw_interests(persona: Ints, generator: np.random.Generator) -> Floats:
    """Draw each device's own interests, float64[devices, categories]: a Dirichlet around its persona's."""
    means = np.array([person.interest for person in PERSONAS])[persona]
    gammas = generator.standard_gamma(INTEREST_CONCENTRATION * means)
    return np.asarray(gammas / gammas.sum(axis=1, keepdims=True), dtype=np.float64)


def draw_visits(persona: Ints, start_ms: int, generator: np.random.Generator) -> Visits:
    """Draw 5 to 25 visits a device over 30 days, more of them in the evening and at weekends."""
    devices, slots = persona.size, DAYS * len(QUARTER_WEIGHTS)
    numbers = generator.integers(MINIMUM_VISITS, MAXIMUM_VISITS + 1, size=devices)
    # Gumbel top-k: distinct slots, without replacement, by their weights.
    scores = np.log(_slot_weights(start_ms)) + generator.gumbel(size=(devices, slots))
    ranks = np.argsort(np.argsort(-scores, axis=1), axis=1)
    device, slot = np.nonzero(ranks < numbers[:, None])
    starts = start_ms + slot * SLOT_MS + generator.integers(0, START_SPREAD_MS, size=device.size)
    engagement = generator.standard_normal(device.size)
    mean_pages = np.array([person.pages for person in PERSONAS])[persona[device]]
    pages = 1 + generator.poisson(mean_pages * np.exp(0.35 * engagement))
    return Visits(device, starts, np.minimum(pages, MAXIMUM_PAGES), engagement)


def _slot_weights(start_ms: int) -> Floats:
    slots = start_ms + np.arange(DAYS * len(QUARTER_WEIGHTS)) * SLOT_MS
    weights = np.tile(np.array(QUARTER_WEIGHTS), DAYS)
    return np.asarray(np.where(on_weekend(slots), WEEKEND_WEIGHT, 1.0) * weights, dtype=np.float64)


def on_weekend(at_ms: Ints) -> Flags:
    """Return which times (ms since 1970) fall on a Saturday or Sunday, UTC."""
    return np.asarray((at_ms // 86_400_000 + 3) % 7 >= 5)  # noqa: PLR2004 - day 3 (Thursday) was 1970-01-01


def elapsed_share(at_ms: Ints, start_ms: int) -> Floats:
    """Return how much of the 30 days has passed at each time, 0 to 1."""
    return np.asarray((at_ms - start_ms) / (DAYS * 86_400_000), dtype=np.float64)


def draw_pages(
    persona: Ints, interests: Floats, visits: Visits, start_ms: int, generator: np.random.Generator
) -> Pages:
    """Draw the pages of all visits and what was done on each."""
    visit = np.repeat(np.arange(visits.pages.size), visits.pages)
    category = _draw_chain(interests, visits, start_ms, generator)
    person = persona[visits.device[visit]]
    keen = visits.engagement[visit]
    size = visit.size
    at_home = category == CATEGORIES.index(HOME)
    # Squaring a uniform favours the first products of a category: a long tail.
    product = (generator.random(size) ** 2 * PRODUCTS_PER_CATEGORY).astype(np.int64)
    median = np.array([p.dwell_seconds for p in PERSONAS])[person]
    seconds = np.clip(median * np.exp(0.25 * keen + 0.8 * generator.standard_normal(size)), *DWELL_RANGE_SECONDS)
    dwell_ms = np.rint(seconds * 1_000).astype(np.int64)
    depth = 1 / (1 + np.exp(-(0.2 + 0.5 * keen + 0.8 * generator.standard_normal(size))))
    scroll = np.where(generator.random(size) < SCROLL_RATE, np.round(depth, 3), np.nan)
    bias = np.array([p.cart_bias for p in PERSONAS])[person]
    carts = 1 / (1 + np.exp(-(CART_LOG_ODDS + bias + 0.9 * keen)))
    carted = (generator.random(size) < carts) & ~at_home
    return Pages(
        visit=visit,
        category=category,
        product=np.where(at_home, -1, product),
        start_ms=visits.start_ms[visit] + _elapsed_before(dwell_ms + TURN_MS, visits.pages),
        dwell_ms=dwell_ms,
        scroll=scroll,
        clicked=generator.random(size) < CLICK_RATE,
        searched=generator.random(size) < np.array([p.search_rate for p in PERSONAS])[person],
        carted=carted,
        removed=carted & (generator.random(size) < REMOVAL_RATE),
    )


def _draw_chain(interests: Floats, visits: Visits, start_ms: int, generator: np.random.Generator) -> Ints:
    """Walk all visits page by page; returns int64[p] in visit order."""
    moved = DRIFT_TO_SALE * elapsed_share(visits.start_ms, start_ms)[:, None]
    sale = np.eye(len(CATEGORIES))[CATEGORIES.index("sale")]
    cumulative = np.cumsum((1 - moved) * interests[visits.device] + moved * sale, axis=1)
    home = CATEGORIES.index(HOME)
    chain = np.full((visits.pages.size, MAXIMUM_PAGES), -1, dtype=np.int64)
    for step in range(int(visits.pages.max(initial=0))):
        alive = np.nonzero(visits.pages > step)[0]
        fresh = _pick(cumulative[alive], generator.random(alive.size))
        coin = generator.random(alive.size)
        if step == 0:
            chain[alive, 0] = np.where(coin < ENTER_AT_HOME, home, fresh)
        else:
            here = chain[alive, step - 1]
            staying = np.where(here == home, fresh, here)
            elsewhere = np.where(coin < STAY + GO_HOME, home, fresh)
            chain[alive, step] = np.where(coin < STAY, staying, elsewhere)
    return chain[chain >= 0]


def _pick(cumulative: Floats, uniform: Floats) -> Ints:
    # The last column may round to just below 1: a uniform above it belongs to the last category.
    chosen = np.sum(uniform[:, None] >= cumulative, axis=1)
    return np.asarray(np.minimum(chosen, cumulative.shape[1] - 1), dtype=np.int64)


def _elapsed_before(lengths: Ints, counts: Ints) -> Ints:
    """Cumulative sum that starts afresh, at 0, with each visit."""
    before = np.cumsum(lengths) - lengths
    firsts = np.cumsum(counts) - counts
    return np.asarray(before - np.repeat(before[firsts], counts), dtype=np.int64)
