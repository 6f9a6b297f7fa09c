"""The micro-interaction vocabulary: what a page may tell the agent, and the strict door it comes through.

An event is raw and stays on the device. It comes from a page's script, so it is hostile until parsed: unknown fields,
wrong types, over-long text, control characters, NaN and infinite numbers are refused with a typed reason that never
repeats the value. The parser returns a :class:`Rejected` instead of raising, because a bad row is an ordinary
outcome that the collector counts and the sender is told of; it is not an accident in the agent.

A slots dataclass instead of a pydantic model: the collector parses thousands of these a second in a resident process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, cast

from models.events.limits import EVENT_VERSION, FORBIDDEN, KINDS, NEEDS, NUMBERS, TEXTS

EventKind = Literal[
    "page_view", "click", "scroll", "dwell", "add_to_cart", "remove_from_cart", "purchase", "search", "custom"
]

RejectReason = Literal[
    "not_an_object",
    "unknown_field",
    "missing",
    "wrong_type",
    "unsupported_version",
    "unknown_kind",
    "empty",
    "too_long",
    "forbidden_character",
    "bad_format",
    "not_finite",
    "out_of_range",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One micro-interaction on one page of one site.

    Attributes:
        event_id: the sender's id, unique per device; a retry of the same id is the same event.
        kind: what happened.
        at_ms: when, in milliseconds since 1970-01-01 UTC, by the page's clock.
        site: host and optional port, lower case.
        session: the page's own session name. Kept for the visitor's export; sessions are cut by time, not by it.
        path: path of the page, from ``/``.
        title: title of the page.
        category: the page's category in the site's own words.
        product: the product's id.
        price: in the site's currency, for one piece.
        dwell_seconds: *visible* seconds on the page, reported when it is left (heartbeats are summed by the sender).
        scroll_depth: deepest point reached, 0 (top) to 1 (bottom).
        name: what a ``custom`` event is.
        version: of this vocabulary.
    """

    event_id: str
    kind: EventKind
    at_ms: int
    site: str
    session: str | None = None
    path: str | None = None
    title: str | None = None
    category: str | None = None
    product: str | None = None
    price: float | None = None
    dwell_seconds: float | None = None
    scroll_depth: float | None = None
    name: str | None = None
    version: int = EVENT_VERSION

    def document(self) -> dict[str, Any]:
        """Return the event as a JSON object without the absent fields; ``parse_event`` reads it back unchanged."""
        return {name: value for name in FIELD_NAMES if (value := getattr(self, name)) is not None}


FIELD_NAMES: Final = tuple(field.name for field in fields(Event))
_FIELD_SET: Final = frozenset(FIELD_NAMES)
_REQUIRED: Final = ("version", "event_id", "kind", "at_ms", "site")


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a would-be event was refused.

    Attributes:
        reason: the kind of fault.
        field: which field of the vocabulary; empty for the whole object and for unknown fields, whose names are the
            sender's words.
    """

    reason: RejectReason
    field: str = ""


def parse_event(raw: object) -> Event | Rejected:
    """Check one decoded JSON value against the vocabulary. Run by the agent's collector, for every event.

    Args:
        raw: what ``json.loads`` gave; anything at all is accepted as an argument.

    Returns:
        The event, with whole numbers in real-valued fields turned to floats, or the first fault found.
    """
    if not isinstance(raw, dict):
        return Rejected("not_an_object")
    if fault := _check_envelope(raw):
        return fault
    clean: dict[str, Any] = {"version": EVENT_VERSION, "kind": raw["kind"]}
    for field, value in raw.items():
        if value is None or field in clean:
            continue
        if fault := _check_text(field, value) if field in TEXTS else _check_number(field, value):
            return fault
        clean[field] = value if field in TEXTS or field == "at_ms" else float(value)
    need = NEEDS.get(clean["kind"])
    if need is not None and need not in clean:
        return Rejected("missing", need)
    return Event(**clean)


def _check_envelope(raw: dict[Any, Any]) -> Rejected | None:
    if not raw.keys() <= _FIELD_SET:
        return Rejected("unknown_field")
    for field in _REQUIRED:
        if raw.get(field) is None:
            return Rejected("missing", field)
    return _check_version(raw["version"]) or _check_kind(raw["kind"])


def _check_version(value: object) -> Rejected | None:
    if type(value) is not int:
        return Rejected("wrong_type", "version")
    return None if value == EVENT_VERSION else Rejected("unsupported_version", "version")


def _check_kind(value: object) -> Rejected | None:
    if not isinstance(value, str):
        return Rejected("wrong_type", "kind")
    return None if value in KINDS else Rejected("unknown_kind", "kind")


def _check_text(field: str, value: object) -> Rejected | None:
    limit = TEXTS[field]
    if not isinstance(value, str):
        return Rejected("wrong_type", field)
    if not value:
        return Rejected("empty", field)
    # Length before the regular expressions: a megabyte costs one comparison.
    if len(value) > limit.maximum:
        return Rejected("too_long", field)
    if FORBIDDEN.search(value):
        return Rejected("forbidden_character", field)
    if limit.pattern is not None and not limit.pattern.fullmatch(value):
        return Rejected("bad_format", field)
    return None


def _check_number(field: str, value: object) -> Rejected | None:
    limit = NUMBERS[field]
    # ``type`` and not ``isinstance``: JSON's true is an int in Python and is not a price.
    if type(value) is not int and (limit.whole or type(value) is not float):
        return Rejected("wrong_type", field)
    number = cast("float", value)
    if type(value) is float and not math.isfinite(number):
        return Rejected("not_finite", field)
    return None if limit.minimum <= number <= limit.maximum else Rejected("out_of_range", field)
