"""Who is missing from a result: the coverage that stands beside it, a pure function of what was released.

A coverage study is a study like any other: charged, approved, released. What is said here of its release costs nothing
more. Which release stands beside a result is fixed by release times alone, so it never changes under a reader: the
last coverage that was complete when the result was first released, or else the first that came after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.leader.desk import Desk
from aggregator.rounds import StudyState
from aggregator.storage.leader import Record
from consent.purposes import MEASUREMENT
from models.queries.answers import coverage_question
from models.queries.coverage import Share, Tally, composition_of, coverage_of, decode
from models.queries.intervals import CONFIDENCE, Interval
from models.wire.message import Message
from models.wire.studies import CoverageQuery, Study
from privacy.accounting import Row

UNKNOWN: Final = (
    "People who refused measurement, and devices whose budget was spent: they are in no figure here, and no result "
    "says how many they are or what they do."
)
NONE_RELEASED: Final = "not estimated: no coverage study was released for this site"
NOT_ASKED: Final = "not estimated: no released coverage study of this site asked about this purpose"
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
    ``missing_at_most``: the upper end for the share of counted devices that are not in a result of this purpose; a
    share of people that is known among those who are in it can be wrong by so much, and no more, for all counted.
    ``epsilon`` is what the coverage study cost a device (device level, zero-out, the filter's figure at ``delta``).
    """

    status: Literal["estimated"] = "estimated"
    purpose: str
    figure: Figure
    study_id: str
    rounds: tuple[int, ...]
    released_at_ms: int
    timing: Timing
    epsilon: float
    delta: float
    confidence: float
    bands: tuple[BandPart, ...]
    overall: SharePart | None
    under_represented: tuple[str, ...]
    missing_at_most: float | None
    unknown: str = UNKNOWN


class CoverageAbsent(Message):
    """Why there is no coverage to show."""

    status: Literal["not estimated"] = "not estimated"
    purpose: str
    reason: str
    unknown: str = UNKNOWN


CoverageShown: TypeAlias = CoverageEstimate | CoverageAbsent


@dataclass(frozen=True)
class CoverageRelease:
    """What a coverage study has released.

    Attributes:
        study: the study.
        rounds: its released rounds, at least one.
        released_at_ms: of the last of them.
        complete: no further round will follow.
        epsilon: what the study cost a device.
    """

    study: Study
    rounds: tuple[int, ...]
    released_at_ms: int
    complete: bool
    epsilon: float
    tally: Tally

    @property
    def purposes(self) -> tuple[str, ...]:
        """What it says something about: the purposes asked about, and measurement."""
        assert isinstance(self.study.query, CoverageQuery), "only coverage studies are read"
        return (*self.study.query.purposes, MEASUREMENT)


async def coverage_releases(desk: Desk, connection: AsyncConnection) -> list[CoverageRelease]:
    """Every coverage study that has released something, by the time of its last release."""
    found = []
    for row in await desk.store.studies(connection):
        study = Study.model_validate_json(row.body)
        if isinstance(study.query, CoverageQuery):
            rounds = [item for item in await desk.store.rounds(connection, row.study_hash) if item.total is not None]
            if rounds:
                bodies = await desk.store.ledger.bodies(connection, row.study_hash)
                found.append(_release(desk, study, rounds, bodies, complete=row.state != StudyState.RUNNING))
    return sorted(found, key=lambda release: release.released_at_ms)


def _release(
    desk: Desk, study: Study, rounds: Sequence[Record], bodies: Sequence[bytes], *, complete: bool
) -> CoverageRelease:
    assert isinstance(study.query, CoverageQuery), "the caller looked"
    total = np.stack([np.frombuffer(item.total, dtype="<i8") for item in rounds]).sum(axis=0).astype(np.int64)
    return CoverageRelease(
        study=study,
        rounds=tuple(item.number for item in rounds),
        released_at_ms=max(item.released_at_ms for item in rounds),
        complete=complete,
        epsilon=desk.budget.epsilon_of([Row.parse(body) for body in bodies], study.delta),
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
        return estimate(own[0], study.purpose, "the result itself")
    if first_release_ms is None:
        return CoverageAbsent(purpose=study.purpose, reason=NO_RESULT)
    complete = [release for release in releases if release.complete]
    asked = [release for release in complete if study.purpose in release.purposes]
    if not asked:
        return CoverageAbsent(purpose=study.purpose, reason=NOT_ASKED if complete else NONE_RELEASED)
    before = [release for release in asked if release.released_at_ms <= first_release_ms]
    if before:
        return estimate(before[-1], study.purpose, "before the result")
    return estimate(asked[0], study.purpose, "after the result")


def latest(releases: Sequence[CoverageRelease]) -> list[CoverageEstimate]:
    """For each purpose that any complete coverage says something about, the newest."""
    newest = {purpose: release for release in releases if release.complete for purpose in release.purposes}
    return [estimate(release, purpose, "latest") for purpose, release in newest.items()]


def estimate(release: CoverageRelease, purpose: str, timing: Timing) -> CoverageEstimate:
    """What a release says about one purpose: post-processing, no charge."""
    query = release.study.query
    assert isinstance(query, CoverageQuery), "only coverage studies are read"
    names = coverage_question(query).band_names()
    if purpose == MEASUREMENT:
        bands = [_band(name, share, None) for name, share in zip(names, composition_of(release.tally), strict=True)]
        return _estimate(release, purpose, timing, "make-up", bands)
    found = coverage_of(release.tally, query.purposes.index(purpose))
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
        missing_at_most=1 - found.overall.interval.low,
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
    missing_at_most: float | None = None,
) -> CoverageEstimate:
    return CoverageEstimate(
        purpose=purpose,
        figure=figure,
        study_id=release.study.study_id,
        rounds=release.rounds,
        released_at_ms=release.released_at_ms,
        timing=timing,
        epsilon=release.epsilon,
        delta=release.study.delta,
        confidence=CONFIDENCE,
        bands=tuple(bands),
        overall=overall,
        under_represented=under_represented,
        missing_at_most=missing_at_most,
    )


def _share(share: Share) -> SharePart:
    return SharePart(share=share.estimate, low=share.interval.low, high=share.interval.high)


def _band(name: str, share: Share, weight: WeightPart | None) -> BandPart:
    return BandPart(visits=name, share=share.estimate, low=share.interval.low, high=share.interval.high, weight=weight)


def _weight(weight: Share) -> WeightPart:
    return WeightPart(weight=weight.estimate, low=weight.interval.low, high=_finite(weight.interval))


def _finite(interval: Interval) -> float | None:
    return interval.high if math.isfinite(interval.high) else None
