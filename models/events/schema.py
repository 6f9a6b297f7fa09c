"""The event vocabulary as a JSON schema (draft 2020-12), for writers of pages and of other collectors."""

from __future__ import annotations

from typing import Any

from models.events.limits import (
    EVENT_VERSION,
    FORBIDDEN_CHARACTERS,
    KINDS,
    NEEDS,
    NUMBERS,
    TEXTS,
    NumberLimit,
    TextLimit,
)


def event_schema() -> dict[str, Any]:
    """Return the schema of one event; a test holds it and ``parse_event`` together.

    Two differences lie in JSON schema itself: it takes ``5.0`` for an integer, and its patterns cannot name lone
    surrogates. ``parse_event`` refuses both.
    """
    properties: dict[str, Any] = {"version": {"const": EVENT_VERSION}, "kind": {"enum": list(KINDS)}}
    properties |= {name: _text_schema(limit) for name, limit in TEXTS.items()}
    properties |= {name: _number_schema(limit) for name, limit in NUMBERS.items()}
    required = [name for name, limit in (TEXTS | NUMBERS).items() if limit.required]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Hearthside micro-interaction event",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "kind", *required],
        "properties": properties,
        "allOf": [_need_schema(kind, field) for kind, field in NEEDS.items()],
    }


def _text_schema(limit: TextLimit) -> dict[str, Any]:
    permitted: dict[str, Any] = {
        "type": "string",
        "minLength": 1,
        "maxLength": limit.maximum,
        "not": {"pattern": f"[{FORBIDDEN_CHARACTERS}]"},
    }
    if limit.pattern is not None:
        permitted["pattern"] = f"^(?:{limit.pattern.pattern})$"
    return permitted if limit.required else {"anyOf": [{"type": "null"}, permitted]}


def _number_schema(limit: NumberLimit) -> dict[str, Any]:
    permitted = {
        "type": "integer" if limit.whole else "number",
        "minimum": limit.minimum,
        "maximum": limit.maximum,
    }
    return permitted if limit.required else {"anyOf": [{"type": "null"}, permitted]}


def _need_schema(kind: str, field: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"kind": {"const": kind}}},
        "then": {"required": [field], "properties": {field: {"not": {"type": "null"}}}},
    }
