from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import (
    KINDS,
    FeatureSpec,
    Session,
    build_profile,
    dwell_seconds,
    intent_rows,
    profile_vector,
    session_features,
    sessionise,
    transitions,
)
from tests.models.events.samples import START_MS, event

CATEGORIES = ("home", "sneakers", "sale")
PROFILE = FeatureSpec("profile", CATEGORIES)
SESSION = FeatureSpec("session", CATEGORIES)
DAY = 86_400


def named(vector, spec):
    return dict(zip(spec.names, vector.tolist(), strict=True))


def visit(at_seconds=0.0):
    return [
        event("page_view", at_seconds, category="sneakers", product="s-1", price=100.0),
        event("scroll", at_seconds + 1, category="sneakers", scroll_depth=0.5),
        event("dwell", at_seconds + 30, category="sneakers", dwell_seconds=30.0),
        event("page_view", at_seconds + 31, category="sale", product="x-1", price=20.0),
        event("add_to_cart", at_seconds + 35, category="sale"),
        event("dwell", at_seconds + 41, category="sale", dwell_seconds=10.0),
    ]


def test_a_profile_tells_shares_and_counts():
    """Dwell shares, pages, carts, prices and scroll are what the events say."""
    profile = build_profile(visit() + visit(2 * DAY), START_MS + 3 * DAY * 1_000)
    assert (profile.visits, profile.active_days, profile.kinds["add_to_cart"]) == (2, 2, 2)
    assert (profile.dwell_share("sneakers"), profile.page_share("sale")) == (0.75, 0.5)
    values = named(profile_vector(profile, PROFILE), PROFILE)
    assert (values["dwell:sneakers"], values["dwell:home"], values["mean_scroll"]) == (0.75, 0.0, 0.5)
    assert values["mean_price"] == pytest.approx(np.log1p(60) / np.log1p(1000))
    assert values["visits"] == pytest.approx(np.log1p(2) / np.log1p(60))


def test_a_profile_forgets_after_thirty_days_and_does_not_foresee():
    """Sessions that began 30 days ago or lie in the future are left out."""
    now_ms = START_MS + 30 * DAY * 1_000
    assert build_profile(visit(), now_ms).visits == 0
    assert build_profile(visit(1), now_ms).visits == 1
    assert build_profile(visit(31 * DAY), now_ms).visits == 0


def test_an_empty_profile_is_the_zero_vector():
    """Nobody's data and no data look alike."""
    assert not profile_vector(build_profile([], START_MS), PROFILE).any()


def test_intent_features_stop_before_the_purchase():
    """Adding a purchase and anything after it changes the label and no feature."""
    before = visit()
    after = [event("purchase", 50, category="sale", price=20.0), *visit(60)]
    (plain,), (bought,) = sessionise(before), sessionise(before + after)
    assert np.array_equal(session_features(plain, SESSION), session_features(bought, SESSION))
    assert not np.array_equal(
        session_features(plain, SESSION), session_features(sessionise(before + visit(60))[0], SESSION)
    )
    features, labels = intent_rows([plain, bought], SESSION)
    assert features.shape == (2, SESSION.dimension)
    assert labels.tolist() == [0.0, 1.0]


def test_visits_that_are_only_a_purchase_give_no_row():
    """There is nothing to predict from before such a purchase; no visits give an empty, well-shaped matrix."""
    features, labels = intent_rows([Session("shop.example", (event("purchase"),))], SESSION)
    assert features.shape == (0, SESSION.dimension)
    assert labels.shape == (0,)


def test_transitions_count_pairs_inside_sessions_only():
    """Pairs across a session's end and pages of other categories do not count."""
    first = [event(at_seconds=t, category=c) for t, c in enumerate(["home", "sneakers", "other", "sneakers", "sale"])]
    second = [event(at_seconds=9_000, category="home")]
    counts = transitions(sessionise(first + second), CATEGORIES)
    assert counts.tolist() == [[0, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert transitions([], CATEGORIES).sum() == 0


def test_dwell_seconds_lists_every_report():
    """Each page that told its visible time is in the list, in order."""
    assert dwell_seconds(sessionise(visit())) == [30.0, 10.0]


def test_a_spec_of_the_other_kind_is_refused():
    """A profile vector under a session's names would be nonsense."""
    with pytest.raises(ValueError, match="kind profile"):
        profile_vector(build_profile([], START_MS), SESSION)
    with pytest.raises(ValueError, match="kind session"):
        session_features(Session("shop.example", tuple(visit())), PROFILE)


@pytest.mark.parametrize("categories", [(), ("a", "a"), tuple(map(str, range(257)))])
def test_specs_without_a_fixed_meaning_are_refused(categories):
    """No, doubled or too many categories."""
    with pytest.raises(ValueError, match="categories"):
        FeatureSpec("profile", categories)


def test_the_digest_of_a_spec_tells_its_meaning():
    """Order of categories, kind and categories themselves each change the digest."""
    specs = [PROFILE, SESSION, FeatureSpec("profile", CATEGORIES[::-1]), FeatureSpec("profile", CATEGORIES[:2])]
    assert len({spec.digest for spec in specs}) == len(specs)
    assert FeatureSpec("profile", CATEGORIES).digest == PROFILE.digest


any_event = st.builds(
    event,
    kind=st.sampled_from([*KINDS]),
    at_seconds=st.integers(0, 10 * DAY),
    category=st.sampled_from([None, "home", "sneakers", "sale", "other"]),
    product=st.sampled_from([None, "a", "b"]),
    price=st.none() | st.floats(0, 1e7),
    dwell_seconds=st.none() | st.floats(0, 14_400),
    scroll_depth=st.none() | st.floats(0, 1),
)


@given(st.lists(any_event, max_size=40))
@settings(max_examples=80)
def test_every_feature_lies_between_zero_and_one(events):
    """Whatever the events, both vectors are finite, in [0, 1] and of the spec's dimension."""
    sessions = sessionise(events)
    vectors = [profile_vector(build_profile(events, START_MS + 11 * DAY * 1_000), PROFILE)]
    assert vectors[0].shape == (PROFILE.dimension,)
    vectors += [session_features(session, SESSION) for session in sessions]
    for vector in vectors:
        assert ((vector >= 0) & (vector <= 1)).all()
