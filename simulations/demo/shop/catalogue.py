"""What the demo shop sells: names from short lists, prices from the population's ladder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from simulations.populations.shop import CATEGORIES, HOME, price_of

SHOWN_PER_CATEGORY: Final = 12
_STEP: Final = 3
"""Every third rung of the price ladder is on display."""

DEPARTMENTS: Final[dict[str, tuple[str, str]]] = {
    "sneakers": ("Sneakers", "Light, sturdy, made to be resoled."),
    "dresses": ("Dresses", "Cut for moving, in cloth that lasts."),
    "electronics": ("Electronics", "Few things, well chosen, easy to repair."),
    "sale": ("Sale", "Last pairs, last pieces, honest discounts."),
    "kitchen": ("Kitchen", "Pans, knives and bowls for every day."),
    "gifts": ("Gifts", "Small things that arrive wrapped."),
    "sport": ("Sport", "For the park, the pitch and the long way home."),
}
"""Category to its heading and line of text."""

_FIRST: Final = (
    "Harbour",
    "Juniper",
    "Marlow",
    "Fen",
    "Alder",
    "Quarry",
    "Tern",
    "Lowland",
    "Copper",
    "Wren",
    "Tide",
    "Moss",
)
_THINGS: Final[dict[str, tuple[str, ...]]] = {
    "sneakers": ("Runner", "Court", "Trail", "Low"),
    "dresses": ("Wrap Dress", "Shift", "Linen Dress", "Midi"),
    "electronics": ("Headphones", "Speaker", "Reader", "Lamp"),
    "sale": ("Scarf", "Mug", "Tote", "Socks"),
    "kitchen": ("Skillet", "Chef's Knife", "Bowl Set", "Kettle"),
    "gifts": ("Candle", "Notebook", "Puzzle", "Tea Box"),
    "sport": ("Bottle", "Mat", "Jacket", "Racket"),
}
_HUES: Final[dict[str, int]] = {
    "sneakers": 18, "dresses": 338, "electronics": 214, "sale": 4, "kitchen": 152, "gifts": 276, "sport": 188,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    """One product.

    Attributes:
        product_id: such as ``sneakers-6``.
        category: where it is found.
        name: as shown.
        price: in euros.
        former_price: before the discount, for the sale; None elsewhere.
        hue: of its picture, in degrees.
        shape: which drawing, 0 to 3.
    """

    product_id: str
    category: str
    name: str
    price: float
    former_price: float | None
    hue: int
    shape: int


@lru_cache(maxsize=1)
def products() -> dict[str, Product]:
    """Every product on display, by id."""
    return {
        product.product_id: product
        for category in CATEGORIES
        if category != HOME
        for product in (_product(category, rung) for rung in range(SHOWN_PER_CATEGORY))
    }


def of_category(category: str) -> list[Product]:
    """The products of one category, cheapest first."""
    return [product for product in products().values() if product.category == category]


def picks() -> list[Product]:
    """The default choice of the home page: one of each category, and one more."""
    chosen = [of_category(category)[index % SHOWN_PER_CATEGORY] for index, category in enumerate(_THINGS, start=4)]
    return [*chosen, of_category("electronics")[0]]


def _product(category: str, rung: int) -> Product:
    shape = rung % 4
    price = price_of(category, rung * _STEP)
    return Product(
        product_id=f"{category}-{rung * _STEP}",
        category=category,
        name=f"{_FIRST[(rung * 5 + len(category)) % len(_FIRST)]} {_THINGS[category][shape]}",
        price=price,
        former_price=round(price * 1.4, 2) if category == "sale" else None,
        hue=(_HUES[category] + rung * 11) % 360,
        shape=shape,
    )
