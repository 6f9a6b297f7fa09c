import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.queries import personas
from models.queries.errors import NothingToReport, QuestionInvalid, ShapeMismatch

QUESTION = personas.PersonaQuestion(clusters=3, profile_size=6)


def planted(count=1500, seed=4):
    """Profiles around three planted directions, L2 norm at most 1."""
    generator = np.random.default_rng(seed)
    truth = np.array([[0.9, 0, 0, 0.1, 0, 0], [0, 0.9, 0, 0, 0.1, 0], [0, 0, 0.9, 0, 0, 0.1]])
    profiles = truth[generator.integers(3, size=count)] + generator.normal(scale=0.05, size=(count, 6))
    return profiles / np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1), truth


@settings(max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6), st.integers(0, 9))
def test_a_device_fills_one_slot_within_the_stated_norm(values, seed):
    """One cluster's slot is set, all others are zero, and the norm is bounded whatever the profile."""
    centroids = personas.spread_start(QUESTION, seed, candidates=20)
    if not any(values):
        with pytest.raises(NothingToReport):
            personas.encode(QUESTION, np.array(values), centroids)
        return
    vector = personas.encode(QUESTION, np.array(values), centroids)
    assert np.linalg.norm(vector) <= QUESTION.clip_norm * (1 + 1e-12)
    assert np.count_nonzero(vector.reshape(3, 7).any(axis=1)) == 1


def test_a_step_without_noise_is_lloyds_step():
    """Sum over count gives the mean of every cluster, and the counts are those of the clusters."""
    question = personas.PersonaQuestion(3, 6, radius=2.0)
    profiles, _ = planted(300)
    start = personas.spread_start(question, 1)
    total = sum(personas.encode(question, profile, start) for profile in profiles)
    step = personas.decode(question, total, start, least_count=1)
    np.testing.assert_allclose(step.centroids, personas.central(question, profiles, start, steps=1), atol=1e-12)
    assert step.counts.sum() == pytest.approx(300)


def test_a_cluster_lost_in_noise_moves_mostly_as_everybody_does():
    """Below the least count a cluster is topped up with the mean difference of all, and none leaves the unit ball."""
    start = personas.spread_start(QUESTION, 1)
    slots = np.zeros((3, 7))
    slots[0, 0], slots[0, -1] = 50.0, 10 * QUESTION.count_weight
    slots[1, 1], slots[1, -1] = 2.0, 4 * QUESTION.count_weight
    slots[2, 2], slots[2, -1] = 1.0, -4 * QUESTION.count_weight
    step = personas.decode(QUESTION, slots.ravel(), start, least_count=5)
    everybody = np.array([5.0, 0.2, 0.1, 0, 0, 0])
    for j, own, lacking in ((1, [0, 2.0, 0, 0, 0, 0], 1), (2, [0, 0, 1.0, 0, 0, 0], 5)):
        moved = (np.array(own) + lacking * everybody) / 5
        moved = start[j] + moved / max(1, np.linalg.norm(moved))
        np.testing.assert_allclose(step.centroids[j], moved / max(1, np.linalg.norm(moved)))
    assert np.linalg.norm(step.centroids, axis=1).max() <= 1 + 1e-12


def test_a_count_of_nothing_moves_nothing():
    """With no least count to top up to, a cluster that counts nobody stays where it is."""
    start = personas.spread_start(QUESTION, 1)
    step = personas.decode(QUESTION, np.zeros(QUESTION.dimension), start, least_count=0)
    np.testing.assert_array_equal(step.centroids, start)


def test_planted_personas_are_found_under_both_servers_noise():
    """Three noisy rounds from a public start come within 10 % of the non-private cost."""
    profiles, truth = planted()
    generator = np.random.default_rng(8)
    centroids = personas.anchored_start(QUESTION, np.array([3.0, 2.0, 1.0, 0, 0, 0]))
    for _ in range(3):
        total = sum(personas.encode(QUESTION, profile, centroids) for profile in profiles)
        total = total + generator.normal(scale=math.sqrt(2) * 3.0 * QUESTION.clip_norm, size=total.shape)
        centroids = personas.decode(QUESTION, total, centroids, least_count=30).centroids
    reference = personas.cost(profiles, personas.central(QUESTION, profiles, truth))
    assert personas.cost_ratio(profiles, centroids, reference) <= 1.10


def test_a_small_radius_bounds_the_step_and_needs_less_noise():
    """No centroid moves farther than the radius, and the clipping norm shrinks in proportion."""
    small = personas.PersonaQuestion(3, 6, radius=0.1)
    assert small.clip_norm == pytest.approx(QUESTION.clip_norm / 10)
    profiles, _ = planted(300)
    start = personas.spread_start(small, 1)
    total = sum(personas.encode(small, profile, start) for profile in profiles)
    moved = personas.decode(small, total, start, least_count=1).centroids - start
    assert 0 < np.linalg.norm(moved, axis=1).max() <= 0.1 + 1e-12


def test_starts_are_public_and_repeatable():
    """A start depends on the seed or on released weights alone, and its centroids are distinct."""
    first, again = personas.spread_start(QUESTION, 5), personas.spread_start(QUESTION, 5)
    np.testing.assert_array_equal(first, again)
    assert np.unique(first, axis=0).shape == (3, 6)
    anchors = personas.anchored_start(QUESTION, np.array([0, 5, 0, 9, 1, 0.0]), pull=1.0)
    np.testing.assert_array_equal(anchors.argmax(axis=1), [3, 1, 4])


def test_cost_agrees_with_its_definition():
    """The expanded square equals the mean of the least squared distances."""
    profiles, truth = planted(50)
    direct = ((profiles[:, None] - truth[None]) ** 2).sum(axis=2).min(axis=1).mean()
    assert personas.cost(profiles, truth) == pytest.approx(direct)
    with pytest.raises(QuestionInvalid):
        personas.cost_ratio(profiles, truth, 0.0)


def test_what_does_not_fit_is_refused():
    """Shapes are errors of the program; a profile that is not finite asks for a null."""
    start = personas.spread_start(QUESTION, 1)
    with pytest.raises(ShapeMismatch):
        personas.encode(QUESTION, np.ones(5), start)
    with pytest.raises(ShapeMismatch):
        personas.encode(QUESTION, np.ones(6), start[:2])
    with pytest.raises(ShapeMismatch):
        personas.decode(QUESTION, np.ones(5), start, least_count=1)
    with pytest.raises(ShapeMismatch):
        personas.anchored_start(personas.PersonaQuestion(7, 6), np.ones(6))
    with pytest.raises(NothingToReport):
        personas.encode(QUESTION, np.full(6, np.nan), start)
    for bad in ((1, 6), (3, 6, 0.0), (3, 6, math.nan)):
        with pytest.raises(QuestionInvalid):
            personas.PersonaQuestion(*bad)
