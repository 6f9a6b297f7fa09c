"""The file of a consent record: its form, its limits, and how it is read and written.

Whoever verifies a record runs on a file of a stranger. So its size is bounded before it is parsed, what a parser makes
of it is bounded too, and its shape is known before anything else touches it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from consent.errors import RecordInvalid
from privacy.crypto import canonical_json, digest, parse_canonical

RECORD_TYPE: Final = "hearthside-consent-record"
RECORD_VERSION: Final = 1
MAXIMUM_RECORD_BYTES: Final = 8 * 2**20
"""Room for some 1,900 choices that grant everything and were confirmed (4.2 kB each): one a day for five years."""
MAXIMUM_RECORD_MARKS: Final = 200_000
"""Braces, brackets, commas and colons. A parser makes an object or two of each, which need twenty times the space of
the text. The largest record has a quarter as many: 22 in each choice and its confirmation."""
_MARKS: Final = (b"{", b"[", b",", b":")
_LISTS: Final = ("rows", "set_aside", "confirmations")
_TEXTS: Final = ("end", "device_key", "leader_key", "site", "person")
_FIELDS: Final = {"type", "version", *_LISTS, *_TEXTS}


def write_record(document: dict[str, Any]) -> bytes:
    """A record as a file: canonical JSON and a line's end."""
    return canonical_json(document) + b"\n"


def read_record(data: bytes) -> dict[str, Any]:
    """A record of the right form, in any spelling of its JSON; nothing in it is believed yet.

    Raises:
        RecordInvalid: it is none, or is larger than any.
    """
    _check_size(data)
    try:
        document = json.loads(data, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise RecordInvalid(f"expected a consent record in JSON ({type(error).__name__})") from None
    _check_shape(document)
    try:
        canonical_json(document)
    except ValueError as error:
        raise RecordInvalid(f"expected a consent record in JSON ({type(error).__name__})") from None
    return document  # type: ignore[no-any-return]  # its shape was checked


def record_digest(document: dict[str, Any]) -> bytes:
    """What the device signs of a record: everything but the end (32 bytes)."""
    rest = {name: value for name, value in document.items() if name != "end"}
    return digest("consent-record", canonical_json(rest))


def carried(bodies: Iterable[bytes]) -> list[Any]:
    """Stored rows as a record carries them: as JSON, or as text what is not the canonical form of an object."""
    return [_carried(body) for body in bodies]


def row_body(row: Any) -> bytes:
    """The bytes that a row of a record stands for; those of text are no row's."""
    return canonical_json(row)


def content_of(entry: Any) -> str:
    """What a row that a record carries holds, if that can be told; what is text is its own content."""
    content = entry.get("content") if isinstance(entry, dict) else entry
    return content if isinstance(content, str) else ""


def _carried(body: bytes) -> Any:
    try:
        row = parse_canonical(body)
    except (ValueError, RecursionError):
        row = None
    return row if isinstance(row, dict) and _is_entry(row) else body.decode("utf-8", "backslashreplace")


def _check_size(data: bytes) -> None:
    if len(data) > MAXIMUM_RECORD_BYTES:
        raise RecordInvalid(f"expected at most {MAXIMUM_RECORD_BYTES} bytes, got {len(data)}")
    marks = sum(data.count(mark) for mark in _MARKS)
    if marks > MAXIMUM_RECORD_MARKS:
        raise RecordInvalid(f"expected at most {MAXIMUM_RECORD_MARKS} braces, brackets, commas and colons, got {marks}")


def _check_shape(document: Any) -> None:
    if not isinstance(document, dict) or set(document) != _FIELDS:
        raise RecordInvalid(f"expected the fields {sorted(_FIELDS)} of a consent record")
    if document["type"] != RECORD_TYPE or document["version"] != RECORD_VERSION:
        raise RecordInvalid(f"expected a {RECORD_TYPE} of version {RECORD_VERSION}")
    if not all(isinstance(document[name], list) for name in _LISTS):
        raise RecordInvalid(f"expected {', '.join(_LISTS)} in lists")
    if not all(isinstance(document[name], str) for name in _TEXTS):
        raise RecordInvalid(f"expected {', '.join(_TEXTS)} as text")
    if not all(isinstance(word, str) for word in document["confirmations"]):
        raise RecordInvalid("expected confirmations as text")
    for name in ("rows", "set_aside"):
        for number, entry in enumerate(document[name]):
            if not _is_entry(entry):
                raise RecordInvalid(f"{name}, number {number}: expected text, or an object of text and numbers")


def _is_entry(value: Any) -> bool:
    """What a stored row can be: an object without anything nested in it, or what was no row."""
    if isinstance(value, dict):
        return all(part is None or isinstance(part, str | int | float) for part in value.values())
    return isinstance(value, str)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("expected each name once")
    return fields
