"""Coverage: of the devices that count themselves, which share granted each other purpose, by how much they are used.

Whoever takes part in measurement counts itself once, in the band of its visits in the last 30 days, and says for each
purpose that the study asks about whether it is granted. In one band this is the mean of a vector of signs, so the
encoding is that of ``noisy_mean``: ``(s_1, ..., s_P, w)`` in the slot of the band, zeros elsewhere, with s = 1 for a
purpose that is granted and -1 for one that is not, and ``w = P^(1/4)``, which balances the noise of shares and counts.

Every device's vector has the same norm, ``sqrt(P + sqrt(P))``, whatever its band and whatever it granted: nothing is
ever clipped. Signs rather than 0 and 1 halve the noise of a share at the same norm: the half of a sign's noise is what
a share gets. The grid's rounding is the same for all devices too, so decoding undoes it exactly.

Those who refuse measurement send nothing and are in no figure of this question.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.queries import noisy_mean
from models.queries.errors import QuestionInvalid, ShapeMismatch
from models.queries.intervals import CONFIDENCE, Interval, NoisyPair, critical, share_interval
from models.queries.noisy_mean import MeanQuestion, balanced_count_weight
from privacy.secure_sum import SumParameters
from privacy.secure_sum import encode as to_grid

Vector = NDArray[np.float64]
Totals = NDArray[np.int64]
_SERVERS = 2


@dataclass(frozen=True)
class CoverageQuestion:
    """Bands of activity, and how many purposes are asked about.

    Attributes:
        visit_edges: increasing; a device with at least the i-th and fewer than the next number of visits is in band
            i + 1, one with fewer than the first in band 0.
        purposes: P, at least 1.
    """

    visit_edges: tuple[int, ...]
    purposes: int

    def __post_init__(self) -> None:
        if self.purposes < 1:
            raise QuestionInvalid(f"expected at least one purpose to ask about, got {self.purposes}")
        if any(edge < 1 for edge in self.visit_edges) or sorted(set(self.visit_edges)) != list(self.visit_edges):
            raise QuestionInvalid("expected numbers of visits of at least 1, in increasing order")

    @property
    def bands(self) -> int:
        """Number of bands: one more than edges."""
        return len(self.visit_edges) + 1

    @property
    def slot(self) -> MeanQuestion:
        """The question inside one band: the mean of P signs."""
        return MeanQuestion(self.purposes, math.sqrt(self.purposes), balanced_count_weight(self.purposes))

    @property
    def dimension(self) -> int:
        """Length of the device's vector: bands x (P + 1)."""
        return self.bands * self.slot.dimension

    @property
    def clip_norm(self) -> float:
        """L2 norm of what every device adds, exactly: ``sqrt(P + sqrt(P))``."""
        return self.slot.clip_norm

    def band_of(self, visits: int) -> int:
        """The band of a device with so many visits."""
        return bisect_right(self.visit_edges, visits)

    def band_names(self) -> tuple[str, ...]:
        """Each band in words, such as ``4 to 9 visits``."""
        ends = (0, *self.visit_edges)
        closed = [_named(low, high - 1) for low, high in pairwise(ends)]
        return (*closed, f"{ends[-1]} or more visits")


def encode(question: CoverageQuestion, visits: int, granted: Sequence[bool]) -> Vector:
    """The device's contribution: its signs and its count in the slot of its band, zeros elsewhere (device).

    Args:
        question: bands and purposes.
        visits: visits to the site in the last 30 days, at least 0; a device with none counts itself too.
        granted: for each purpose asked about, whether it may be used at this moment.

    Returns:
        float64[dimension] of norm ``question.clip_norm``.

    Raises:
        ShapeMismatch: the answers are not one a purpose.
    """
    if len(granted) != question.purposes:
        raise ShapeMismatch(f"expected {question.purposes} answers, got {len(granted)}")
    slots = np.zeros((question.bands, question.slot.dimension))
    signs = np.where(np.asarray(granted, dtype=np.bool_), 1.0, -1.0)
    slots[question.band_of(visits)] = noisy_mean.encode(question.slot, signs)
    return slots.ravel()


@dataclass(frozen=True)
class Tally:
    """What a released sum says, in devices. ``counts`` float64[bands], ``granted`` float64[bands, P]: both noisy.

    Attributes:
        counts: devices whose coin said yes, by band.
        granted: of them, those that granted each purpose.
        count_variance: of the servers' noise in one entry of ``counts``.
        granted_variance: likewise of ``granted``.
        sampling_rate: of the coins.
    """

    counts: Vector
    granted: Vector
    count_variance: float
    granted_variance: float
    sampling_rate: float

    @property
    def covariance(self) -> float:
        """Of the noises of a band's count and granted entry: half of the count's noise is in both."""
        return self.count_variance / 2


def decode(
    question: CoverageQuestion, total: Totals, parameters: SumParameters, *, sampling_rate: float, rounds: int = 1
) -> Tally:
    """Read the released sum (server).

    Args:
        question: what was asked.
        total: int64[dimension] in grid steps, summed over ``rounds`` released rounds.
        parameters: of the study's sum: its grid and its noise.
        sampling_rate: the coins', in (0, 1].
        rounds: released rounds in ``total``; each has noise of its own.
    """
    if total.shape != (question.dimension,):
        raise ShapeMismatch(f"expected {question.dimension} coordinates, got shape {total.shape}")
    one = to_grid(encode(question, 0, [True] * question.purposes), parameters)
    sign, weight = float(one[0]), float(one[question.purposes])  # every device's entries are these, up to the sign
    slots = total.astype(np.float64).reshape(question.bands, question.slot.dimension)
    counts, signs = slots[:, -1] / weight, slots[:, :-1] / sign
    noise = _SERVERS * rounds * float(parameters.noise_sigma) ** 2
    count_variance = noise / weight**2
    return Tally(
        counts=counts,
        granted=(signs + counts[:, None]) / 2,
        count_variance=count_variance,
        granted_variance=(noise / sign**2 + count_variance) / 4,
        sampling_rate=sampling_rate,
    )


@dataclass(frozen=True)
class Share:
    """A share with its interval.

    Attributes:
        estimate: in [0, 1]; None where there are too few to say.
        interval: holds the true share; [0, 1] where there are too few to say.
    """

    estimate: float | None
    interval: Interval


@dataclass(frozen=True)
class Coverage:
    """The coverage of one purpose. All intervals hold together: Bonferroni over bands and overall.

    Attributes:
        bands: by band, the share that granted the purpose; of the counted devices of that band.
        overall: the same over all bands.
    """

    bands: tuple[Share, ...]
    overall: Share

    @property
    def under_represented(self) -> tuple[int, ...]:
        """Bands that granted the purpose less than all together did, beyond what chance explains."""
        least = self.overall.interval.low
        return tuple(i for i, band in enumerate(self.bands) if band.interval.told and band.interval.high < least)

    def weights(self) -> tuple[Share, ...]:
        """By band, what a result *of that band* weighs to stand for everybody counted: overall over the band's share.

        The intervals follow from those of the shares, so they hold together too; one without an upper end is infinite.
        """
        return tuple(_weight(self.overall, band) for band in self.bands)


def coverage_of(tally: Tally, purpose: int, confidence: float = CONFIDENCE) -> Coverage:
    """The coverage of one of the purposes asked about (server; post-processing of a release).

    Args:
        tally: what the sum says.
        purpose: position of the purpose in the question.
        confidence: of all intervals together.
    """
    bands = len(tally.counts)
    deviations = critical(confidence, bands + 1)
    shares = [
        _share(tally, part, whole, 1, deviations)
        for part, whole in zip(tally.granted[:, purpose], tally.counts, strict=True)
    ]
    overall = _share(tally, tally.granted[:, purpose].sum(), tally.counts.sum(), bands, deviations)
    return Coverage(tuple(shares), overall)


def composition_of(tally: Tally, confidence: float = CONFIDENCE) -> tuple[Share, ...]:
    """By band, its share of all counted devices; the intervals hold together with ``confidence`` (server)."""
    bands, whole = len(tally.counts), float(tally.counts.sum())
    deviations = critical(confidence, bands)
    pairs = [
        NoisyPair(float(part), whole, tally.count_variance, bands * tally.count_variance, tally.count_variance)
        for part in tally.counts
    ]
    return tuple(_estimated(pair, tally.sampling_rate, deviations) for pair in pairs)


def _share(tally: Tally, part: float, whole: float, bands: int, deviations: float) -> Share:
    pair = NoisyPair(
        float(part),
        float(whole),
        bands * tally.granted_variance,
        bands * tally.count_variance,
        bands * tally.covariance,
    )
    return _estimated(pair, tally.sampling_rate, deviations)


def _estimated(pair: NoisyPair, sampling_rate: float, deviations: float) -> Share:
    interval = share_interval(pair, sampling_rate=sampling_rate, deviations=deviations)
    return Share(min(max(pair.part / pair.whole, 0.0), 1.0) if interval.told else None, interval)


def _weight(overall: Share, band: Share) -> Share:
    if not (overall.interval.told and band.interval.told and band.interval.high > 0):
        return Share(None, Interval(0.0, math.inf, told=False))
    highest = overall.interval.high / band.interval.low if band.interval.low > 0 else math.inf
    estimate = overall.estimate / band.estimate if overall.estimate is not None and band.estimate else None
    return Share(estimate, Interval(overall.interval.low / band.interval.high, highest))


def _named(low: int, high: int) -> str:
    if low == high:
        return f"{low} visit{'' if low == 1 else 's'}"
    return f"{low} to {high} visits"
