"""The decision core: pure, the first rule wins, and the numpy net equals the one that was trained."""

import base64

import numpy as np
import pytest

from models.events import Event
from models.learning.nets import Net, initial, scores
from models.personalisation import (
    BundleInvalid,
    ExpressionInvalid,
    PersonalisationError,
    PersonFeatures,
    decide,
    features_of,
    prepare,
    publishable_bundle,
)
from models.personalisation.scoring import scorer
from models.wire.bundle import NetModel, Rule, Segment
from models.wire.studies import Features
from tests.client_agent.gateway.people import NOW_MS, SITE, demo_bundle


def dwell(category, count=3):
    return [
        Event(f"{category}{i}", "dwell", NOW_MS - 60_000 + i, SITE, category=category, dwell_seconds=30.0)
        for i in range(count)
    ]


def decided(events, bundle=None):
    bundle = bundle or demo_bundle()
    return decide(bundle, features_of(events, bundle, NOW_MS))


def test_two_people_get_two_modules_from_one_bundle():
    """The same bytes for both; the difference is computed from each one's own events."""
    assert dict(decided(dwell("sneakers")).slots) == {"hero": "hero-sneakers"}
    assert dict(decided(dwell("sale")).slots) == {"hero": "hero-sale"}
    assert decided(dwell("sale")).persona == "bargain hunter"


def test_somebody_without_events_gets_the_default_content():
    """No profile, no persona, no score, nothing in any slot."""
    decision = decided([])
    assert (dict(decision.slots), decision.persona, decision.intent_score) == ({}, None, None)


def test_the_first_rule_that_holds_wins_and_the_next_is_named():
    """Each slot has one module, its reason, the facts it rests on, and what would come instead."""
    bundle = demo_bundle()
    everyone = Rule(rule_id="any", slot="hero", expression="true", module_id="hero-gifts")
    decision = decided(dwell("sale"), bundle.model_copy(update={"rules": (*bundle.rules, everyone)}))
    (reason,) = decision.why
    assert (reason.module_id, reason.otherwise) == ("hero-sale", "hero-gifts")
    assert reason.evidence == (("persona.label", "bargain hunter"),)
    first = bundle.model_copy(update={"rules": (everyone, *bundle.rules)})
    assert dict(decided(dwell("sale"), first).slots) == {"hero": "hero-gifts"}


def test_rules_may_read_segments():
    """Segments are computed before the rules."""
    bundle = demo_bundle()
    rule = Rule(rule_id="new", slot="hero", expression="'new-here' in segments", module_id="hero-gifts")
    decision = decided(dwell("sale"), bundle.model_copy(update={"rules": (rule,)}))
    assert decision.segments == ("new-here",)
    assert dict(decision.slots) == {"hero": "hero-gifts"}


@pytest.mark.parametrize("hidden", [0, 1, 16])
def test_the_agents_net_equals_the_trained_one(hidden):
    """Same flat parameters, same probability, to 1e-12, with and without hidden units."""
    net = Net(9, hidden)
    flat = initial(net, 3, prior=0.2) + np.random.default_rng(1).normal(size=net.size).astype(np.float32)
    rows = np.random.default_rng(2).random((50, 9))
    model = NetModel(
        task="intent",
        features=Features(version="session/1", names=tuple(f"f{i}" for i in range(9))),
        hidden=hidden,
        parameters=base64.b64encode(flat.astype("<f4").tobytes()).decode(),
        study_id="intent-1",
    )
    ours = scorer(model)
    np.testing.assert_allclose([ours.score(row) for row in rows], scores(net, flat, rows), atol=1e-12)


@pytest.mark.parametrize("count", [0, 5, 1_000])
def test_a_net_of_another_size_is_refused(count):
    """Parameters that do not fit the shape never score anybody."""
    bundle = demo_bundle()
    broken = bundle.intent.model_copy(update={"parameters": base64.b64encode(bytes(4 * count)).decode()})
    with pytest.raises(BundleInvalid):
        prepare(bundle.model_copy(update={"intent": broken}))


def test_features_that_this_agent_does_not_know_give_no_persona():
    """Another version of the features is not guessed at."""
    bundle = demo_bundle()
    other = bundle.personas.features.model_copy(update={"version": "profile/9"})
    personas = bundle.personas.model_copy(update={"features": other})
    assert decided(dwell("sale"), bundle.model_copy(update={"personas": personas})).persona is None


def test_deciding_changes_nothing_and_repeats():
    """The same inputs give the same decision, from the same prepared bundle."""
    prepared = prepare(demo_bundle())
    features = features_of(dwell("sneakers"), prepared.bundle, NOW_MS)
    assert decide(prepared, features) == decide(prepared, features)


def test_hostile_features_do_not_raise():
    """NaN, infinity and vectors of another length lead to no persona and no score."""
    prepared = prepare(demo_bundle())
    for vector in (np.full(3, 1.0), np.full(21, np.nan), np.full(21, np.inf)):
        decision = decide(prepared, PersonFeatures({}, profile_vector=vector, session_vector=vector[:2]))
        assert decision.persona is None


@pytest.mark.parametrize(
    "change",
    [
        {"rules": (Rule(rule_id="rr", slot="hero", expression="true", module_id="missing"),)},
        {"rules": (Rule(rule_id="rr", slot="other", expression="true", module_id="hero-sale"),)},
        {"rules": (Rule(rule_id="rr", slot="hero", expression="profile.vists > 1", module_id="hero-sale"),)},
        {"rules": (Rule(rule_id="rr", slot="hero", expression="profile.visits", module_id="hero-sale"),)},
        {"segments": (Segment(segment_id="ss", title="s", expression="'x' in segments"),)},
        {"segments": (Segment(segment_id="ss", title="s", expression="true"),) * 2},
    ],
)
def test_a_bundle_with_a_mistake_is_not_published(change):
    """A missing module, another slot, a misspelt field, a number for a rule, a loop of segments, an id used twice."""
    with pytest.raises(PersonalisationError):
        publishable_bundle(demo_bundle().model_copy(update=change))


def test_the_demos_content_is_publishable():
    """All seven heroes pass the sanitiser, and publishing is idempotent."""
    clean = publishable_bundle(demo_bundle())
    assert publishable_bundle(clean) == clean
    assert len(prepare(clean).rendered) == 7
    with pytest.raises(ExpressionInvalid):
        publishable_bundle(
            clean.model_copy(update={"segments": (Segment(segment_id="xx", title="x", expression="1"),)})
        )
