from __future__ import annotations

import json
import math

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import KINDS, Event, Rejected, event_schema, parse_event
from models.events.vocabulary import FIELD_NAMES
from tests.models.events.samples import START_MS, document

BAD = [
    ([], "not_an_object", ""),
    (None, "not_an_object", ""),
    (document(password="x"), "unknown_field", ""),
    ({1: 2}, "unknown_field", ""),
    (document(event_id=None), "missing", "event_id"),
    ({k: v for k, v in document().items() if k != "site"}, "missing", "site"),
    (document(version=2), "unsupported_version", "version"),
    (document(version=True), "wrong_type", "version"),
    (document(kind="keystroke"), "unknown_kind", "kind"),
    (document(kind=["click"]), "wrong_type", "kind"),
    (document(title="x" * 1_000_000), "too_long", "title"),
    (document(title="x" * 301), "too_long", "title"),
    (document(title=""), "empty", "title"),
    (document(title="a\x00b"), "forbidden_character", "title"),
    (document(title="a\nb"), "forbidden_character", "title"),
    (document(title="a\u202eb"), "forbidden_character", "title"),
    (document(title="a\ud800b"), "forbidden_character", "title"),
    (document(title=7), "wrong_type", "title"),
    (document(path="sneakers"), "bad_format", "path"),
    (document(path="/a b"), "bad_format", "path"),
    (document(site="Shop.Example"), "bad_format", "site"),
    (document(site="shop.example/x"), "bad_format", "site"),
    (document(event_id="a b"), "bad_format", "event_id"),
    (document(at_ms=1.5), "wrong_type", "at_ms"),
    (document(at_ms=True), "wrong_type", "at_ms"),
    (document(at_ms=-1), "out_of_range", "at_ms"),
    (document(at_ms=START_MS * 1_000), "out_of_range", "at_ms"),
    (document(price=math.nan), "not_finite", "price"),
    (document(price=math.inf), "not_finite", "price"),
    (document(price=10**400), "out_of_range", "price"),
    (document(price=-1), "out_of_range", "price"),
    (document(price="9"), "wrong_type", "price"),
    (document(scroll_depth=1.01), "out_of_range", "scroll_depth"),
    (document(kind="dwell", dwell_seconds=14_401), "out_of_range", "dwell_seconds"),
    (document(kind="dwell"), "missing", "dwell_seconds"),
    (document(kind="scroll", scroll_depth=None), "missing", "scroll_depth"),
    (document(kind="custom"), "missing", "name"),
]


@pytest.mark.parametrize(("raw", "reason", "field"), BAD, ids=lambda value: str(value)[:30])
def test_bad_events_are_refused_with_a_typed_reason(raw, reason, field):
    """Each fault is named by its kind and its field, and nothing is raised."""
    assert parse_event(raw) == Rejected(reason, field)


def test_a_rejection_never_repeats_what_was_sent():
    """Neither a bad value nor an unknown field's name comes back in the rejection."""
    for raw in (document(title="canary\n"), document(canary=1), document(kind="canary"), document(path="canary")):
        assert "canary" not in repr(parse_event(raw))


def test_a_good_event_is_kept_whole():
    """All fields arrive; whole prices become floats; absent fields are None."""
    event = parse_event(document(price=80, scroll_depth=None))
    assert isinstance(event, Event)
    assert (event.title, event.price, event.scroll_depth) == ("Röde Schuhe", 80.0, None)
    assert isinstance(event.price, float)


def test_events_are_frozen():
    """An event cannot be changed once it is parsed."""
    event = parse_event(document())
    with pytest.raises(AttributeError):
        event.title = "other"


texts = st.text(min_size=0, max_size=12) | st.sampled_from(["/a", "shop.example", "e1", "/a b", "a\x7f"])
numbers = st.integers(-2, 20_000) | st.floats() | st.integers(10**12, 10**13)
values = st.none() | st.booleans() | texts | numbers


@st.composite
def documents(draw):
    changed = draw(st.dictionaries(st.sampled_from(FIELD_NAMES), values, max_size=3))
    extra = {"dwell_seconds": 3, "scroll_depth": 0.5, "name": "zoom"} if draw(st.booleans()) else {}
    return document(kind=draw(st.sampled_from(KINDS))) | extra | changed


@given(documents())
@settings(max_examples=200)
def test_parsing_reads_back_what_an_event_documents(raw):
    """parse_event(event.document()) is the event, through JSON too, for every event that was accepted."""
    event = parse_event(raw)
    if isinstance(event, Event):
        assert parse_event(json.loads(json.dumps(event.document()))) == event


@given(documents())
@settings(max_examples=300)
def test_the_schema_and_the_parser_agree(raw):
    """The exported JSON schema admits what the parser admits, wherever JSON can spell the document."""
    if any(type(value) is float and (value.is_integer() or not math.isfinite(value)) for value in raw.values()):
        return  # JSON has no NaN, and JSON schema takes 5.0 for an integer
    validator = jsonschema_rs.Draft202012Validator(event_schema())
    assert validator.is_valid(raw) == isinstance(parse_event(raw), Event)


@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner), max_leaves=9))
@settings(max_examples=200)
def test_nothing_at_all_makes_the_parser_raise(raw):
    """Any JSON-like value is either an event or a rejection."""
    assert isinstance(parse_event(raw), Event | Rejected)
