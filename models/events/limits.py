"""What an event may contain, as data: the parser and the exported JSON schema are both drawn from these tables."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

EVENT_VERSION: Final = 1

KINDS: Final = (
    "page_view",
    "click",
    "scroll",
    "dwell",
    "add_to_cart",
    "remove_from_cart",
    "purchase",
    "search",
    "custom",
)


class TextLimit(NamedTuple):
    """A text field: at most ``maximum`` characters, matching ``pattern`` (or any printable text where it is None)."""

    maximum: int
    pattern: re.Pattern[str] | None
    required: bool


class NumberLimit(NamedTuple):
    """A number field: finite, within ``[minimum, maximum]``; ``whole`` refuses fractions."""

    minimum: float
    maximum: float
    whole: bool
    required: bool


# C0 and C1 controls, line separators, bidirectional overrides, the byte-order mark and lone surrogates: none of them
# belongs in a title or a path, and each of them can forge a log line, reverse a label or break an encoder.
FORBIDDEN_CHARACTERS: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
FORBIDDEN: Final = re.compile(rf"[{FORBIDDEN_CHARACTERS}\ud800-\udfff]")

_TOKEN = re.compile(r"[A-Za-z0-9_.:-]+")
_SITE = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?")
_PATH = re.compile(r"/[^\s]*")

TEXTS: Final[dict[str, TextLimit]] = {
    "event_id": TextLimit(64, _TOKEN, required=True),
    "site": TextLimit(259, _SITE, required=True),
    "session": TextLimit(64, _TOKEN, required=False),
    "path": TextLimit(1024, _PATH, required=False),
    "title": TextLimit(300, None, required=False),
    "category": TextLimit(64, None, required=False),
    "product": TextLimit(64, _TOKEN, required=False),
    "name": TextLimit(64, _TOKEN, required=False),
}

LATEST_AT_MS: Final = 4_102_444_800_000  # 2100-01-01: a time beyond it is in the wrong unit
MAXIMUM_DWELL_SECONDS: Final = 14_400.0
MAXIMUM_PRICE: Final = 10_000_000.0

NUMBERS: Final[dict[str, NumberLimit]] = {
    "at_ms": NumberLimit(0, LATEST_AT_MS, whole=True, required=True),
    "price": NumberLimit(0.0, MAXIMUM_PRICE, whole=False, required=False),
    "dwell_seconds": NumberLimit(0.0, MAXIMUM_DWELL_SECONDS, whole=False, required=False),
    "scroll_depth": NumberLimit(0.0, 1.0, whole=False, required=False),
}

# What a kind cannot do without. Everything else is optional for every kind: a bare click is still a click.
NEEDS: Final[dict[str, str]] = {"dwell": "dwell_seconds", "scroll": "scroll_depth", "custom": "name"}
