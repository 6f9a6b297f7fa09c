"""What error to expect of a private sum's answer, before it is asked: the statistics behind the planner.

One model for every question. N devices report in a round; each keeps its own value with the hidden coin's probability
q, else sends a null; leader and helper each add discrete Gaussian noise of deviation sigma to every entry; R rounds
repeat the question to the same people with fresh coins and fresh noise. An answer divides by q N, which is public, or
by a released noisy count. Three causes of error then add up in variance:

- *noise*: both servers', ``2 sigma^2`` an entry, a round;
- *coins*: a sum of N values x keeps ``q (1 - q) sum x^2`` of variance a round (of the distances from the mean, where
  a noisy count divides, since the count feels the same coins);
- *people*: the N who report stand for more like them; repeating the question does not help.

Normal intervals: each cause is a sum of many small terms, or Gaussian. Nothing here reads data or speaks of epsilon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Protocol

from privacy.accounting.errors import EventInvalid

SERVERS = 2
"""Leader and helper each add the full noise."""
CONFIDENCE = 0.95
_NORMAL_95 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
WEAK_DIVISOR = 0.2
"""Beyond this relative deviation of a noisy count, the ratio's distribution is no longer near normal."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Figures of the real encoding of a question, passed in by whoever knows it.

    Attributes:
        dimension: entries of a device's vector.
        noise_deviation: one server's noise on an entry of the sum, in the vector's own unit.
        report_bytes: of one report on the wire, null or real.
    """

    dimension: int
    noise_deviation: float
    report_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Who is asked how.

    Attributes:
        reports: N, expected reports in a round, null or real.
        rate: q, the hidden coin's probability.
        rounds: R, how often the same people are asked.
        noise_deviation: one server's noise on an entry, in the vector's own unit.
    """

    reports: float
    rate: float
    rounds: int
    noise_deviation: float

    @property
    def noise_variance(self) -> float:
        """Of an entry of one round's released sum: both servers'."""
        return SERVERS * self.noise_deviation**2


@dataclass(frozen=True, slots=True)
class Precision:
    """What to expect of one answer, in the question's own unit.

    Attributes:
        unit: of every figure but ``relative``.
        noise: standard error from both servers' noise.
        coins: standard error from the hidden coins.
        people: standard error from who happens to report.
        relative: what matters most, without a unit, smaller is better: half the interval over the expected value (or
            the range of a mean), the smallest effect over the baseline, noise over signal.
        smallest_effect: minimum detectable effect of a comparison, else None.
        signal_to_noise: of one coordinate over the whole plan, for training, else None.
        weak_divisor: the answer divides by a count that is nearly lost in noise: its interval is not to be trusted.
    """

    unit: str
    noise: float
    coins: float
    people: float
    relative: float = math.inf
    smallest_effect: float | None = None
    signal_to_noise: float | None = None
    weak_divisor: bool = False

    @property
    def standard_error(self) -> float:
        """All causes together."""
        return math.sqrt(self.noise**2 + self.coins**2 + self.people**2)

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval: 1.96 standard errors."""
        return _NORMAL_95 * self.standard_error

    @property
    def headline(self) -> float:
        """The one figure to hold a wish against: the smallest effect where there is one, else half the interval."""
        return self.half_width if self.smallest_effect is None else self.smallest_effect


class Question(Protocol):
    """A question whose precision can be foretold."""

    def precision(self, sample: Sample) -> Precision:
        """What to expect of the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the reporting devices say yes, estimated by ``S / (q N)`` times N.

    Attributes:
        share: expected share that says yes, in (0, 1).
        as_share: answer the share itself rather than the number of devices.
    """

    share: float
    as_share: bool = False

    def __post_init__(self) -> None:
        _share("share", self.share)

    def precision(self, sample: Sample) -> Precision:
        """Variance ``T (1 - q) / (q R) + 2 sigma^2 / (q^2 R) + T (1 - share)`` with ``T = share N``."""
        total, per_round = self.share * sample.reports, sample.rate * sample.rounds
        scale = sample.reports if self.as_share else 1.0
        found = Precision(
            unit="share of devices" if self.as_share else "devices",
            noise=math.sqrt(sample.noise_variance / sample.rounds) / sample.rate / scale,
            coins=math.sqrt(total * (1 - sample.rate) / per_round) / scale,
            people=math.sqrt(total * (1 - self.share)) / scale,
        )
        return replace(found, relative=found.half_width / (total / scale))


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many devices fall into each of k cells, one cell a device; figures are of one cell.

    Attributes:
        cells: k, at least 2.
        share: of the devices in the cell that is looked at; an even share unless given.
    """

    cells: int
    share: float | None = None

    def __post_init__(self) -> None:
        if self.cells < 2:  # noqa: PLR2004  # a single cell says nothing
            raise EventInvalid(f"expected at least 2 cells, got {self.cells!r}")
        if self.share is not None:
            _share("share", self.share)

    def precision(self, sample: Sample) -> Precision:
        """As a count of the cell's devices."""
        return Count(1 / self.cells if self.share is None else self.share).precision(sample)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a bounded value: centred values x in [-B, B] and a count of weight w B, in one sum; their ratio.

    Attributes:
        half_range: B, in the value's unit.
        spread: standard deviation of the value over people; at most B, the worst case.
        offset: expected distance of the mean from the middle of the range.
        count_weight: w, of the count entry relative to B.
        share: of the reporting devices that have a value, in (0, 1].
        unit: of the value.
    """

    half_range: float
    spread: float
    offset: float = 0.0
    count_weight: float = 1.0
    share: float = 1.0
    unit: str = "units of the value"

    def __post_init__(self) -> None:
        if not 0 < self.half_range < math.inf or not 0 <= self.spread <= self.half_range:
            raise EventInvalid(f"expected 0 <= spread <= half the range, got {self.spread!r} and {self.half_range!r}")
        if not abs(self.offset) <= self.half_range or not 0 < self.count_weight < math.inf or not 0 < self.share <= 1:
            raise EventInvalid("expected a mean inside the range, a positive count weight and a share in (0, 1]")

    def precision(self, sample: Sample) -> Precision:
        """With n devices that have a value, and m the offset, by the delta method.

        Variance ``s^2 (1 - q) / (q n R) + 2 sigma^2 (1 + m^2 / (w B)^2) / ((q n)^2 R) + s^2 / n``.
        """
        devices, weight = self.share * sample.reports, self.count_weight * self.half_range
        expected = sample.rate * devices
        noise = math.sqrt(sample.noise_variance / sample.rounds)
        divisor = math.hypot(noise / weight, math.sqrt(expected * (1 - sample.rate) / sample.rounds)) / expected
        found = Precision(
            unit=self.unit,
            noise=noise * math.sqrt(1 + (self.offset / weight) ** 2) / expected,
            coins=self.spread * math.sqrt((1 - sample.rate) / (expected * sample.rounds)),
            people=self.spread / math.sqrt(devices),
            weak_divisor=divisor > WEAK_DIVISOR,
        )
        return replace(found, relative=found.half_width / (2 * self.half_range))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which share of a band of devices granted a purpose: a mean of signs, plus or minus 1, halved.

    Attributes:
        bands: of activity, equally large here, at least 1.
        purposes: asked about, at least 1.
        share: expected share that granted, in (0, 1).
    """

    bands: int
    purposes: int
    share: float

    def __post_init__(self) -> None:
        _share("share", self.share)
        if self.bands < 1 or self.purposes < 1:
            raise EventInvalid(f"expected at least one band and purpose, got {self.bands!r} and {self.purposes!r}")

    @property
    def count_weight(self) -> float:
        """Of the count entry, beside signs of 1: it balances the noise of shares and counts."""
        return math.pow(self.purposes, 0.25)

    def precision(self, sample: Sample) -> Precision:
        """As a mean of signs with deviation ``2 sqrt(share (1 - share))`` around ``2 share - 1``, halved."""
        spread = 2 * math.sqrt(self.share * (1 - self.share))
        signs = Mean(1.0, spread, 2 * self.share - 1, self.count_weight, 1 / self.bands).precision(sample)
        return replace(
            signs,
            unit="share of a band's devices",
            noise=signs.noise / 2,
            coins=signs.coins / 2,
            people=signs.people / 2,
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two arms' rates, such as conversions: in each arm a mean of 0 or 1 over those exposed.

    Attributes:
        baseline: expected rate in the control arm, in (0, 1).
        split: share of the exposed devices in the treatment arm, in (0, 1).
        exposed: share of the reporting devices that are in either arm, in (0, 1].
        power: probability that the smallest effect is found.
        significance: of the two-sided test.
        count_weight: w, of an arm's count entry relative to 1/2.
    """

    baseline: float
    split: float = 0.5
    exposed: float = 1.0
    power: float = 0.8
    significance: float = 0.05
    count_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("baseline", "split", "power", "significance"):
            _share(name, getattr(self, name))
        if not 0 < self.exposed <= 1:
            raise EventInvalid(f"expected exposed in (0, 1], got {self.exposed!r}")

    def precision(self, sample: Sample) -> Precision:
        """Both arms' variances added; the smallest effect d solves the power equation.

        ``d = z(1 - significance/2) s(0) + z(power) s(d)``, with ``s(d)`` the standard error of the difference when the
        treatment converts at ``baseline + d``.
        """
        normal = NormalDist()
        critical, reached = normal.inv_cdf(1 - self.significance / 2), normal.inv_cdf(self.power)
        null = self._difference(sample, 0.0)
        effect = (critical + reached) * null.standard_error
        for _ in range(50):
            wanted = min(effect, 1 - self.baseline)
            effect = critical * null.standard_error + reached * self._difference(sample, wanted).standard_error
        return replace(null, relative=effect / self.baseline, smallest_effect=effect)

    def _difference(self, sample: Sample, effect: float) -> Precision:
        control = self._arm(sample, self.baseline, (1 - self.split) * self.exposed)
        treatment = self._arm(sample, self.baseline + effect, self.split * self.exposed)
        return Precision(
            unit="conversion rate",
            noise=math.hypot(control.noise, treatment.noise),
            coins=math.hypot(control.coins, treatment.coins),
            people=math.hypot(control.people, treatment.people),
            weak_divisor=control.weak_divisor or treatment.weak_divisor,
        )

    def _arm(self, sample: Sample, rate: float, share: float) -> Precision:
        spread = math.sqrt(max(0.0, rate * (1 - rate)))
        return Mean(0.5, spread, rate - 0.5, self.count_weight, share).precision(sample)


@dataclass(frozen=True, slots=True)
class Training:
    """A training plan: how far the mean update stands out of the noise, per coordinate. There is no error to state.

    Attributes:
        parameters: d.
        agreement: length of the mean update over the clipping norm, in (0, 1]: 1 if all devices pull one way.
    """

    parameters: int
    agreement: float = 0.1

    def __post_init__(self) -> None:
        if self.parameters < 1 or not 0 < self.agreement <= 1:
            raise EventInvalid("expected at least one parameter and an agreement in (0, 1]")

    def precision(self, sample: Sample) -> Precision:
        """Signal ``q N agreement / sqrt(d)`` a coordinate against noise and coins, in clipping norms.

        Over R rounds both add up, so the ratio grows with sqrt(R). ``noise`` and ``coins`` are those of one round's
        mean update.
        """
        expected, root = sample.rate * sample.reports, math.sqrt(self.parameters)
        noise = math.sqrt(sample.noise_variance) / expected
        coins = math.sqrt((1 - sample.rate) / expected) / root
        ratio = self.agreement / root * math.sqrt(sample.rounds) / math.hypot(noise, coins)
        return Precision("clipping norms, a coordinate", noise, coins, 0.0, relative=1 / ratio, signal_to_noise=ratio)


def _share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise EventInvalid(f"expected {name} in (0, 1), got {value!r}")
