"""Do the intervals of coverage hold what they promise? Truth planted, coins and both servers' noise drawn, counted.

The coins and the noise are the only randomness; the population is fixed, as the intervals say. A band's interval
stands among several that hold together with 95 %, so alone each has to hold more often than that.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from models.queries import coverage
from models.queries.coverage import CoverageQuestion, Tally, composition_of, coverage_of
from models.queries.intervals import CONFIDENCE, NoisyPair, count_interval, critical, ratio_interval
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import SumParameters, encode

REPEATS = 1_000
SLACK = 4.0
"""Standard deviations of the simulation's own error that an interval may stay below its promise."""


@dataclass(frozen=True)
class Crowd:
    """A fixed population: devices by band, and the share of each band that granted the purpose looked at."""

    devices: tuple[int, ...]
    shares: tuple[float, ...]
    rate: float
    noise_multiplier: float
    rounds: int = 1

    @property
    def granted(self) -> list[int]:
        return [round(n * share) for n, share in zip(self.devices, self.shares, strict=True)]

    def truths(self) -> list[float | None]:
        """By band and over all; None for a band without devices."""
        granted, devices = self.granted, self.devices
        bands = [g / n if n else None for g, n in zip(granted, devices, strict=True)]
        return [*bands, sum(granted) / sum(devices)]


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


def question_of(crowd: Crowd) -> CoverageQuestion:
    """Two purposes: the one looked at, and one that nobody granted."""
    return CoverageQuestion(tuple(range(1, len(crowd.devices))), 2)


def parameters_of(crowd: Crowd) -> SumParameters:
    """A sum with the crowd's noise."""
    question = question_of(crowd)
    return SumParameters(
        dimension=question.dimension,
        clip_norm=math.nextafter(question.clip_norm, math.inf),
        sensitivity=2**14,
        noise_multiplier=crowd.noise_multiplier,
        minimum_cohort=2,
        maximum_cohort=1_000_000,
    )


def tallies(crowd: Crowd, repeats: int, seed: int = 5) -> list[Tally]:
    """What the servers read in ``repeats`` runs of the study; Gaussian noise, rounded: a fast stand-in."""
    question, params, generator = question_of(crowd), parameters_of(crowd), np.random.default_rng(seed)
    yes = [encode(coverage.encode(question, band, [True, False]), params) for band in range(question.bands)]
    no = [encode(coverage.encode(question, band, [False, False]), params) for band in range(question.bands)]
    found = []
    for _ in range(repeats):
        noise = generator.normal(0, params.noise_sigma * math.sqrt(2 * crowd.rounds), params.dimension)
        total = np.rint(noise).astype(np.int64)
        for band, (devices, granted) in enumerate(zip(crowd.devices, crowd.granted, strict=True)):
            for _round in range(crowd.rounds):
                total += yes[band] * int(generator.binomial(granted, crowd.rate))
                total += no[band] * int(generator.binomial(devices - granted, crowd.rate))
        found.append(coverage.decode(question, total, params, sampling_rate=crowd.rate, rounds=crowd.rounds))
    return found


def least(confidence: float, repeats: int) -> float:
    """What an honest interval's measured frequency may fall to."""
    return confidence - SLACK * math.sqrt(confidence * (1 - confidence) / repeats)


def together(crowd: Crowd, tally: Tally) -> bool:
    """Whether every interval of the purpose holds its truth at once."""
    found = coverage_of(tally, 0)
    shares = [*found.bands, found.overall]
    return all(t is None or share.interval.holds(t) for share, t in zip(shares, crowd.truths(), strict=True))


@pytest.mark.parametrize("name", CROWDS)
def test_bands_and_total_hold_together_as_promised(name):
    """At least 95 % of the studies are right about every band and the total at once."""
    crowd = CROWDS[name]
    held = sum(together(crowd, tally) for tally in tallies(crowd, REPEATS))
    assert held / REPEATS >= least(CONFIDENCE, REPEATS), held


@pytest.mark.parametrize("name", CROWDS)
def test_each_band_alone_holds_at_its_own_level(name):
    """Bonferroni gives every interval of k a confidence of 1 - 5 %/k; each keeps it."""
    crowd = CROWDS[name]
    level = 1 - (1 - CONFIDENCE) / (len(crowd.devices) + 1)
    found = [coverage_of(tally, 0) for tally in tallies(crowd, REPEATS, seed=6)]
    for band, truth in enumerate(crowd.truths()[:-1]):
        if truth is not None:
            held = sum(item.bands[band].interval.holds(truth) for item in found)
            assert held / REPEATS >= least(level, REPEATS), (band, held)


def test_the_real_noise_and_grid_hold_too():
    """Device by device through the integer encoding, with both servers' exact discrete Gaussian noise."""
    crowd, repeats = Crowd((40, 60, 20), (0.2, 0.6, 1.0), 0.5, 1.0), 200
    question, params, stream = question_of(crowd), parameters_of(crowd), RandomStream(b"\7" * 32)
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
        held = sum(together(crowd, forget(tally)) for tally in tallies(crowd, REPEATS))
        assert held / REPEATS < least(CONFIDENCE, REPEATS), (cause, held)


def test_the_make_up_of_those_counted_holds():
    """Each band's share of all counted devices, all bands at once."""
    for crowd in (CROWDS["300 devices"], CROWDS["2,000 devices"], CROWDS["tiny bands"]):
        truths = [n / sum(crowd.devices) for n in crowd.devices]
        held = 0
        for tally in tallies(crowd, REPEATS, seed=9):
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


@pytest.mark.soak
@pytest.mark.parametrize("shares", [(0.0,), (0.01,), (0.5,), (0.99,), (1.0,)])
@pytest.mark.parametrize("devices", [3, 30, 300, 3_000])
@pytest.mark.parametrize("rate", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("noise_multiplier", [0.1, 1.0, 4.0])
def test_no_corner_breaks_the_promise(shares, devices, rate, noise_multiplier):
    """Every combination of size, share, coin and noise, 4,000 studies each."""
    crowd = Crowd((devices, 2 * devices), (shares[0], 0.5), rate, noise_multiplier)
    held = sum(together(crowd, tally) for tally in tallies(crowd, 4_000))
    assert held / 4_000 >= least(CONFIDENCE, 4_000), held
