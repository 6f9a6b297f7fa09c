"""Canonical JSON: our short way to RFC 8785 against the library, which stays the oracle."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from privacy.crypto import canonical_json, parse_canonical
from privacy.crypto.canonical import _plain_form

HOSTILE_TEXT = st.text(
    st.one_of(
        st.sampled_from('az09"\\/\x00\x08\x0c\n\r\t\x1f\x20\x7f\x80\u2028\ue000\ufb33\uffff\U0001f600'),
        st.characters(),
        st.characters(categories=["Cs"]),
    ),
    max_size=8,
)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 10**15 - 1, 10**15, 2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 10**400]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 1e21, 1e-7, math.inf, math.nan, 5e-324]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | HOSTILE_TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HOSTILE_TEXT, inner, max_size=4)
        | st.dictionaries(st.none() | st.booleans() | st.integers(0, 3) | HOSTILE_TEXT, inner, max_size=3)
    ),
    max_leaves=12,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**14) + 1, 10**15 - 1) | st.text(st.characters(max_codepoint=127)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=4)
    ),
    max_leaves=12,
)


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Shouted(int):
    def __repr__(self) -> str:
        return "!!"


def outcome(work: Any, *given_: Any) -> tuple[str, Any]:
    """What a call gives, or that it refuses."""
    try:
        return "value", work(*given_)
    except (ValueError, RecursionError):
        return "refused", None


def written(value: Any, *, ascii_: bool, sort: bool, separators: tuple[str, str] | None) -> bytes | None:
    """Some spelling of a value, where Python's encoder has one."""
    try:
        return json.dumps(value, ensure_ascii=ascii_, sort_keys=sort, separators=separators).encode(errors="replace")
    except TypeError:
        return None


def judged(data: bytes) -> Any:
    """Parsing as it reads with the library alone."""
    value = json.loads(data)
    if rfc8785.dumps(value) != data:
        raise ValueError
    return value


@settings(max_examples=300, deadline=None)
@given(VALUES)
@example({1: "a", "1": "b"})
@example({True: 1})
@example({"\ue000": 1, "\U0001f600": 2})
@example([Colour.RED, Number.ONE, Shouted(7), {Colour.RED: 1}])
@example({"a": 1.0})
@example("\ud800")
def test_every_value_gets_the_bytes_of_the_library_or_its_refusal(value):
    """Fractions, large numbers, keys that are no text, surrogates, control characters, other alphabets, enums."""
    assert outcome(canonical_json, value) == outcome(rfc8785.dumps, value)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_what_is_plain_takes_the_short_way(value):
    """The fast path is taken for what our documents are made of, not merely correct when it happens to be."""
    assert _plain_form(value) == rfc8785.dumps(value)
    assert parse_canonical(rfc8785.dumps(value)) == value


@settings(max_examples=300, deadline=None)
@given(VALUES, st.booleans(), st.booleans(), st.sampled_from([None, (",", ":")]), st.data())
def test_every_spelling_is_judged_as_by_the_library(value, ascii_, sort, separators, data):
    """Canonical bytes pass; every other spelling of a value, and bytes that are no JSON, are refused."""
    text = written(value, ascii_=ascii_, sort=sort, separators=separators)
    canonical = outcome(rfc8785.dumps, value)[1]
    for spelling in filter(None, (text, canonical)):
        at = data.draw(st.integers(0, len(spelling) - 1))
        edited = spelling[:at] + data.draw(st.binary(max_size=2)) + spelling[at + 1 :]
        for case in (spelling, edited):
            assert repr(outcome(parse_canonical, case)) == repr(outcome(judged, case))


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"\\u0061":1}',
        b'"\\u00e9"',
        b'"\\ud800"',
        b'"\\/"',
        b"-0",
        b"1.0",
        b"1e2",
        b"9007199254740993",
        b"NaN",
        b"Infinity",
        b" 1",
        b"\xef\xbb\xbf1",
        b"\xff",
        b"",
    ],
)
def test_another_spelling_of_the_same_value_is_refused(data):
    """One value, one form: names twice, escapes, signs, fractions and spaces that JSON would let pass."""
    with pytest.raises(ValueError):  # noqa: PT011  # json's, the library's or ours: all are ValueErrors
        parse_canonical(data)


def test_nesting_deeper_than_the_stack_is_refused_and_ends_nothing():
    """Neither way ends the process, whatever the depth."""
    for depth in (100_000, 5_000):
        with pytest.raises(RecursionError):
            parse_canonical(b"[" * depth + b"]" * depth)
        value: Any = []
        for _ in range(depth):
            value = [value]
        with pytest.raises(RecursionError):
            canonical_json(value)


def test_a_value_that_contains_itself_is_refused():
    """A cycle has no form."""
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(RecursionError):
        canonical_json(value)
