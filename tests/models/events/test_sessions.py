from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import SESSION_GAP_SECONDS, sessionise
from tests.models.events.samples import event


def test_a_gap_over_thirty_minutes_cuts_and_one_of_thirty_does_not():
    """The boundary belongs to the running session."""
    gap = SESSION_GAP_SECONDS
    sessions = sessionise([event(at_seconds=0), event(at_seconds=gap), event(at_seconds=2 * gap + 0.001)])
    assert [len(session.events) for session in sessions] == [2, 1]
    assert sessions[0].ended_ms - sessions[0].started_ms == gap * 1_000


def test_sites_are_kept_apart():
    """Events of two sites at the same time are two sessions."""
    sessions = sessionise([event(site="a.example"), event(site="b.example"), event(at_seconds=5, site="a.example")])
    assert [(session.site, len(session.events)) for session in sessions] == [("a.example", 2), ("b.example", 1)]


def test_a_retried_event_counts_once():
    """The same id on the same site is the same event; on another site it is another."""
    twice = [event(event_id="x"), event(event_id="x", at_seconds=9), event(event_id="x", site="b.example")]
    assert sorted(len(session.events) for session in sessionise(twice)) == [1, 1]


def test_purchased_is_told_by_a_purchase_alone():
    """A cart is no purchase."""
    cart, bought = sessionise([event("add_to_cart"), event("purchase", 9_999)])
    assert (cart.purchased, bought.purchased) == (False, True)


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_sessions_partition_the_events_whatever_their_order(times, shuffler: random.Random):
    """Every event is in exactly one session, gaps inside are short, gaps between are long, order does not matter."""
    events = [event(at_seconds=t) for t in times]
    sessions = sessionise(events)
    assert sorted(e.event_id for s in sessions for e in s.events) == sorted(e.event_id for e in events)
    limit = SESSION_GAP_SECONDS * 1_000
    for session in sessions:
        at = [e.at_ms for e in session.events]
        assert all(0 <= b - a <= limit for a, b in itertools.pairwise(at))
    for left, right in itertools.pairwise(sessions):
        assert right.started_ms - left.ended_ms > limit
    shuffler.shuffle(events)
    assert sessionise(events) == sessions
