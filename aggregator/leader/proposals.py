"""Proposals: checked for every fault at once, priced, put into plain words, stored, logged, forwarded, taken back."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field, ValidationError

from aggregator.leader.desk import Desk
from aggregator.leader.study_steps import require_in, take_step
from aggregator.service import fault
from aggregator.storage.database import Change
from aggregator.studies import StudyEvent, StudyState
from consent.purposes import PURPOSES, registry_hash
from consent.registry import LANGUAGES
from models.learning.steps import study_faults
from models.queries.summaries import PlainSummary, summarise
from models.wire.features import FEATURES, missing
from models.wire.message import Message
from models.wire.problems import ProblemError
from models.wire.studies import Study, purpose_of
from privacy.secure_sum import SecureSumError

_MOST_FAULTS = 64


class Fault(Message):
    """One thing that keeps a study from being proposed: where it stands, and what was expected and got there."""

    field: str
    fault: str


class Cost(Message):
    """What a study costs one device (device level, zero-out, the filter's figures).

    Attributes:
        epsilon: of all rounds, at ``delta``.
        delta: the study's.
        epsilon_cap: the study's own limit.
        noise_multiplier: of each server, in units of the sensitivity.
        sensitivity: the most that one device changes the sum, on the integer grid (L2, zero-out).
        sampling_rate: share of the reports that are real.
        budget_after: what the leader's window would hold with all rounds on top, at the contract's delta.
        budget: the leader's contract.
    """

    epsilon: float
    delta: float
    epsilon_cap: float
    noise_multiplier: float
    sensitivity: int
    sampling_rate: float
    budget_after: float
    budget: float


class StudyCheck(Message):
    """What proposing these bytes would come to. ``notes`` do not keep a study from being proposed."""

    ok: bool
    study_hash: str | None
    faults: Annotated[tuple[Fault, ...], Field(max_length=_MOST_FAULTS)]
    notes: tuple[str, ...]
    cost: Cost | None
    minimum_cohort: int | None
    purpose: str | None
    summaries: dict[str, PlainSummary]


async def examine(desk: Desk, body: bytes) -> StudyCheck:
    """Say everything that is wrong with a study at once, what it costs, and what it asks in plain words."""
    try:
        study = Study.model_validate_json(body)
    except ValidationError as error:
        return _unreadable(error)
    faults = await asyncio.to_thread(find_faults, desk, study)
    cost = await asyncio.to_thread(_cost, desk, study)
    notes = []
    if cost is not None and cost.budget_after > cost.budget:
        notes.append(
            f"all rounds on top of what is spent would come to epsilon {cost.budget_after:.4g} of the leader's "
            f"{cost.budget:g}: rounds that cannot be paid are not opened"
        )
    return StudyCheck(
        ok=not faults,
        study_hash=study.study_hash().hex(),
        faults=tuple(faults[:_MOST_FAULTS]),
        notes=tuple(notes),
        cost=cost,
        minimum_cohort=study.plan.minimum_cohort,
        purpose=study.purpose,
        summaries={}
        if cost is None
        else {language: summarise(study, language, cost.epsilon) for language in LANGUAGES},
    )


async def propose(desk: Desk, study: Study) -> str:
    """Check, store, log and forward a study; the same bytes again are the same study. Returns its state.

    Raises:
        ProblemError: ``unsupported-version``, ``invalid-study``, ``study-exists``, or ``helper-unavailable``: then it
            is stored, and proposing the same bytes again forwards it.
    """
    await asyncio.to_thread(check, desk, study)
    study_hash = study.study_hash()

    async def act(change: Change) -> str:
        known = await desk.store.study(change.connection, study.study_id)
        if known is not None:
            if known.study_hash != study_hash:
                raise ProblemError("study-exists", f"another study is called {study.study_id!r}; choose a new name")
            return str(known.state)
        await desk.store.add_study(
            change.connection,
            study_hash=study_hash,
            study_id=study.study_id,
            body=study.canonical(),
            state=StudyState.PROPOSED,
            detail="",
            proposed_at_ms=desk.clock.now_ms(),
            log_index=await desk.ledger_log.append(change, "study", study.canonical()),
        )
        change.then(desk.board.refresh)
        return str(StudyState.PROPOSED)

    state = await desk.database.change(act)
    if state == StudyState.PROPOSED:
        await desk.helper.propose(study)
    return state


async def withdraw(desk: Desk, study_id: str, who: str) -> str:
    """Take a proposal back before the privacy office has decided; returns the state.

    The helper is told first: a decision that it has taken in stands, and this is then refused.

    Raises:
        ProblemError: ``unknown-study``, ``wrong-state`` once it was decided, ``helper-unavailable``.
    """
    async with desk.database.reading() as connection:
        row = await desk.store.study(connection, study_id)
    if row is None:
        raise ProblemError("unknown-study", f"no study is called {study_id!r}")
    if row.state == StudyState.WITHDRAWN:
        return str(row.state)
    if row.state == StudyState.PROPOSED:
        await desk.helper.withdraw(row.study_hash)

    async def act(change: Change) -> str:
        current = await require_in(desk, change, study_id)
        return str(await take_step(desk, change, current, StudyEvent.WITHDRAW, who, detail="taken back"))

    return await desk.database.change(act)


def check(desk: Desk, study: Study) -> None:
    """Refuse a study that cannot run as written. Prices it: call in a thread.

    Raises:
        ProblemError: ``unsupported-version`` for needs that are not known here, else ``invalid-study``, saying what was
            expected and what was got, all of it.
    """
    lacking = missing(study.needs, FEATURES)
    if lacking:
        raise ProblemError("unsupported-version", _needs(lacking))
    faults = find_faults(desk, study)
    if faults:
        raise ProblemError("invalid-study", "; ".join(fault.fault for fault in faults[:_MOST_FAULTS]))


def find_faults(desk: Desk, study: Study) -> list[Fault]:
    """Everything that keeps a study from being proposed here. Prices it: call in a thread."""
    found = [*_foreign(desk, study), *_unsaid(study), *_beyond(desk, study)]
    found += [Fault(field=field, fault=fault) for field, fault in study_faults(study)]
    cost, unpriced = _price(desk, study)
    if unpriced:
        found.append(Fault(field="plan", fault=unpriced))
    if cost is not None and cost > study.epsilon_cap:
        fault = f"expected a plan within epsilon {study.epsilon_cap:g}, got {cost:.4g}"
        found.append(Fault(field="epsilon_cap", fault=fault))
    return found


def _foreign(desk: Desk, study: Study) -> list[Fault]:
    """What names other services, another site, other texts or another purpose than it is asked for."""
    facts = (
        ("purpose", study.purpose, purpose_of(study.query)),
        ("site", study.site, desk.settings.site),
        ("leader_key", study.leader_key, desk.key.verify_key.raw.hex()),
        ("helper_key", study.helper_key, desk.settings.helper_key),
        ("policy_hash", study.policy_hash, registry_hash().hex()),
    )
    return [
        Fault(field=name, fault=f"expected {name} {expected!r}, got {got!r}")
        for name, got, expected in facts
        if got != expected
    ]


def _unsaid(study: Study) -> list[Fault]:
    """An officer, and whoever is asked, reads a title and a summary."""
    return [
        Fault(field=name, fault=f"expected a {name} in plain language, got none")
        for name, text in (("title", study.title), ("summary", study.summary))
        if not text.strip()
    ]


def _beyond(desk: Desk, study: Study) -> list[Fault]:
    """What this site or this version does not do."""
    found, least = [], desk.settings.minimum_cohort
    if study.plan.minimum_cohort < least:
        fault = f"expected a minimum cohort of at least {least}, this site's, got {study.plan.minimum_cohort}"
        found.append(Fault(field="plan.minimum_cohort", fault=fault))
    if study.expires_at_ms <= desk.clock.now_ms():
        found.append(Fault(field="expires_at_ms", fault="the study has expired"))
    if lacking := missing(study.needs, FEATURES):
        found.append(Fault(field="needs", fault=_needs(lacking)))
    purpose = PURPOSES.find(study.purpose)
    if purpose is None or purpose.leaves == "nothing":
        found.append(Fault(field="purpose", fault=f"nothing may leave a device for purpose {study.purpose!r}"))
    return found


def _price(desk: Desk, study: Study) -> tuple[float | None, str]:
    """The filter's figure for all rounds, or why there is none (device level, zero-out, the study's delta)."""
    try:
        study.plan.parameters()
        return desk.budget.plan_epsilon(study), ""
    except SecureSumError:
        return None, ""  # said as a fault of the plan
    except ProblemError as error:
        return None, error.detail


def _cost(desk: Desk, study: Study) -> Cost | None:
    plan, (epsilon, _) = study.plan, _price(desk, study)
    if epsilon is None:
        return None
    return Cost(
        epsilon=epsilon,
        delta=study.delta,
        epsilon_cap=study.epsilon_cap,
        noise_multiplier=plan.noise_multiplier,
        sensitivity=plan.sensitivity,
        sampling_rate=plan.sampling_rate,
        budget_after=desk.budget.epsilon_after(study),
        budget=desk.settings.budget_epsilon,
    )


def _needs(lacking: list[str]) -> str:
    return f"expected needs that are known here ({', '.join(sorted(FEATURES))}), got {', '.join(lacking)}"


def _unreadable(error: ValidationError) -> StudyCheck:
    found = map(fault, error.errors(include_input=False, include_url=False)[:_MOST_FAULTS])
    faults = tuple(Fault(field=place, fault=expected) for place, expected in found)
    return StudyCheck(
        ok=False,
        study_hash=None,
        faults=faults,
        notes=(),
        cost=None,
        minimum_cohort=None,
        purpose=None,
        summaries={},
    )
