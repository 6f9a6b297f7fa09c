"""Randomised response: its exact probabilities, its epsilon by enumeration, unbiased counts with honest variances."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.accounting import ResponseEvent, rdp
from privacy.mechanisms import (
    NO_ANSWER,
    RandomStream,
    ResponseInvalid,
    estimate_counts,
    respond,
    respond_many,
    response_epsilon,
    response_noise,
    response_probabilities,
)
from privacy.mechanisms.responses import truthful_words

KEY = b"response".ljust(32, b"\0")
NOISES = st.one_of(st.floats(1e-9, 1.0), st.sampled_from([1e-9, 2.0**-29, 0.5, 1 - 2.0**-53, 1.0]))
BUCKETS = st.one_of(st.integers(2, 40), st.sampled_from([1_000, 2**20 - 1, 2**20]))


class Scripted(RandomStream):
    """A stream that says the words that it was told to, and fails when more are asked for."""

    def __init__(self, *words: int) -> None:
        self._words = list(words)

    def uint64(self, count: int) -> np.ndarray:
        assert count <= len(self._words), "more words than were written down"
        taken, self._words = self._words[:count], self._words[count:]
        return np.array(taken, dtype=np.uint64)


def distribution(answer: int | None, noise: float, buckets: int) -> list[Fraction]:
    """The exact probabilities of all buckets, from the three that the mechanism states."""
    own, other, none = response_probabilities(noise, buckets)
    return [none if answer is None else own if bucket == answer else other for bucket in range(buckets)]


def exact_loss(noise: float, buckets: int, relation: str) -> Fraction:
    """The largest ratio of two neighbours' probabilities, over every pair of neighbours and every response."""
    worlds: list[int | None] = list(range(buckets))
    if relation == "zero-out":
        pairs = [(world, None) for world in worlds] + [(None, world) for world in worlds]
    else:
        pairs = list(product(worlds, worlds))
    tables = {world: distribution(world, noise, buckets) for world in [*worlds, None]}
    return max(a / b for one, other in pairs for a, b in zip(tables[one], tables[other], strict=True))


@given(NOISES, BUCKETS)
def test_probabilities_are_whole_and_never_more_truthful_than_charged(noise: float, buckets: int) -> None:
    """They sum to one in rationals, and the true bucket is at most as likely as the charge says, within 2^-64."""
    own, other, none = response_probabilities(noise, buckets)
    assert own + (buckets - 1) * other == 1 == buckets * none
    charged = 1 - Fraction(noise) + Fraction(noise) / buckets
    assert charged - Fraction(1, 2**64) < own <= charged


@pytest.mark.parametrize("noise", [1e-9, 0.1, 0.37, 0.5, 1 - 2.0**-53])
def test_the_coin_is_a_comparison_of_integers(noise: float) -> None:
    """The last word of truth is floor((1 - p) 2^64) - 1, computed in rationals; from the next on, anything."""
    numerator, denominator = (1 - Fraction(noise)).as_integer_ratio()
    threshold = numerator * 2**64 // denominator
    assert respond(3, noise, 5, Scripted(threshold - 1, 0)) == 3
    assert respond(3, noise, 5, Scripted(threshold, 0)) == 0


def test_without_truth_nothing_is_told() -> None:
    """At p = 1 no word makes a device tell the truth."""
    assert truthful_words(1.0) == 0
    assert respond(3, 1.0, 5, Scripted(0, 1)) == 1


@pytest.mark.parametrize("buckets", [3, 5, 6, 2**20 - 1])
def test_uniform_buckets_are_exactly_uniform(buckets: int) -> None:
    """Words from the largest multiple of k on are drawn again, as often as it takes, so no bucket is likelier."""
    limit = 2**64 - 2**64 % buckets
    assert limit % buckets == 0
    assert respond(None, 0.5, buckets, Scripted(0, limit - 1)) == buckets - 1
    assert respond(None, 0.5, buckets, Scripted(0, limit, 2**64 - 1, buckets + 1)) == 1


def test_where_the_buckets_divide_the_words_nothing_is_drawn_again() -> None:
    """With k a power of two every word counts."""
    assert respond(None, 0.5, 8, Scripted(0, 2**64 - 1)) == 7


def test_a_device_without_an_answer_ignores_its_coin() -> None:
    """Whatever the coin, the random bucket is the response."""
    assert respond(None, 1e-9, 4, Scripted(0, 2)) == 2
    assert respond(None, 1e-9, 4, Scripted(2**64 - 1, 2)) == 2


def test_as_much_randomness_is_used_whatever_the_answer() -> None:
    """After a response the stream stands at the same place for an answer, none, truth and noise."""
    streams = [RandomStream(KEY) for _ in range(3)]
    respond(2, 1e-9, 4, streams[0])
    respond(2, 1.0, 4, streams[1])
    respond(None, 0.5, 4, streams[2])
    assert len({stream.bytes(8) for stream in streams}) == 1


def test_one_device_and_many_respond_alike() -> None:
    """The vectorised form of one answer is the single form."""
    for answer in (None, 0, 6):
        given_array = np.array([NO_ANSWER if answer is None else answer])
        single = respond(answer, 0.4, 7, RandomStream(KEY))
        assert respond_many(given_array, 0.4, 7, RandomStream(KEY)).tolist() == [single]


@pytest.mark.parametrize("relation", ["zero-out", "replace-one"])
@pytest.mark.parametrize("buckets", [2, 3, 7])
@pytest.mark.parametrize("noise", [0.05, 0.5, 0.9, 1.0])
def test_epsilon_is_the_largest_ratio_by_enumeration(noise: float, buckets: int, relation: str) -> None:
    """Over every pair of neighbours and every response, in rationals: the stated epsilon, and no more."""
    loss = exact_loss(noise, buckets, relation)
    stated = response_epsilon(noise, buckets, relation)
    assert math.log(loss) == pytest.approx(stated, abs=1e-12)


@pytest.mark.parametrize("relation", ["zero-out", "replace-one"])
@pytest.mark.parametrize("buckets", [2, 3, 20])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.1, 1.0, math.log(3), 3.0, 12.0])
def test_the_noise_for_an_epsilon_is_enough_and_hardly_more(epsilon: float, buckets: int, relation: str) -> None:
    """Every ratio is at most e^epsilon at the returned noise, checked to 60 digits, and beyond it with 0.1 % less."""
    from decimal import Decimal, localcontext

    noise = response_noise(epsilon, buckets, relation)
    with localcontext(prec=60):
        allowed = Fraction(Decimal(epsilon).exp())
    assert exact_loss(noise, buckets, relation) <= allowed
    assert exact_loss(noise * 0.999, buckets, relation) > allowed


def test_zero_out_needs_less_noise_than_replace_one() -> None:
    """The two relations are not the same figure: at epsilon 1 and ten buckets they differ by a third."""
    assert response_noise(1.0, 10, "zero-out") == pytest.approx((10 - math.e) / 9, abs=1e-15)
    assert response_noise(1.0, 10, "replace-one") == pytest.approx(10 / (math.e + 9), abs=1e-15)
    assert response_epsilon(response_noise(1.0, 10, "zero-out"), 10, "replace-one") > 1.1


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=5), st.floats(0.01, 0.95))
def test_counts_are_unbiased_and_so_are_their_variances(answers: list[int | None], noise: float) -> None:
    """By exact expectation over all responses of up to five devices in four buckets.

    The mean of the estimates is the true histogram with the unanswered spread evenly; the mean of the stated variances
    is the true variance of the estimates.
    """
    buckets, unanswered = 4, answers.count(None)
    tables = [[float(part) for part in distribution(answer, noise, buckets)] for answer in answers]
    expected = np.array([answers.count(bucket) + unanswered / buckets for bucket in range(buckets)])
    mean, squares, variances = np.zeros(buckets), np.zeros(buckets), np.zeros(buckets)
    for responses in product(range(buckets), repeat=len(answers)):
        chance = math.prod(table[said] for table, said in zip(tables, responses, strict=True))
        histogram = np.bincount(responses, minlength=buckets)
        own, other = (float(part) for part in response_probabilities(noise, buckets)[:2])
        counts = estimate_counts(histogram, len(answers), noise).counts
        truth = truthful_words(noise) / 2**64
        mean += chance * counts
        squares += chance * (counts - expected) ** 2
        raw = len(answers) * other * (1 - other) + counts * truth * (1 - own - other)
        variances += chance * (raw / truth**2 + unanswered * (1 / buckets) * (1 - 1 / buckets))
    np.testing.assert_allclose(mean, expected, atol=1e-9)
    np.testing.assert_allclose(variances, squares, rtol=1e-6, atol=1e-9)


def test_the_stated_variance_is_the_formula() -> None:
    """Where no floor applies the stated variances are those whose expectation the test above takes."""
    histogram, devices, noise = np.array([500, 300, 200]), 1_000, 0.3
    own, other = (float(part) for part in response_probabilities(noise, 3)[:2])
    found = estimate_counts(histogram, devices, noise, unanswered_at_most=100, count_variance=50.0)
    raw = devices * other * (1 - other) + found.counts * 0.7 * (1 - own - other) + 50.0
    np.testing.assert_allclose(found.variances, raw / 0.49 + 100 * 2 / 9, rtol=1e-12)


def test_intervals_cover_as_often_as_they_say() -> None:
    """95 % intervals over 400 simulated questions to 2,000 devices cover the truth in 92 to 98 % of cases."""
    truth = np.repeat(np.arange(5), [900, 500, 300, 200, 100])
    stream, covered = RandomStream(KEY), 0
    for _ in range(400):
        responses = respond_many(truth, 0.5, 5, stream)
        found = estimate_counts(np.bincount(responses, minlength=5), 2_000, 0.5)
        covered += int((np.abs(found.counts - np.bincount(truth)) < 1.96 * np.sqrt(found.variances)).sum())
    assert 0.92 < covered / 2_000 < 0.98


@pytest.mark.parametrize(
    ("answer", "noise", "buckets"),
    [
        (5, 0.5, 5),
        (-1, 0.5, 5),
        (1.0, 0.5, 5),
        (0, 0.0, 5),
        (0, 1.1, 5),
        (0, float("nan"), 5),
        (0, 0.5, 1),
        (0, 0.5, 2**20 + 1),
        (0, 0.5, True),
    ],
)
def test_what_is_no_answer_or_no_noise_is_refused(answer: int, noise: float, buckets: int) -> None:
    """A bucket that does not exist, noise of zero, NaN and questions with one bucket raise the typed error."""
    with pytest.raises(ResponseInvalid, match="expected"):
        respond(answer, noise, buckets, RandomStream(KEY))


def test_the_error_does_not_carry_the_answer() -> None:
    """What was answered is not in the message."""
    with pytest.raises(ResponseInvalid) as caught:
        respond(987_654, 0.5, 5, RandomStream(KEY))
    assert "987" not in str(caught.value)


@pytest.mark.parametrize("answers", [np.zeros(3), np.zeros((2, 2), dtype=np.int64), np.array([5]), np.array([-2])])
def test_arrays_of_other_things_are_refused(answers: np.ndarray) -> None:
    """Floats, tables and buckets that do not exist are errors."""
    with pytest.raises(ResponseInvalid, match="expected"):
        respond_many(answers, 0.5, 5, RandomStream(KEY))


@pytest.mark.parametrize(
    ("responses", "devices", "noise", "options"),
    [
        (np.array([1, 2]), 3, 1.0, {}),
        (np.array([1.0, np.nan]), 3, 0.5, {}),
        (np.array([[1, 2]]), 3, 0.5, {}),
        (np.array([1, 2]), -1, 0.5, {}),
        (np.array([1, 2]), 3, 0.5, {"unanswered_at_most": 4}),
        (np.array([1, 2]), 3, 0.5, {"count_variance": -1.0}),
    ],
)
def test_what_cannot_be_decoded_is_refused(responses: np.ndarray, devices: int, noise: float, options: dict) -> None:
    """Responses without truth, NaN, tables and impossible counts are errors."""
    with pytest.raises(ResponseInvalid, match="expected"):
        estimate_counts(responses, devices, noise, **options)


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), float("inf"), 41.0])
def test_an_epsilon_out_of_range_is_refused(epsilon: float) -> None:
    """Negative, infinite and undefined budgets have no noise parameter; nor has an unknown relation."""
    with pytest.raises(ResponseInvalid, match="epsilon"):
        response_noise(epsilon, 5, "zero-out")
    with pytest.raises(ResponseInvalid, match="relation"):
        response_noise(1.0, 5, "add-or-remove")
    with pytest.raises(ResponseInvalid, match="relation"):
        response_epsilon(0.5, 5, "add-or-remove")


@pytest.mark.parametrize("order", [2, 9, 64])
@pytest.mark.parametrize("buckets", [2, 10, 1_000])
@pytest.mark.parametrize("noise", [0.01, 0.5, 0.99])
def test_the_charge_covers_what_a_device_really_says(noise: float, buckets: int, order: int) -> None:
    """The Renyi divergence of the exact probabilities, both ways, is what the event of a response costs."""
    own, other, none = response_probabilities(noise, buckets)
    given_answer, no_answer = [(own, none, 1), (other, none, buckets - 1)], [(none, own, 1), (none, other, buckets - 1)]
    powers = (
        sum(many * left**order / right ** (order - 1) for left, right, many in world)
        for world in (given_answer, no_answer)
    )
    exactly = max(math.log(power) / (order - 1) for power in powers)
    charged = rdp(ResponseEvent(noise, buckets), order)
    assert exactly <= charged * (1 + 1e-9) + 1e-12
    assert exactly == pytest.approx(charged, rel=1e-6)


def test_a_device_that_keeps_silent_is_not_covered() -> None:
    """The check can fail: where no answer means bucket 0, the loss is that of replace-one, above the charge."""
    noise, buckets = 0.5, 10
    own, other, _ = response_probabilities(noise, buckets)
    assert math.log(own / other) > 1.3 * response_epsilon(noise, buckets, "zero-out")
    assert math.log(own / other) > rdp(ResponseEvent(noise, buckets), 1_000)
