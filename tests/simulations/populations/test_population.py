from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.events import (
    Event,
    FeatureSpec,
    build_profile,
    intent_rows,
    parse_event,
    profile_vector,
    session_features,
    sessionise,
    transitions,
)
from simulations.populations import CATEGORIES, PERSONAS, PURPOSES, ShopPopulation
from simulations.populations.behaviour import GO_HOME, STAY
from simulations.populations.intents import DEVICE_SPREAD, INTERCEPT, WEIGHTS, planted_features

SPEC = FeatureSpec("session", CATEGORIES)


@pytest.fixture(scope="module")
def population():
    return ShopPopulation(devices=400, seed=7)


def test_a_seed_fixes_everything(population):
    """The same seed gives the same events and choices; another seed gives others."""
    again, other = ShopPopulation(devices=400, seed=7), ShopPopulation(devices=400, seed=8)
    assert [d.events() for d in again[:20]] == [d.events() for d in population[:20]]
    assert again.choices == population.choices
    assert [d.events() for d in other[:20]] != [d.events() for d in population[:20]]
    generator = np.random.default_rng(7)
    assert ShopPopulation(devices=400, seed=generator)[3].events() == population[3].events()


def test_raw_events_pass_the_collectors_door(population):
    """Every event is one that parse_event accepts, with ids distinct on the device, in order of time."""
    for device in population[:15]:
        events = device.events()
        assert all(parse_event(event.document()) == event for event in events)
        assert len({event.event_id for event in events}) == len(events)
        assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)


def test_the_sessioniser_recovers_the_planted_visits(population):
    """Five to twenty-five visits a device inside 30 days, cut where the generator cut them."""
    for device in population:
        sessions = device.sessions()
        assert len(sessions) == device.purchase_probability.size
        assert 5 <= len(sessions) <= 25
        assert population.start_ms <= sessions[0].started_ms
        assert sessions[-1].ended_ms <= population.end_ms


def test_the_planted_logistic_reads_the_public_features(population):
    """The features that the truth was planted on are those that session_features computes from raw events."""
    planted = planted_features(population.records.visits, population.records.pages)
    rows = np.array([session_features(s, SPEC) for d in population[:40] for s in d.sessions()])
    for name in WEIGHTS:
        assert np.allclose(rows[:, SPEC.names.index(name)], planted[name][: len(rows)], atol=1e-9), name


def test_purchases_follow_the_planted_probability(population):
    """In ten bins of planted probability the share of purchases is within four standard deviations of it."""
    intents = population.records.intents
    order = np.argsort(intents.probability)
    for part in np.array_split(order, 10):
        expected = intents.probability[part]
        deviation = np.sqrt((expected * (1 - expected)).sum())
        assert abs(intents.purchased[part].sum() - expected.sum()) < 4 * deviation


def test_a_central_model_reaches_the_planted_auc():
    """A logistic regression on 1,600 devices scores .85 to .90 on 400 others, below the noise's own ceiling."""
    linear_model, metrics = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.metrics")
    population = ShopPopulation(devices=2_000, seed=7)
    rows = [intent_rows(device.sessions(), SPEC) for device in population]
    features, labels = (np.concatenate(parts) for parts in zip(*rows[:1600], strict=True))
    seen, bought = (np.concatenate(parts) for parts in zip(*rows[1600:], strict=True))
    model = linear_model.LogisticRegression(max_iter=2_000).fit(features, labels)
    auc = metrics.roc_auc_score(bought, model.decision_function(seen))
    ceiling = metrics.roc_auc_score(bought, np.concatenate([d.purchase_probability for d in population[1600:]]))
    assert 0.85 < auc < 0.90
    assert auc < ceiling
    assert 0.10 < labels.mean() < 0.20


def test_personas_are_recovered_from_profiles(population):
    """k-means on the profile vectors agrees with the planted personas (adjusted Rand index over .85)."""
    cluster, metrics = pytest.importorskip("sklearn.cluster"), pytest.importorskip("sklearn.metrics")
    spec = FeatureSpec("profile", CATEGORIES)
    profiles = np.array([profile_vector(build_profile(d.events(), population.end_ms), spec) for d in population])
    found = cluster.KMeans(len(PERSONAS), n_init=4, random_state=0).fit_predict(profiles)
    assert metrics.adjusted_rand_score(population.persona_index, found) > 0.85


def test_page_chains_follow_the_planted_transitions(population):
    """From a category other than home: stay or redraw, and a planted 8 % go home (plus the interest in home)."""
    counts = sum(transitions(device.sessions(), CATEGORIES) for device in population)
    leaving = counts[1:]
    share_home = leaving[:, 0].sum() / leaving.sum()
    assert abs(share_home - (GO_HOME + (1 - STAY - GO_HOME) * 0.04)) < 0.01
    assert (np.argmax(leaving, axis=1) == np.arange(1, len(CATEGORIES))).all()


def test_interest_drifts_to_the_sale(population):
    """The share of sale pages among non-home pages is higher in the last ten days than in the first ten."""
    pages = population.records.pages
    days = (pages.start_ms - population.start_ms) / 86_400_000
    on_sale = pages.category == CATEGORIES.index("sale")
    assert on_sale[days > 20].mean() > on_sale[days < 10].mean() + 0.02


def test_evenings_and_weekends_are_busier(population):
    """Seasonality: the last quarter of the day beats the first, a weekend day beats a weekday."""
    starts = population.records.visits.start_ms - population.start_ms  # the period begins on a Monday at midnight
    quarters = np.bincount(starts // 21_600_000 % 4)
    weekdays = np.bincount(starts[starts < 28 * 86_400_000] // 86_400_000 % 7)
    assert quarters[3] > 2 * quarters[0]
    assert weekdays[5:].mean() > 1.2 * weekdays[:5].mean()


def test_canaries_are_in_every_page_of_the_device_that_has_one():
    """The caller's string is in titles and paths, and nowhere on devices without one."""
    population = ShopPopulation(devices=10, seed=1, canary=lambda i: f"CANARY-{i}" if i % 2 else None)
    for device in population:
        events = device.events()
        marked = [
            f"CANARY-{device.index}" in (event.title or "") and "CANARY" in (event.path or "") for event in events
        ]
        assert all(marked) if device.index % 2 else "CANARY" not in repr(events)
        assert all(isinstance(parse_event(event.document()), Event) for event in events)


def test_probabilities_are_one_per_visit_of_the_device(population):
    """A device's planted probabilities are its own."""
    stitched = np.concatenate([device.purchase_probability for device in population])
    assert np.array_equal(stitched, population.records.intents.probability)
    labels = np.array([s.purchased for d in population for s in sessionise(d.events())])
    assert np.array_equal(labels, population.records.intents.purchased)


def test_an_empty_population_is_refused():
    """Zero devices are a caller's mistake."""
    with pytest.raises(ValueError, match="at least 1 device"):
        ShopPopulation(devices=0)


def test_the_noise_is_the_documented_one():
    """The weights, intercept and spread of the truth stand in docs/populations.md as in the code."""
    text = (Path(__file__).parents[3] / "docs" / "populations.md").read_text(encoding="utf-8")
    for name, weight in WEIGHTS.items():
        assert f"| `{name}` | {weight:+.1f} |" in text, name
    assert f"intercept {INTERCEPT:.1f}" in text
    assert f"standard deviation {DEVICE_SPREAD}" in text
    for persona in PERSONAS:
        assert f"| `{persona.name}` | {persona.share:.0%} |" in text


def test_a_planted_consent_bias_changes_choices_alone():
    """Light users refuse more often; what everybody does on the site is the same as without."""
    plain, biased = (ShopPopulation(400, 7, light_users_refuse=flag) for flag in (False, True))
    assert all(one.events() == other.events() for one, other in zip(plain[:20], biased[:20], strict=True))
    visits = np.diff(biased.records.visit_offsets)
    refusing = np.array([len(choice.granted) < len(PURPOSES) for choice in biased.choices])
    assert visits[refusing].mean() < visits[~refusing].mean() - 4
