"""What the planner foretells is what happens: real encodings, real coins, real noise, many times over.

Each trial draws the people, their hidden coins and both servers' noise anew, encodes with the real sum's parameters,
and decodes; the interval is the forecast's, made before. A planner that forgets one server's noise fails these checks.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from privacy.accounting import precision
from privacy.accounting.precision import Comparison, Count, Histogram, Mean, Sample
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import SumParameters
from privacy.secure_sum.encoding import encode
from simulations.forecasts import encoding

TRIALS = 1_500
SLACK = 4 * math.sqrt(0.95 * 0.05 / TRIALS)
"""Four standard errors of the share of intervals that hold the truth: 2.3 points."""


def _stream(seed):
    return RandomStream(bytes([seed]) * 32)


def _coins(stream, probability, shape):
    """The device's comparison: 64 random bits below floor(p 2^64)."""
    limit = min(int(Fraction(probability) * 2**64), 2**64 - 1)
    return (stream.uint64(math.prod(shape)) < np.uint64(limit)).reshape(shape)


def _parameters(question, noise_multiplier, dimension, norm):
    """The sum that the forecast's encoding figures speak of."""
    parameters = SumParameters(
        dimension=dimension,
        clip_norm=norm,
        sensitivity=2**14,
        noise_multiplier=noise_multiplier,
        minimum_cohort=2,
        maximum_cohort=100_000,
    )
    stated = encoding(question, noise_multiplier, 1_000)
    assert stated.noise_deviation == parameters.noise_sigma / parameters.scale
    assert stated.dimension == dimension
    return parameters


def _release(vectors, counts, parameters, stream):
    """Noisy sums float64[trials, d] of so many devices with each vector: both servers' noise on the integers."""
    encoded = np.stack([encode(vector, parameters) for vector in vectors])
    totals = counts.astype(np.int64) @ encoded
    for _server in range(2):
        totals = totals + discrete_gaussian(parameters.noise_sigma, totals.size, stream).reshape(totals.shape)
    return totals / parameters.scale


def _count_coverage(people=300, share=0.2, rate=0.5, noise=8.0, seed=1):
    question = Count(share)
    parameters = _parameters(question, noise, 1, 1.0)
    found = question.precision(Sample(people, rate, 1, parameters.noise_sigma / parameters.scale))
    stream = _stream(seed)
    yes = _coins(stream, share, (TRIALS, people)) & _coins(stream, rate, (TRIALS, people))
    totals = _release([np.ones(1)], yes.sum(axis=1, keepdims=True), parameters, stream)
    return float((np.abs(totals[:, 0] / rate - share * people) <= found.half_width).mean())


def _arms(question, people, rate, effect, noise, seed):
    """Released (difference of rates) float64[trials] with the effect, and the standard error foretold without it."""
    parameters = _parameters(question, noise, 4, math.sqrt(0.5))
    deviation = parameters.noise_sigma / parameters.scale
    found = question.precision(Sample(people, rate, 1, deviation))
    stream, shape = _stream(seed), (TRIALS, people)
    counts = np.zeros((TRIALS, 4), dtype=np.int64)
    treated, real = _coins(stream, question.split, shape), _coins(stream, rate, shape)
    for arm, chance in ((0, question.baseline), (1, question.baseline + effect)):
        bought, here = _coins(stream, chance, shape), real & (treated == bool(arm))
        counts[:, 2 * arm] = (here & bought).sum(axis=1)
        counts[:, 2 * arm + 1] = (here & ~bought).sum(axis=1)
    vectors = [np.zeros(4) for _ in range(4)]
    for arm in (0, 1):
        for slot, value in ((2 * arm, 0.5), (2 * arm + 1, -0.5)):
            vectors[slot][2 * arm : 2 * arm + 2] = value, 0.5 * question.count_weight
    totals = _release(vectors, counts, parameters, stream)
    rates = 0.5 + totals[:, 0::2] / (totals[:, 1::2] / (0.5 * question.count_weight))
    return rates[:, 1] - rates[:, 0], found


@pytest.mark.parametrize(("people", "share", "rate", "noise"), [(300, 0.2, 0.5, 8.0), (500, 0.5, 0.2, 2.0)])
def test_a_count_is_where_it_was_foretold(people, share, rate, noise):
    """The 95 % interval of a count holds the truth in 95 % of draws, noise-led or people-led."""
    assert abs(_count_coverage(people, share, rate, noise) - 0.95) < SLACK


def test_the_effect_of_two_arms_is_where_it_was_foretold():
    """The 95 % interval of a lift holds the truth in 95 % of draws."""
    question = Comparison(0.2, split=0.4)
    difference, found = _arms(question, 1_200, 0.5, 0.0, 12.0, seed=3)
    assert abs(float((np.abs(difference) <= found.half_width).mean()) - 0.95) < SLACK


def test_the_smallest_effect_is_found_as_often_as_promised():
    """With the smallest effect planted, the two-sided test finds it in 80 % of draws."""
    question = Comparison(0.2)
    effect = question.precision(Sample(1_500, 0.5, 1, 6.0 * math.sqrt(0.5))).smallest_effect
    difference, found = _arms(question, 1_500, 0.5, effect, 6.0, seed=4)
    rejected = float((np.abs(difference) > found.half_width).mean())
    assert abs(rejected - 0.8) < 4 * math.sqrt(0.8 * 0.2 / TRIALS)


def test_a_mean_is_where_it_was_foretold():
    """The 95 % interval of a mean holds the truth: values at both ends, part of the devices without one."""
    question = Mean(50.0, 50 * math.sqrt(1 - 0.4**2), offset=-20.0, share=0.7)
    parameters = _parameters(question, 4.0, 2, 50 * math.sqrt(2))
    people, rate, chance = 1_000, 0.5, 0.3
    found = question.precision(Sample(people, rate, 1, parameters.noise_sigma / parameters.scale))
    stream, shape = _stream(5), (TRIALS, people)
    here = _coins(stream, rate, shape) & _coins(stream, 0.7, shape)
    high = _coins(stream, chance, shape)
    counts = np.stack([(here & high).sum(axis=1), (here & ~high).sum(axis=1)], axis=1)
    totals = _release([np.array([50.0, 50.0]), np.array([-50.0, 50.0])], counts, parameters, stream)
    mean = 50 * totals[:, 0] / totals[:, 1]
    assert abs(float((np.abs(mean + 20.0) <= found.half_width).mean()) - 0.95) < SLACK


def test_a_cell_of_a_histogram_is_a_count():
    """One cell of a histogram of many is foretold as the count of its devices, at the sum's own scale."""
    cells = 20
    question = Histogram(cells)
    parameters = _parameters(question, 4.0, cells, 1.0)
    found = question.precision(Sample(800, 0.5, 1, parameters.noise_sigma / parameters.scale))
    stream = _stream(6)
    mine = _coins(stream, 1 / cells, (TRIALS, 800)) & _coins(stream, 0.5, (TRIALS, 800))
    totals = _release([np.eye(cells)[0]], mine.sum(axis=1, keepdims=True), parameters, stream)
    assert abs(float((np.abs(totals[:, 0] / 0.5 - 40) <= found.half_width).mean()) - 0.95) < SLACK


def test_a_planner_that_forgets_a_server_is_caught(monkeypatch):
    """With one server's noise left out, both intervals miss far more often than they say."""
    monkeypatch.setattr(precision, "SERVERS", 1)
    assert _count_coverage() < 0.95 - 2 * SLACK
    difference, found = _arms(Comparison(0.2, split=0.4), 1_200, 0.5, 0.0, 12.0, seed=3)
    assert float((np.abs(difference) <= found.half_width).mean()) < 0.95 - 2 * SLACK
