"""The coverage question: one norm for everybody, a sum that decodes exactly, bands in words, what follows from it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consent.purposes import PURPOSES
from models.queries import coverage
from models.queries.answers import answer, coverage_question
from models.queries.coverage import CoverageQuestion, Tally, coverage_of
from models.queries.errors import QuestionInvalid, ShapeMismatch
from models.wire.studies import CoverageQuery, purpose_of
from privacy.secure_sum import SumParameters, encode
from simulations.demo.plans import Parties
from simulations.demo.plans import coverage as coverage_draft

QUERY = CoverageQuery(purposes=("persona", "intent", "experiments"), visit_edges=(2, 4, 10))
QUESTION = coverage_question(QUERY)
EMPTY = np.zeros(0, dtype=np.float32)


def parameters(question: CoverageQuestion, noise_multiplier: float = 2.0) -> SumParameters:
    """A sum that the question fits into."""
    return SumParameters(
        dimension=question.dimension,
        clip_norm=math.nextafter(question.clip_norm, math.inf),
        sensitivity=2**14,
        noise_multiplier=noise_multiplier,
        minimum_cohort=2,
        maximum_cohort=1_000_000,
    )


class Visitor:
    """A device's data, of which only the visits are asked for."""

    def __init__(self, visits: int) -> None:
        self._visits = visits

    def visits(self) -> int:
        return self._visits


@settings(max_examples=60)
@given(
    edges=st.lists(st.integers(1, 60), max_size=6, unique=True).map(sorted),
    granted=st.lists(st.booleans(), min_size=1, max_size=7),
    visits=st.integers(0, 10_000),
)
def test_the_norm_is_the_same_for_every_choice_and_every_band(edges, granted, visits):
    """sqrt(P + sqrt(P)), exactly the stated bound: nothing is clipped, and a norm tells nothing."""
    question = CoverageQuestion(tuple(edges), len(granted))
    vector = coverage.encode(question, visits, granted)
    size = len(granted)
    assert vector.shape == (question.dimension,) == ((len(edges) + 1) * (size + 1),)
    assert np.linalg.norm(vector) == pytest.approx(math.sqrt(size + math.sqrt(size)), rel=1e-12)
    assert np.linalg.norm(vector) <= math.nextafter(question.clip_norm, math.inf)
    band = sum(visits >= edge for edge in edges)
    assert np.flatnonzero(vector).tolist() == list(range(band * (size + 1), (band + 1) * (size + 1)))
    values = encode(vector, parameters(question))
    assert int((values**2).sum()) <= 2**28


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 15), st.lists(st.booleans(), min_size=3, max_size=3)), max_size=40))
def test_the_sum_without_noise_decodes_exactly(people):
    """Counts by band and grants by purpose, to the device: the grid's rounding is undone."""
    params, total = parameters(QUESTION), np.zeros(QUESTION.dimension, dtype=np.int64)
    expected = np.zeros((QUESTION.bands, 4))
    for visits, granted in people:
        total += encode(coverage.encode(QUESTION, visits, granted), params)
        expected[QUESTION.band_of(visits)] += [1, *granted]
    tally = coverage.decode(QUESTION, total, params, sampling_rate=1.0)
    np.testing.assert_allclose(tally.counts, expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(tally.granted, expected[:, 1:], atol=1e-9)


def test_the_noise_in_devices_is_what_the_plan_says():
    """Both servers' noise, per round, in devices: of a count, and half of a sign's and of the count's in a grant."""
    params = parameters(QUESTION, noise_multiplier=3.0)
    tally = coverage.decode(QUESTION, np.zeros(QUESTION.dimension, dtype=np.int64), params, sampling_rate=1.0, rounds=2)
    norm, weight = math.sqrt(3 + math.sqrt(3)), 3**0.25
    one = 2 * 2 * (3.0 * norm) ** 2
    assert tally.count_variance == pytest.approx(one / weight**2, rel=1e-2)
    assert tally.granted_variance == pytest.approx((one + one / weight**2) / 4, rel=1e-2)


def test_signs_halve_the_noise_that_ones_would_have():
    """At the same norm a share by signs has less than half the deviation that a share by 0 and 1 has."""
    signs = math.sqrt(coverage.balanced_count_weight(3) ** 2 * 3 + 3) / 2
    ones = math.sqrt(3 + 1)
    assert signs < 0.6 * ones


def test_a_device_counts_itself_whatever_it_granted():
    """With measurement alone every sign is minus; with no visit at all it is in the first band."""
    alone = answer(QUERY, Visitor(0), EMPTY)
    assert alone[:3].tolist() == [-1.0, -1.0, -1.0]
    assert alone[3] > 0
    some = answer(QUERY, Visitor(12), EMPTY, ("intent", "churn", "measurement"))
    assert some[12:15].tolist() == [-1.0, 1.0, -1.0]


def test_answers_have_to_fit_the_question():
    """One answer a purpose, one total a question."""
    with pytest.raises(ShapeMismatch):
        coverage.encode(QUESTION, 1, [True, True])
    with pytest.raises(ShapeMismatch):
        coverage.decode(QUESTION, np.zeros(3, dtype=np.int64), parameters(QUESTION), sampling_rate=1.0)


@pytest.mark.parametrize(("edges", "purposes"), [((2, 2), 1), ((4, 2), 1), ((0, 2), 1), ((2,), 0)])
def test_a_question_that_makes_no_sense_is_refused(edges, purposes):
    """Edges increase and begin at one visit; something is asked."""
    with pytest.raises(QuestionInvalid):
        CoverageQuestion(edges, purposes)


def test_bands_have_words():
    """People read bands, not indices."""
    assert QUESTION.band_names() == ("0 to 1 visits", "2 to 3 visits", "4 to 9 visits", "10 or more visits")
    assert CoverageQuestion((1, 2), 1).band_names() == ("0 visits", "1 visit", "2 or more visits")
    assert CoverageQuestion((), 1).band_names() == ("0 or more visits",)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"purposes": ["measurement"]}, "other than measurement"),
        ({"purposes": ["intent", "intent"]}, "each once"),
        ({"purposes": []}, "at least 1"),
        ({"visit_edges": [4, 2]}, "increasing"),
        ({"visit_edges": [0, 2]}, "greater than or equal to 1"),
        ({"visit_edges": list(range(1, 33))}, "at most 31"),
        ({"purposes": [f"p{i}" for i in range(16)], "visit_edges": list(range(1, 16))}, "at most 256"),
    ],
)
def test_the_wire_refuses_what_cannot_be_asked(changes, word):
    """Measurement itself, a purpose twice, none, edges out of order, more cells than can say anything."""
    with pytest.raises(ValidationError, match=word):
        CoverageQuery.model_validate({"question": "coverage", "purposes": ["intent"], **changes})


def test_a_stored_question_stays_readable_when_the_registry_changes():
    """A purpose that is not declared (any more) is refused where studies are checked, not where they are read."""
    assert CoverageQuery(purposes=("gone",)).purposes == ("gone",)
    assert "gone" not in {purpose.id for purpose in PURPOSES}


def test_the_purpose_of_the_question_is_measurement():
    """Its text says that granted uses are counted too; no other consent covers it."""
    assert purpose_of(QUERY) == "measurement"
    study = coverage_draft().build(Parties("11" * 32, "22" * 32, 1))
    assert (study.purpose, study.kind, study.plan.dimension) == ("measurement", "measure", 12)


def exact(shares: list[float], devices: int = 1_000_000, variance: float = 1.0) -> Tally:
    """A tally without an error, of so many devices a band; a million hardly feel the noise."""
    counts = np.full(len(shares), float(devices))
    return Tally(counts, (counts * shares)[:, None], variance, variance, 1.0)


def test_who_is_missing_is_named_beyond_chance_only():
    """A band is under-represented where its whole interval lies below the whole interval of all together."""
    found = coverage_of(exact([0.5, 0.9, 0.9]), 0)
    assert found.under_represented == (0,)
    assert found.overall.interval.holds(2.3 / 3)
    assert coverage_of(exact([0.5, 0.9, 0.9], devices=40, variance=50.0), 0).under_represented == ()


def test_weights_make_everybody_stand_for_as_many():
    """Overall over band: a band of half the coverage weighs twice as much; its interval holds the true weight."""
    weights = coverage_of(exact([0.4, 0.8]), 0).weights()
    assert weights[0].estimate == pytest.approx(0.6 / 0.4, rel=1e-6)
    assert all(weight.interval.holds(true) for weight, true in zip(weights, (1.5, 0.75), strict=True))
    assert all(weight.interval.half_width < 0.01 for weight in weights)


def test_too_few_to_say_is_said():
    """A band whose count cannot be told from zero has no estimate, everything possible as interval, no weight."""
    few = Tally(np.array([5.0, 4_000.0]), np.array([[4.0], [3_000.0]]), 100.0, 60.0, 0.5)
    found = coverage_of(few, 0)
    band, weight = found.bands[0], found.weights()[0]
    assert (band.estimate, band.interval.told) == (None, False)
    assert (band.interval.low, band.interval.high) == (0.0, 1.0)
    assert (weight.estimate, weight.interval.told, weight.interval.high) == (None, False, math.inf)
    assert found.bands[1].interval.told
    assert 0 not in found.under_represented
