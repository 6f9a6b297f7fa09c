"""Do the intervals of coverage hold what they promise? Truth planted, coins and both servers' noise drawn, counted.

The coins and the noise are the only randomness; the population is fixed, as the intervals say. A band's interval
stands among several that hold together with 95 %, so alone each has to hold more often than that.
"""

import math

import numpy as np
import pytest

from models.queries import coverage
from models.queries.coverage import Tally, composition_of, coverage_of
from models.queries.intervals import CONFIDENCE, NoisyPair, count_interval, critical, ratio_interval
from privacy.accounting import precision
from privacy.accounting.precision import Sample
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import encode
from simulations.coverages import Crowd, all_true, draw_tallies

REPEATS = 1_000
SLACK = 4.0
"""Standard deviations of the simulation's own error that an interval may stay below its promise."""


CROWDS = {
    "300 devices": Crowd((75,) * 4, (0.7, 0.85, 0.9, 0.95), 0.5, 3.0),
    "2,000 devices": Crowd((500,) * 4, (0.7, 0.85, 0.9, 0.95), 0.5, 3.0),
    "100,000 devices": Crowd((25_000,) * 4, (0.7, 0.85, 0.9, 0.95), 0.5, 3.0),
    "nobody and everybody": Crowd((400,) * 4, (0.0, 0.002, 0.998, 1.0), 0.5, 1.0),
    "tiny bands": Crowd((600, 5, 1, 0), (0.9, 0.6, 1.0, 0.0), 0.5, 2.0),
    "tiny bands, hardly any noise": Crowd((40, 9, 2, 1), (0.5, 0.3, 0.5, 1.0), 0.5, 0.1),
    "few heads": Crowd((3_000,) * 3, (0.02, 0.5, 0.98), 0.05, 1.0),
    "no coins": Crowd((60,) * 3, (0.1, 0.5, 0.9), 1.0, 2.0),
    "several rounds": Crowd((200,) * 3, (0.1, 0.5, 0.9), 0.3, 2.0, rounds=4),
}


def least(confidence: float, repeats: int) -> float:
    """What an honest interval's measured frequency may fall to."""
    return confidence - SLACK * math.sqrt(confidence * (1 - confidence) / repeats)


def together(crowd: Crowd, tally: Tally) -> bool:
    """Whether everything that the release says about the purpose is true."""
    return all_true(crowd, coverage_of(tally, 0))


@pytest.mark.parametrize("name", CROWDS)
def test_bands_and_total_hold_together_as_promised(name):
    """At least 95 % of the studies are right about every band and the total at once."""
    crowd = CROWDS[name]
    held = sum(together(crowd, tally) for tally in draw_tallies(crowd, REPEATS, seed=5))
    assert held / REPEATS >= least(CONFIDENCE, REPEATS), held


@pytest.mark.parametrize("name", CROWDS)
def test_each_band_alone_holds_at_its_own_level(name):
    """Bonferroni gives every interval of k a confidence of 1 - 5 %/k; each keeps it."""
    crowd = CROWDS[name]
    level = 1 - (1 - CONFIDENCE) / (len(crowd.devices) + 1)
    found = [coverage_of(tally, 0) for tally in draw_tallies(crowd, REPEATS, seed=6)]
    for band, truth in enumerate(crowd.truths()[:-1]):
        if truth is not None:
            held = sum(item.bands[band].interval.holds(truth) for item in found)
            assert held / REPEATS >= least(level, REPEATS), (band, held)


def test_the_real_noise_and_grid_hold_too():
    """Device by device through the integer encoding, with both servers' exact discrete Gaussian noise."""
    crowd, repeats = Crowd((40, 60, 20), (0.2, 0.6, 1.0), 0.5, 1.0), 200
    question, params, stream = crowd.question, crowd.parameters, RandomStream(b"\7" * 32)
    generator, held = np.random.default_rng(8), 0
    people = [
        encode(coverage.encode(question, band, [index < granted, False]), params)
        for band, (devices, granted) in enumerate(zip(crowd.devices, crowd.granted, strict=True))
        for index in range(devices)
    ]
    vectors = np.array(people)
    for _ in range(repeats):
        heads = generator.random(len(vectors)) < crowd.rate
        total = vectors[heads].sum(axis=0)
        for _server in range(2):
            total += discrete_gaussian(params.noise_sigma, params.dimension, stream)
        tally = coverage.decode(question, total, params, sampling_rate=crowd.rate)
        held += together(crowd, tally)
    assert held / repeats >= least(CONFIDENCE, repeats), held


def test_an_interval_that_forgets_a_cause_of_error_is_found_out():
    """Without the servers' noise, one server's, or the coins, an interval is too narrow, and this very test says so."""
    noisy, large = CROWDS["2,000 devices"], Crowd((25_000,) * 4, (0.5,) * 4, 0.5, 3.0)
    forgetful = {
        "no noise": (noisy, lambda t: Tally(t.counts, t.granted, 0.0, 0.0, t.sampling_rate)),
        "one server's": (
            noisy,
            lambda t: Tally(t.counts, t.granted, t.count_variance / 2, t.granted_variance / 2, t.sampling_rate),
        ),
        "no coins": (large, lambda t: Tally(t.counts, t.granted, t.count_variance, t.granted_variance, 1.0)),
    }
    for cause, (crowd, forget) in forgetful.items():
        held = sum(together(crowd, forget(tally)) for tally in draw_tallies(crowd, REPEATS, seed=5))
        assert held / REPEATS < least(CONFIDENCE, REPEATS), (cause, held)


def test_the_make_up_of_those_counted_holds():
    """Each band's share of all counted devices, all bands at once."""
    for crowd in (CROWDS["300 devices"], CROWDS["2,000 devices"], CROWDS["tiny bands"]):
        truths = [n / sum(crowd.devices) for n in crowd.devices]
        held = 0
        for tally in draw_tallies(crowd, REPEATS, seed=9):
            pairs = zip(composition_of(tally), truths, strict=True)
            held += all(share.interval.holds(truth) for share, truth in pairs)
        assert held / REPEATS >= least(CONFIDENCE, REPEATS), (crowd, held)


@pytest.mark.parametrize(("devices", "rate", "deviation"), [(0, 0.5, 5.0), (7, 0.5, 0.3), (900, 0.1, 20.0)])
def test_a_count_holds(devices, rate, deviation):
    """How many stand behind a noisy count of heads, from nobody to many."""
    generator = np.random.default_rng(10)
    sums = generator.binomial(devices, rate, REPEATS) + generator.normal(0, deviation, REPEATS)
    found = [count_interval(float(s), deviation**2, sampling_rate=rate, deviations=critical(CONFIDENCE)) for s in sums]
    held = sum(interval.holds(devices) for interval in found)
    assert held / REPEATS >= least(CONFIDENCE, REPEATS), held


@pytest.mark.parametrize("divisor", [0.0, 15.0, 100.0])
def test_a_ratio_holds_also_where_its_divisor_is_lost_in_noise(divisor):
    """Fieller's interval keeps its level with a divisor of zero, a few and many deviations."""
    generator, repeats, ratio = np.random.default_rng(11), 3_000, 1.7
    parts = ratio * divisor + generator.normal(0, 9.0, repeats)
    wholes = divisor + generator.normal(0, 7.0, repeats)
    held = sum(
        ratio_interval(NoisyPair(float(a), float(b), 81.0, 49.0), deviations=critical(CONFIDENCE)).holds(ratio)
        for a, b in zip(parts, wholes, strict=True)
    )
    assert held / repeats >= least(CONFIDENCE, repeats), held


def test_the_error_is_where_the_planner_foretold_it():
    """The deviation of a band's estimate over many studies is the planner's noise and coins together."""
    crowd = Crowd((500,) * 4, (0.85,) * 4, 0.5, 3.0)
    params = crowd.parameters
    sample = Sample(2_000, crowd.rate, 1, params.noise_sigma / params.scale)
    found = precision.Coverage(4, crowd.purposes, 0.85).precision(sample)
    estimates = [
        tally.granted[band, 0] / tally.counts[band]
        for tally in draw_tallies(crowd, REPEATS, seed=12)
        for band in range(4)
    ]
    assert np.std(estimates) == pytest.approx(math.hypot(found.noise, found.coins), rel=0.06)


@pytest.mark.soak
@pytest.mark.parametrize("shares", [(0.0,), (0.01,), (0.5,), (0.99,), (1.0,)])
@pytest.mark.parametrize("devices", [3, 30, 300, 3_000])
@pytest.mark.parametrize("rate", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("noise_multiplier", [0.1, 1.0, 4.0])
def test_no_corner_breaks_the_promise(shares, devices, rate, noise_multiplier):
    """Every combination of size, share, coin and noise, 4,000 studies each."""
    crowd = Crowd((devices, 2 * devices), (shares[0], 0.5), rate, noise_multiplier)
    held = sum(together(crowd, tally) for tally in draw_tallies(crowd, 4_000, seed=5))
    assert held / 4_000 >= least(CONFIDENCE, 4_000), held
