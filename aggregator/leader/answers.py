"""What the leader says about studies: states, charges, released values. Everything in here was released before."""

from __future__ import annotations

import asyncio

from aggregator.leader.coverage import CoverageEstimate, CoverageShown, beside, coverage_releases, latest
from aggregator.leader.desk import Desk
from aggregator.leader.studies import require_study
from aggregator.leader.totals import from_stored
from aggregator.storage.leader import Record
from models.wire.message import Base64, Message, to_base64
from models.wire.studies import Study
from privacy.accounting import Row
from privacy.secure_sum import decode


class StudyState(Message):
    """A study in a list."""

    study_id: str
    study_hash: str
    state: str
    detail: str = ""


class RoundState(Message):
    """A round. ``reports`` and ``opened`` count devices, nulls included: presence is outside the contract."""

    round: int
    state: str
    detail: str
    reports: int | None
    opened: int | None
    closes_at_ms: int
    released_at_ms: int | None


class ChargeState(Message):
    """A row of the leader's ledger; ``costs`` in the currency of its contract *then*, nats (device level, zero-out)."""

    round: int
    costs: tuple[float, ...]
    index: int


class StudyAccount(StudyState):
    """A study in full.

    ``epsilon_spent`` is what a device has paid that took part in every round that was opened, abandoned ones included:
    the filter's figure at the study's delta (device level, zero-out), and the plan's price. ``charges`` are the rows of
    the leader's own ledger, which has none for a round that was abandoned before its batch left for the helper.
    """

    study: Study
    approval: str | None
    log_index: int
    rounds: tuple[RoundState, ...]
    charges: tuple[ChargeState, ...]
    epsilon_spent: float
    delta: float
    epsilon_cap: float


class RoundResult(Message):
    """One release: the noisy sum in the vector's own unit. ``noise_multiplier`` is each server's."""

    round: int
    opened: int
    released_at_ms: int
    values: tuple[float, ...]
    noise_multiplier: float


class StudyResults(StudyState):
    """Every release of a study, its final model (flat little-endian float32, base64) if it has ended, its coverage."""

    rounds: tuple[RoundResult, ...]
    model: Base64 | None
    coverage: CoverageShown
    """Which share granted the use, as estimated under differential privacy; or why that is not known."""


async def account(desk: Desk, study_id: str) -> StudyAccount:
    """A study with its rounds and charges.

    Raises:
        ProblemError: ``unknown-study``.
    """
    row = await require_study(desk, study_id)
    study = Study.model_validate_json(row.body)
    async with desk.database.reading() as connection:
        rounds = await desk.store.rounds(connection, row.study_hash)
        bodies = await desk.store.ledger.bodies(connection, row.study_hash)
    charges = [Row.parse(body) for body in bodies]
    return StudyAccount(
        **_names(row),
        study=study,
        approval=row.decision,
        log_index=row.log_index,
        rounds=tuple(_round(item) for item in rounds),
        charges=tuple(
            ChargeState(round=item.charge.round, costs=item.charge.costs, index=item.index) for item in charges
        ),
        epsilon_spent=await asyncio.to_thread(desk.budget.epsilon_of, study, len(rounds)),
        delta=study.delta,
        epsilon_cap=study.epsilon_cap,
    )


async def results(desk: Desk, study_id: str) -> StudyResults:
    """A study's releases.

    Raises:
        ProblemError: ``unknown-study``.
    """
    row = await require_study(desk, study_id)
    study = Study.model_validate_json(row.body)
    async with desk.database.reading() as connection:
        rounds = await desk.store.rounds(connection, row.study_hash)
        releases = await coverage_releases(desk, connection)
    released = [item for item in rounds if item.total is not None]
    return StudyResults(
        **_names(row),
        rounds=tuple(_result(item, study) for item in released),
        model=None if row.final_model is None else to_base64(row.final_model),
        coverage=beside(releases, study, min((item.released_at_ms for item in released), default=None)),
    )


async def coverages(desk: Desk) -> list[CoverageEstimate]:
    """The newest coverage of every purpose that a coverage study of this site has asked about."""
    async with desk.database.reading() as connection:
        return latest(await coverage_releases(desk, connection))


async def states(desk: Desk) -> list[StudyState]:
    """Every study, oldest first."""
    async with desk.database.reading() as connection:
        return [StudyState(**_names(row)) for row in await desk.store.studies(connection)]


def _names(row: Record) -> dict[str, str]:
    return {
        "study_id": row.study_id,
        "study_hash": row.study_hash.hex(),
        "state": row.state,
        "detail": row.detail,
    }


def _round(row: Record) -> RoundState:
    return RoundState(
        round=row.number,
        state=row.state,
        detail=row.detail,
        reports=row.reports,
        opened=row.opened,
        closes_at_ms=row.closes_at_ms,
        released_at_ms=row.released_at_ms,
    )


def _result(row: Record, study: Study) -> RoundResult:
    values = decode(from_stored(row.total, study.plan.dimension), study.plan.parameters())
    return RoundResult(
        round=row.number,
        opened=row.opened,
        released_at_ms=row.released_at_ms,
        values=tuple(values.tolist()),
        noise_multiplier=study.plan.noise_multiplier,
    )
