"""The demo shop and the people planted in it: categories, products, prices and personas, all public constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SITE: Final = "shop.example"
HOME: Final = "home"
CATEGORIES: Final = (HOME, "sneakers", "dresses", "electronics", "sale", "kitchen", "gifts", "sport")
PRODUCTS_PER_CATEGORY: Final = 40

# Lowest and highest price of each category; products lie between them in a geometric ladder.
PRICE_RANGES: Final[dict[str, tuple[float, float]]] = {
    "sneakers": (49.0, 220.0),
    "dresses": (39.0, 260.0),
    "electronics": (29.0, 900.0),
    "sale": (5.0, 60.0),
    "kitchen": (9.0, 320.0),
    "gifts": (12.0, 120.0),
    "sport": (19.0, 240.0),
}


def price_of(category: str, product: int) -> float:
    """Return the price of product number ``product`` (0 to 39) of a category other than home."""
    low, high = PRICE_RANGES[category]
    return round(float(low * (high / low) ** (product / (PRODUCTS_PER_CATEGORY - 1))), 2)


@dataclass(frozen=True, slots=True)
class Persona:
    """A planted kind of visitor.

    Attributes:
        name: identifier.
        label: what a console would call it.
        share: share of the population.
        interest: weight of each category in ``CATEGORIES``; sums to 1.
        pages: mean pages of a visit beyond the first, for a visitor of average engagement.
        dwell_seconds: median visible seconds of a page.
        search_rate: share of pages reached by a search.
        cart_bias: added to the log-odds of putting a product into the cart.
    """

    name: str
    label: str
    share: float
    interest: tuple[float, ...]
    pages: float
    dwell_seconds: float
    search_rate: float
    cart_bias: float


#                                            home  sneak dress elect sale  kitch gifts sport
PERSONAS: Final = (
    Persona(
        "sneaker_lover", "Sneaker lover", 0.24, (0.04, 0.60, 0.04, 0.04, 0.06, 0.02, 0.02, 0.18), 3.4, 28.0, 0.05, 0.0
    ),
    Persona(
        "bargain_hunter", "Bargain hunter", 0.24, (0.04, 0.05, 0.08, 0.06, 0.62, 0.06, 0.05, 0.04), 5.0, 14.0, 0.08, 0.2
    ),
    Persona("gadget_fan", "Gadget fan", 0.20, (0.04, 0.04, 0.02, 0.66, 0.08, 0.06, 0.04, 0.06), 3.8, 36.0, 0.14, -0.2),
    Persona("gift_buyer", "Gift buyer", 0.14, (0.04, 0.04, 0.14, 0.08, 0.06, 0.08, 0.52, 0.04), 3.0, 20.0, 0.10, 0.3),
    Persona("home_cook", "Home cook", 0.18, (0.04, 0.02, 0.08, 0.05, 0.10, 0.62, 0.07, 0.02), 3.6, 26.0, 0.06, 0.0),
)
