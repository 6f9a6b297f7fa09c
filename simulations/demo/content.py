"""Campaign content of the demo shop: one module for each kind of visitor, the rules that choose it, and segments.

Nothing here is about a person. The rules run on the device, over the persona that it assigned to itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from models.wire.bundle import Module, Rule, Segment

HERO: Final = "hero"

PERSONA_PHRASES: Final[Mapping[str, str]] = {
    "sneakers": "sneaker lover",
    "sale": "bargain hunter",
    "electronics": "gadget fan",
    "gifts": "gift buyer",
    "kitchen": "home cook",
    "dresses": "dress lover",
    "sport": "sports fan",
}
"""Category to persona label, for ``models.queries.labels.label(..., phrases=PERSONA_PHRASES)``."""


@dataclass(frozen=True)
class Teaser:
    """Words and drawing of one hero."""

    kicker: str
    heading: str
    text: str
    button: str
    drawing: str


TEASERS: Final[Mapping[str, Teaser]] = {
    "sneakers": Teaser(
        "Just in",
        "The new Harbour Runner is here.",
        "Lighter than last year’s, and it can be resoled twice.",
        "See the sneakers",
        '<path d="M22 66c12 12 34 12 46-8l48 34c20 13 48 9 66 20 8 5 10 11 10 18H26c-8-20-8-44-4-64z" fill="#ff8a4c"/>'
        '<path d="M26 130h166v6c0 5-4 9-9 9H34c-5 0-8-9-8-15z" fill="#f4f1ea"/>'
        '<path d="M80 72l14-11M94 83l14-11M108 93l14-11" stroke="#f4f1ea" stroke-width="5" stroke-linecap="round"/>'
        '<path d="M30 98c26 12 58 17 92 20" stroke="#ffd2b3" stroke-width="6" fill="none" stroke-linecap="round"/>',
    ),
    "sale": Teaser(
        "While they last",
        "Up to 40 % off the last pieces.",
        "Everything in the sale is new, boxed and has the same guarantee.",
        "Go to the sale",
        '<path d="M98 18h64a12 12 0 0 1 12 12v60a12 12 0 0 1-4 9l-60 52a12 12 0 0 1-17 0L34 92a12 12 0 0 1'
        ' 0-17l54-53a14 14 0 0 1 10-4z" fill="#ffd54f"/>'
        '<circle cx="148" cy="44" r="10" fill="#b3261e"/>'
        '<path d="M80 106l40-46" stroke="#b3261e" stroke-width="9" stroke-linecap="round"/>'
        '<circle cx="80" cy="74" r="9" fill="#b3261e"/><circle cx="118" cy="94" r="9" fill="#b3261e"/>',
    ),
    "electronics": Teaser(
        "On the bench",
        "Headphones you can open with one screw.",
        "Twelve devices that we repair ourselves, from speakers to readers.",
        "See electronics",
        '<path d="M44 108V80a56 56 0 0 1 112 0v28" fill="none" stroke="#5fd3bc" stroke-width="11"/>'
        '<rect x="30" y="86" width="32" height="58" rx="15" fill="#e9f6f2"/>'
        '<rect x="138" y="86" width="32" height="58" rx="15" fill="#e9f6f2"/>',
    ),
    "gifts": Teaser(
        "Wrapped and ready",
        "Someone’s birthday coming up?",
        "Small things under €40 that arrive wrapped, with your note inside.",
        "Find a gift",
        '<rect x="40" y="72" width="120" height="76" rx="6" fill="#e7a6f2"/>'
        '<rect x="32" y="54" width="136" height="28" rx="6" fill="#fbeffc"/>'
        '<path d="M100 54v94" stroke="#8b3f9b" stroke-width="14"/>'
        '<path d="M100 54c-42 0-46-40-20-40 16 0 20 26 20 40z" fill="none" stroke="#fbeffc"'
        ' stroke-width="9"/>'
        '<path d="M100 54c42 0 46-40 20-40-16 0-20 26-20 40z" fill="none" stroke="#fbeffc" stroke-width="9"/>',
    ),
    "kitchen": Teaser(
        "From our kitchen",
        "One good pan is enough for most things.",
        "The Skillet is cast, not coated: it gets better every year.",
        "See the kitchen",
        '<ellipse cx="84" cy="96" rx="66" ry="42" fill="#14261a"/>'
        '<ellipse cx="84" cy="90" rx="54" ry="32" fill="#5b8c63"/>'
        '<path d="M148 82l46-20" stroke="#f0f7ea" stroke-width="13" stroke-linecap="round"/>'
        '<path d="M62 56c-8-12 8-16 0-30M86 52c-8-12 8-16 0-30M110 56c-8-12 8-16 0-30" stroke="#f0f7ea"'
        ' stroke-width="4" fill="none" stroke-linecap="round" opacity="0.6"/>',
    ),
    "dresses": Teaser(
        "The summer cut",
        "Dresses for moving in.",
        "Linen and wool, cut so that nothing pinches when you cycle.",
        "See the dresses",
        '<path d="M78 14c3 16 41 16 44 0l12 8-8 42 30 80c-38 10-74 10-112 0l30-80-8-42z" fill="#f49ac1"/>'
        '<path d="M74 64h52" stroke="#5b1f3a" stroke-width="8"/>',
    ),
    "sport": Teaser(
        "For the long way home",
        "Made for rain, sweat and the washing machine.",
        "Jackets, mats and bottles that do not mind being used.",
        "See sport",
        '<path d="M66 18h68l36 34-18 24-14-10v80H62V66L48 76 30 52z" fill="#7cc7ea"/>'
        '<path d="M100 22v124" stroke="#12405a" stroke-width="6"/>',
    ),
}
"""Category to its hero."""

SEGMENTS: Final = (
    Segment(segment_id="ready-to-buy", title="Ready to buy", expression="intent.known && intent.score > 0.5"),
    Segment(
        segment_id="regular", title="Regular visitor", expression="profile.visits >= 3 && profile.active_days >= 3"
    ),
    Segment(
        segment_id="cart-only", title="Cart, never bought", expression="profile.carts > 0 && profile.purchases == 0"
    ),
    Segment(segment_id="new-here", title="New here", expression="profile.visits <= 1"),
)
"""Segments of the demo; each is decided on the device."""


def modules() -> tuple[Module, ...]:
    """One hero for each category."""
    return tuple(_hero(category, teaser) for category, teaser in TEASERS.items())


def rules(labels: Sequence[str]) -> tuple[Rule, ...]:
    """One rule for each persona that the study found and the shop has a hero for.

    Args:
        labels: the released personas' labels, in words as in ``PERSONA_PHRASES`` or with the category's name in them.
    """
    chosen = [(label, category) for label in dict.fromkeys(labels) if (category := _category_of(label)) is not None]
    return tuple(
        Rule(
            rule_id=f"hero-{index}-{category}",
            slot=HERO,
            expression=f"persona.label == {_quoted(label)}",
            module_id=module_id(category),
        )
        for index, (label, category) in enumerate(chosen)
    )


def module_id(category: str) -> str:
    """The hero of a category."""
    return f"hero-{category}"


def _category_of(label: str) -> str | None:
    plain = label.lower()
    for category, phrase in PERSONA_PHRASES.items():
        if plain.startswith(phrase) or category in plain:
            return category
    return None


def _quoted(label: str) -> str:
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hero(category: str, teaser: Teaser) -> Module:
    words = (
        f'<p class="hs-kicker">{escape(teaser.kicker)}</p><h2>{escape(teaser.heading)}</h2><p>{escape(teaser.text)}</p>'
        f'<a class="hs-button" href="/c/{category}" data-hs-click="hero">{escape(teaser.button)}</a>'
    )
    picture = f'<svg viewBox="0 0 200 160" aria-hidden="true">{teaser.drawing}</svg>'
    template = f'<div class="hs-hero hs-{category}"><div>{words}</div>{picture}</div>'
    return Module(
        module_id=module_id(category),
        slot=HERO,
        title=f"{PERSONA_PHRASES[category].capitalize()} hero",
        template=template,
    )
