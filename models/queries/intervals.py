"""Intervals for what a noisy sum says: a count, a share, a ratio. They know every cause of error that is known.

Each of leader and helper adds discrete Gaussian noise of a deviation that is a study constant, and each device's hidden
coin keeps its answer with the study's rate: both are known exactly, so nothing is estimated about them. An interval is
the set of values that a test does not reject (Neyman 1937), with the error's variance taken at the value that is
tested, not at the estimate (a score interval: Wilson, "Probable inference", JASA 22, 1927). For a ratio of two noisy
figures this is Fieller's interval ("Some problems in interval estimation", JRSS B 16, 1954): where the divisor cannot
be told from zero it says that nothing is known, instead of something wrong.

Four choices are on the safe side, and each only widens an interval: half a device of continuity correction, the size of
the sample taken at its upper limit where its variance is needed, a part that noise has pushed out of its range moved
back to the range's end, and the hull of a set that falls into pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

from models.queries.errors import QuestionInvalid

CONFIDENCE = 0.95
CONTINUITY = 0.5
"""Devices come whole: half of one is conceded to the normal approximation of the coins."""
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``low`` to ``high``, both included.

    Attributes:
        low: lower end; minus infinity where nothing bounds it.
        high: upper end; infinity where nothing bounds it.
        told: the figures say something; False is too few to say, and the interval is everything possible.
    """

    low: float
    high: float
    told: bool = True

    @property
    def half_width(self) -> float:
        """Half the distance of the ends."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class NoisyPair:
    """A part and a whole, both released, with what is known of their noise (both servers', in squared devices).

    Attributes:
        part: noisy figure of the part, such as devices that said yes.
        whole: noisy figure of the whole, such as devices that were asked.
        part_variance: of the noise in ``part``.
        whole_variance: of the noise in ``whole``.
        covariance: of the two noises.
    """

    part: float
    whole: float
    part_variance: float
    whole_variance: float
    covariance: float = 0.0

    def __post_init__(self) -> None:
        if min(self.part_variance, self.whole_variance) < 0:
            raise QuestionInvalid("expected variances of at least 0")
        if self.covariance**2 > self.part_variance * self.whole_variance * (1 + _TOLERANCE):
            raise QuestionInvalid("expected a covariance that two such noises can have")


def critical(confidence: float = CONFIDENCE, statements: int = 1) -> float:
    """How many standard errors an interval reaches, so that all of ``statements`` hold together (Bonferroni).

    Bonferroni asks nothing of how the statements depend on each other; they may share a whole.

    Args:
        confidence: of all together, in (0, 1).
        statements: how many, at least 1.
    """
    if not 0 < confidence < 1 or statements < 1:
        raise QuestionInvalid(f"expected a confidence in (0, 1) and a statement, got {confidence!r} and {statements}")
    return NormalDist().inv_cdf(1 - (1 - confidence) / (2 * statements))


def count_interval(
    count: float, variance: float, *, sampling_rate: float, rounds: int = 1, deviations: float
) -> Interval:
    """How many devices stand behind a noisy count of those whose coin said yes (server).

    With S the count, q the rate, R rounds and c the deviations: all T >= 0 with
    ``|S - q R T| <= 1/2 + c sqrt(variance + q (1 - q) R T)``.

    Args:
        count: S, summed over the rounds.
        variance: of the noise in S.
        sampling_rate: q, in (0, 1].
        rounds: R.
        deviations: c, from ``critical``.
    """
    each = sampling_rate * rounds
    test = _Test(max(count, 0.0), each, CONTINUITY, deviations, (variance, each * (1 - sampling_rate), 0.0))
    found = test.hull(0.0, math.inf)
    assert found is not None, "the count itself is never rejected"
    return found


def share_interval(
    pair: NoisyPair, *, sampling_rate: float, rounds: int = 1, deviations: float, people_like_them: bool = False
) -> Interval:
    """The share p that the part has in the whole, in [0, 1] (server).

    With A and N the released part and whole and c the deviations: all p with
    ``|A - p N| <= 1/2 + c sqrt(noise(p) + f h p (1 - p))``, where ``noise(p) = var A - 2 p cov + p^2 var N`` is the
    servers' noise in ``A - p N``, h the number of devices whose answers are in the sum, and f h p (1 - p) what the
    choice of those devices adds: f = 1 - q for a statement about the devices that reported, of which coins chose a
    share q, and f = 1 - q + q R for one about people like them, the same of whom answer in all R rounds.

    Args:
        pair: released part and whole; each device adds 0 or 1 to the part and 1 to the whole.
        sampling_rate: q, in (0, 1].
        rounds: R, whose sums were added up.
        deviations: c, from ``critical``.
        people_like_them: speak of people like those who reported.

    Returns:
        [0, 1], not ``told``, where the whole cannot be told from zero.
    """
    if pair.whole <= CONTINUITY + deviations * math.sqrt(pair.whole_variance):
        return Interval(0.0, 1.0, told=False)
    devices = pair.whole + deviations * math.sqrt(pair.whole_variance)
    chosen = devices * (1 - sampling_rate + (sampling_rate * rounds if people_like_them else 0))
    part = min(max(pair.part, 0.0), pair.whole)
    variance = (pair.part_variance, chosen - 2 * pair.covariance, pair.whole_variance - chosen)
    found = _Test(part, pair.whole, CONTINUITY, deviations, variance).hull(0.0, 1.0)
    assert found is not None, "a part inside the whole leaves its own share"
    return found


def ratio_interval(pair: NoisyPair, *, deviations: float) -> Interval:
    """Fieller's interval for part over whole; the variances are of the whole error, noise and sampling (server).

    Returns:
        The whole line, not ``told``, where the divisor cannot be told from zero.
    """
    if pair.whole**2 <= deviations**2 * pair.whole_variance:
        return Interval(-math.inf, math.inf, told=False)
    variance = (pair.part_variance, -2 * pair.covariance, pair.whole_variance)
    found = _Test(pair.part, pair.whole, 0.0, deviations, variance).hull(-math.inf, math.inf)
    assert found is not None, "the ratio itself is never rejected"
    return found


@dataclass(frozen=True, slots=True)
class _Test:
    """Not rejected: all x with ``|a - b x| <= slack + c sqrt(v0 + v1 x + v2 x^2)``."""

    a: float
    b: float
    slack: float
    c: float
    variance: tuple[float, float, float]

    def accepts(self, x: float) -> bool:
        constant, linear, square = self.variance
        allowed = self.slack + self.c * math.sqrt(max(0.0, constant + linear * x + square * x * x))
        return abs(self.a - self.b * x) <= allowed + _TOLERANCE * (1 + abs(self.a) + abs(self.b * x))

    def hull(self, low: float, high: float) -> Interval | None:
        """The smallest interval that holds all accepted x of [low, high]; None where there is none.

        The set's ends are where both sides are equal. With infinite ends the leading coefficient must be positive.
        """
        ends = [x for x in (low, high) if math.isfinite(x)]
        found = [x for x in (*ends, *self._crossings()) if low <= x <= high and self.accepts(x)]
        return Interval(min(found), max(found)) if found else None

    def _crossings(self) -> Iterator[float]:
        constant, linear, square = (self.c**2 * part for part in self.variance)
        for a in (self.a - self.slack, self.a + self.slack):
            yield a / self.b
            yield from _roots(self.b**2 - square, -2 * a * self.b - linear, a**2 - constant)


def _roots(square: float, linear: float, constant: float) -> Iterator[float]:
    """Real roots of a quadratic, without cancellation; of a line, where the square is nothing."""
    inside = linear**2 - 4 * square * constant
    if inside < 0:
        return
    far = -(linear + math.copysign(math.sqrt(inside), linear)) / 2
    if square:
        yield far / square
    if far:
        yield constant / far
