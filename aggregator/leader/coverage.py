"""Whom a result is about: the coverage that stands beside it, a pure function of what was released.

A coverage study is a study like any other: charged, approved, released. What is said here of its release costs nothing
more. Each round that is released adds to what is known, so a study of several rounds has been released as often; it is
whole with the last round that it planned.

Which release stands beside a result follows from release times and from the studies as approved, and from nothing that
was not released: not from whether a study still runs, was stopped or failed. Beside a result stands the last whole
release from before its first round was released; without one, the last of those from before that is there; without any,
the first whole one since. So what stands there stays, whatever becomes of a study or is released later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Literal, TypeAlias

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.leader.desk import Desk
from aggregator.leader.totals import from_stored
from aggregator.storage.leader import Record
from consent.purposes import MEASUREMENT
from models.queries.answers import coverage_question
from models.queries.coverage import Share, Tally, composition_of, coverage_of, decode
from models.queries.intervals import CONFIDENCE, Interval
from models.wire.message import Message
from models.wire.studies import CoverageQuery, Study

UNKNOWN: Final = (
    "People who refused measurement, and devices that could not be counted, such as those whose budget was spent: they "
    "are in no figure here. Devices that granted the use and are not in the result all the same: their quota or budget "
    "was spent, they were too late, could not answer, or failed. They count as granted here. No result says how many "
    "any of these are or what they do."
)
NONE_RELEASED: Final = "not estimated: no coverage study was released for this site"
NOT_ASKED: Final = "not estimated: no released coverage study of this site asked about this purpose"
NOT_WHOLE: Final = (
    "not estimated: no coverage study that asked about this purpose was released before this result, and none since "
    "to its last round"
)
NO_RESULT: Final = "not estimated: this study has released nothing yet"
Timing: TypeAlias = Literal["before the result", "after the result", "the result itself", "latest"]
Figure: TypeAlias = Literal["granted", "make-up"]


class SharePart(Message):
    """A share in [0, 1] with its interval; where there are too few to say, null and the interval [0, 1]."""

    share: float | None
    low: float
    high: float


class WeightPart(Message):
    """What a result of this band weighs to stand for everybody counted; a null end is unknown or unbounded."""

    weight: float | None
    low: float
    high: float | None


class BandPart(SharePart):
    """One band of activity. ``weight`` is null where the figure is a make-up."""

    visits: str
    weight: WeightPart | None


class CoverageEstimate(Message):
    """The coverage of one purpose at one time. All intervals hold together with ``confidence``.

    ``figure`` is ``granted``: of the counted devices of each band, the share that granted the purpose; or ``make-up``:
    of all counted devices, the share in each band (for measurement itself, which everybody counted has granted).
    ``not_granted_at_most``: the upper end for the share of counted devices that did not grant the purpose. It is no
    bound on who is missing from a result: of those who granted, some send an empty report (``unknown``).
    ``rounds`` are those that the estimate is made of, out of ``planned_rounds``.
    ``epsilon`` is what the coverage study's rounds up to then, abandoned ones included, cost a device (device level,
    zero-out, the filter's figure at ``delta``).
    """

    status: Literal["estimated"] = "estimated"
    purpose: str
    figure: Figure
    study_id: str
    rounds: tuple[int, ...]
    planned_rounds: int
    released_at_ms: int
    timing: Timing
    epsilon: float
    delta: float
    confidence: float
    bands: tuple[BandPart, ...]
    overall: SharePart | None
    under_represented: tuple[str, ...]
    not_granted_at_most: float | None
    unknown: str = UNKNOWN


class CoverageAbsent(Message):
    """Why there is no coverage to show."""

    status: Literal["not estimated"] = "not estimated"
    purpose: str
    reason: str
    unknown: str = UNKNOWN


CoverageShown: TypeAlias = CoverageEstimate | CoverageAbsent


@dataclass(frozen=True)
class Figures:
    """What a coverage study had said at one moment.

    Attributes:
        epsilon: what the rounds that were opened up to the last one cost a device that took part in each.
        tally: what the rounds released by then say together.
    """

    epsilon: float
    tally: Tally


@dataclass(frozen=True)
class CoverageRelease:
    """What a coverage study had released at one moment: when one of its rounds was.

    Attributes:
        study: the study.
        rounds: the rounds that were released by then, at least one.
        released_at_ms: of the last of them.
        figures: reads what they say; a study has as many releases as rounds, and few of them are ever shown.
    """

    study: Study
    rounds: tuple[int, ...]
    released_at_ms: int
    figures: Callable[[], Figures]

    @property
    def whole(self) -> bool:
        """The last round that the study planned is among them."""
        return self.rounds[-1] == self.study.rounds

    @property
    def purposes(self) -> tuple[str, ...]:
        """What it says something about: the purposes asked about, and measurement."""
        assert isinstance(self.study.query, CoverageQuery), "only coverage studies are read"
        return (*self.study.query.purposes, MEASUREMENT)


async def coverage_releases(desk: Desk, connection: AsyncConnection) -> list[CoverageRelease]:
    """What every coverage study had released with each of its rounds, by the time of release."""
    found = []
    for row in await desk.store.studies(connection):
        study = Study.model_validate_json(row.body)
        if isinstance(study.query, CoverageQuery):
            opened = await desk.store.rounds(connection, row.study_hash)
            rounds = [(number, item) for number, item in enumerate(opened, 1) if item.total is not None]
            for last, (count, _) in enumerate(rounds, 1):
                found.append(_release(desk, study, [item for _, item in rounds[:last]], count))
    return sorted(found, key=lambda release: (release.released_at_ms, release.study.study_hash(), release.rounds))


def _release(desk: Desk, study: Study, rounds: Sequence[Record], opened: int) -> CoverageRelease:
    return CoverageRelease(
        study=study,
        rounds=tuple(item.number for item in rounds),
        released_at_ms=max(item.released_at_ms for item in rounds),
        figures=cache(partial(_figures, desk, study, rounds, opened)),
    )


def _figures(desk: Desk, study: Study, rounds: Sequence[Record], opened: int) -> Figures:
    assert isinstance(study.query, CoverageQuery), "only coverage studies are read"
    totals = [from_stored(item.total, study.plan.dimension) for item in rounds]
    total = np.stack(totals).sum(axis=0, dtype=np.int64)
    return Figures(
        epsilon=desk.budget.epsilon_of(study, opened),
        tally=decode(
            coverage_question(study.query),
            total,
            study.plan.parameters(),
            sampling_rate=study.plan.sampling_rate,
            rounds=len(rounds),
        ),
    )


def beside(releases: Sequence[CoverageRelease], study: Study, first_release_ms: int | None) -> CoverageShown:
    """The coverage to show beside a study's result.

    Args:
        releases: from ``coverage_releases``.
        study: whose result it is.
        first_release_ms: when its first round was released; None before that.
    """
    own = [release for release in releases if release.study.study_hash() == study.study_hash()]
    if own:
        return estimate(own[-1], study.purpose, "the result itself")
    if first_release_ms is None:
        return CoverageAbsent(purpose=study.purpose, reason=NO_RESULT)
    asked = [release for release in releases if study.purpose in release.purposes]
    # One of the same millisecond may have come after a reader looked, so it counts as one that came after.
    before = [release for release in asked if release.released_at_ms < first_release_ms]
    if before:
        return estimate(_best(before), study.purpose, "before the result")
    after = next((release for release in asked if release.whole), None)
    if after is not None:
        return estimate(after, study.purpose, "after the result")
    reason = NOT_WHOLE if asked else NOT_ASKED if releases else NONE_RELEASED
    return CoverageAbsent(purpose=study.purpose, reason=reason)


def latest(releases: Sequence[CoverageRelease]) -> list[CoverageEstimate]:
    """For each purpose that any coverage says something about, the newest whole one, or else the newest."""
    known: dict[str, list[CoverageRelease]] = {}
    for release in releases:
        for purpose in release.purposes:
            known.setdefault(purpose, []).append(release)
    return [estimate(_best(found), purpose, "latest") for purpose, found in known.items()]


def _best(releases: Sequence[CoverageRelease]) -> CoverageRelease:
    """The last whole one; without one, the last."""
    return ([release for release in releases if release.whole] or releases)[-1]


def estimate(release: CoverageRelease, purpose: str, timing: Timing) -> CoverageEstimate:
    """What a release says about one purpose: post-processing, no charge."""
    query = release.study.query
    assert isinstance(query, CoverageQuery), "only coverage studies are read"
    names, tally = coverage_question(query).band_names(), release.figures().tally
    if purpose == MEASUREMENT:
        bands = [_band(name, share, None) for name, share in zip(names, composition_of(tally), strict=True)]
        return _estimate(release, purpose, timing, "make-up", bands)
    found = coverage_of(tally, query.purposes.index(purpose))
    rows = zip(names, found.bands, found.weights(), strict=True)
    bands = [_band(name, share, _weight(weight)) for name, share, weight in rows]
    return _estimate(
        release,
        purpose,
        timing,
        "granted",
        bands,
        overall=_share(found.overall),
        under_represented=tuple(names[index] for index in found.under_represented),
        not_granted_at_most=1 - found.overall.interval.low,
    )


def _estimate(
    release: CoverageRelease,
    purpose: str,
    timing: Timing,
    figure: Figure,
    bands: Sequence[BandPart],
    *,
    overall: SharePart | None = None,
    under_represented: tuple[str, ...] = (),
    not_granted_at_most: float | None = None,
) -> CoverageEstimate:
    return CoverageEstimate(
        purpose=purpose,
        figure=figure,
        study_id=release.study.study_id,
        rounds=release.rounds,
        planned_rounds=release.study.rounds,
        released_at_ms=release.released_at_ms,
        timing=timing,
        epsilon=release.figures().epsilon,
        delta=release.study.delta,
        confidence=CONFIDENCE,
        bands=tuple(bands),
        overall=overall,
        under_represented=under_represented,
        not_granted_at_most=not_granted_at_most,
    )


def _share(share: Share) -> SharePart:
    return SharePart(share=share.estimate, low=share.interval.low, high=share.interval.high)


def _band(name: str, share: Share, weight: WeightPart | None) -> BandPart:
    return BandPart(visits=name, share=share.estimate, low=share.interval.low, high=share.interval.high, weight=weight)


def _weight(weight: Share) -> WeightPart:
    return WeightPart(weight=weight.estimate, low=weight.interval.low, high=_finite(weight.interval))


def _finite(interval: Interval) -> float | None:
    return interval.high if math.isfinite(interval.high) else None
