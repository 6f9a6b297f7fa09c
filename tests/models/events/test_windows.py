from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import SlidingWindow
from tests.models.events.samples import START_MS, event


def test_counts_and_dwell_fall_out_of_the_window():
    """A window of 60 seconds forgets what is 60 seconds old, and keeps what is younger."""
    window = SlidingWindow(60)
    window.add(event("page_view", 0, category="sale"))
    window.add(event("dwell", 10, category="sale", dwell_seconds=9.5))
    assert (window.count(), window.count("page_view"), window.count(category="sale")) == (2, 1, 2)
    assert window.dwell_seconds("sale") == 9.5
    window.advance(START_MS + 60_000)
    assert (window.count(), window.count("page_view", "sale"), window.dwell_seconds()) == (1, 0, 9.5)
    window.advance(START_MS + 70_000)
    assert (len(window), window.dwell_seconds("sale")) == (0, 0.0)


def test_a_flood_holds_only_the_newest():
    """The window never holds more than its bound."""
    window = SlidingWindow(60, maximum_events=5)
    for i in range(50):
        window.add(event("click", i / 10, category=f"c{i}"))
    assert len(window) == 5
    assert (window.count(category="c49"), window.count(category="c1")) == (1, 0)
    assert len(window._pairs) == 5  # nothing of the forgotten is kept


def test_a_window_without_length_is_refused():
    """Zero seconds or zero events are a caller's mistake."""
    with pytest.raises(ValueError, match="at least 1 second"):
        SlidingWindow(0)


moments = st.tuples(
    st.integers(0, 300), st.sampled_from(["click", "dwell"]), st.sampled_from(["a", "b"]), st.integers(0, 50)
)


@given(st.lists(moments, max_size=40))
@settings(max_examples=80)
def test_the_incremental_window_equals_a_recount(rows):
    """After any arrivals, in any order, the window tells what a recount of the last 60 seconds tells."""
    window = SlidingWindow(60)
    events = [
        event(kind, at, category=category, dwell_seconds=dwell / 10 if kind == "dwell" else None)
        for at, kind, category, dwell in rows
    ]
    for each in events:
        window.add(each)
    now = max((e.at_ms for e in events), default=0)
    inside = [e for e in events if e.at_ms > now - 60_000]
    assert window.count() == len(inside)
    assert window.count("click", "a") == sum(e.kind == "click" and e.category == "a" for e in inside)
    expected = sum(e.dwell_seconds or 0.0 for e in inside if e.category == "b")
    assert window.dwell_seconds("b") == pytest.approx(expected)
