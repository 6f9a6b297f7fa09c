"""From finished studies and a campaign's words to one published bundle."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass

import numpy as np

from aggregator.leader.desk import Desk
from aggregator.leader.distribution import Distribution
from aggregator.leader.studies import require_study
from aggregator.storage.database import Change
from aggregator.storage.leader import Record
from aggregator.studies import StudyState
from models.personalisation.errors import PersonalisationError
from models.personalisation.publishing import publishable_bundle
from models.queries import measurement
from models.queries.answers import centroids_of, from_model_bytes, measurement_question, persona_question
from models.queries.labels import label
from models.wire.bundle import Bundle, Module, NetModel, PersonaModel, Provenance, Rule, Segment, TransitionModel
from models.wire.message import Message, Slug, to_base64
from models.wire.problems import ProblemError
from models.wire.studies import PersonasQuery, Study, TrainQuery, TransitionsQuery
from privacy.accounting import LocalEvent, Row, epsilon


class BundleRequest(Message):
    """What to publish: finished studies by name, and the campaign's segments, modules and rules."""

    persona_study: Slug | None = None
    intent_study: Slug | None = None
    transitions_study: Slug | None = None
    label_prefix: str = ""
    """Only features whose name starts with this name a persona."""
    segments: tuple[Segment, ...] = ()
    modules: tuple[Module, ...] = ()
    rules: tuple[Rule, ...] = ()


class PublishedBundle(Message):
    """What was published: ``sha256`` of the padded bytes."""

    bundle_version: int
    sha256: str


@dataclass(frozen=True)
class Publisher:
    """The TUF repository, and the lock that lets one publication of this worker follow another."""

    distribution: Distribution
    lock: asyncio.Lock


@dataclass(frozen=True)
class _Finished:
    study: Study
    model: np.ndarray[tuple[int], np.dtype[np.float32]]
    provenance: Provenance


async def publish(desk: Desk, request: BundleRequest) -> PublishedBundle:
    """Build, check, publish, log.

    Raises:
        ProblemError: ``unknown-study``, ``wrong-state`` (a study that has not finished, or no repository yet),
            ``invalid-study`` (a study of another kind), ``bundle-invalid`` (a part that must not go out).
    """
    async with desk.publisher.lock:
        await record_publication(desk)  # one that a worker did not live to log
        parts = {
            "personas": await _personas(desk, request),
            "intent": await _intent(desk, request),
            "transitions": await _transitions(desk, request),
        }
        version = await _next_version(desk)
        bundle = Bundle(
            site=desk.settings.site,
            bundle_version=version,
            published_at_ms=desk.clock.now_ms(),
            personas=parts["personas"][0],
            intent=parts["intent"][0],
            transitions=parts["transitions"][0],
            segments=request.segments,
            modules=request.modules,
            rules=request.rules,
            provenance=tuple(found.provenance for _, found in parts.values() if found is not None),
        )
        try:
            bundle = await asyncio.to_thread(publishable_bundle, bundle)
        except PersonalisationError as error:
            raise ProblemError("bundle-invalid", str(error)) from error
        return await _release(desk, bundle)


async def _release(desk: Desk, bundle: Bundle) -> PublishedBundle:
    now = dt.datetime.fromtimestamp(desk.clock.wall(), tz=dt.UTC)
    sha256 = await asyncio.to_thread(desk.publisher.distribution.publish, bundle, now)
    await record_publication(desk)
    desk.log.info("bundle published", version=bundle.bundle_version)
    return PublishedBundle(bundle_version=bundle.bundle_version, sha256=sha256)


async def _next_version(desk: Desk) -> int:
    """Above every bundle that was ever logged here, and above the one that is served."""
    served = await asyncio.to_thread(desk.publisher.distribution.current_version)
    async with desk.database.reading() as connection:
        return max(served, await desk.store.bundle_version(connection)) + 1


async def record_publication(desk: Desk) -> None:
    """Log and announce the bundle that is served, unless that has been done; whoever published it, and however.

    The repository goes first: a worker that dies after it leaves a bundle that agents use and no log entry, until the
    next publication or the next tidying up, which is within a minute.
    """
    published = await asyncio.to_thread(desk.publisher.distribution.current)
    if published is None:
        return
    version, at_ms = published.bundle_version, desk.clock.now_ms()
    async with desk.database.reading() as connection:
        if await desk.store.bundle_version(connection) >= version:
            return

    async def act(change: Change) -> None:
        if await desk.store.bundle_version(change.connection) >= version:
            return
        await desk.store.add_bundle(
            change.connection, bundle_version=version, sha256=published.sha256, published_at_ms=at_ms
        )
        await desk.ledger_log.append(change, "bundle", version.to_bytes(8, "big") + published.sha256)
        change.then(lambda: desk.board.announce_bundle(version))

    await desk.database.change(act)


async def keep_fresh(desk: Desk) -> None:
    """Sign daily that what is served is of today, and say what only people can mend. Run by the worker with the duty.

    The store decides who has the duty; the repository's own lock keeps two who believe it from getting in each
    other's way.
    """
    distribution = desk.publisher.distribution
    if not distribution.files.exists:
        return
    now = dt.datetime.fromtimestamp(desk.clock.wall(), tz=dt.UTC)
    await record_publication(desk)
    try:
        signed = await asyncio.to_thread(distribution.refresh_if_due, now)
    except ProblemError as problem:
        desk.log.error("bundle repository not signed", meaning=problem.detail)  # noqa: TRY400 - our own words
        return
    if signed:
        desk.log.info("bundle repository signed anew")
        for warning in await asyncio.to_thread(distribution.warnings, now):
            desk.log.warning("bundle repository", meaning=warning)


async def _personas(desk: Desk, request: BundleRequest) -> tuple[PersonaModel | None, _Finished | None]:
    if request.persona_study is None:
        return None, None
    found = await _finished(desk, request.persona_study)
    query = found.study.query
    if not isinstance(query, PersonasQuery):
        raise ProblemError("invalid-study", f"expected a personas study, got {query.question!r}")
    centroids = centroids_of(persona_question(query), found.model)
    labels = label(centroids, query.features.names, prefix=request.label_prefix)
    model = PersonaModel(
        features=query.features,
        centroids=tuple(tuple(row) for row in centroids.tolist()),
        labels=labels,
        study_id=found.study.study_id,
    )
    return model, found


async def _intent(desk: Desk, request: BundleRequest) -> tuple[NetModel | None, _Finished | None]:
    if request.intent_study is None:
        return None, None
    found = await _finished(desk, request.intent_study)
    query = found.study.query
    if not isinstance(query, TrainQuery):
        raise ProblemError("invalid-study", f"expected a training study, got {query.question!r}")
    model = NetModel(
        task=query.task,
        features=query.features,
        hidden=query.hidden,
        parameters=to_base64(found.model.astype("<f4").tobytes()),
        study_id=found.study.study_id,
    )
    return model, found


async def _transitions(desk: Desk, request: BundleRequest) -> tuple[TransitionModel | None, _Finished | None]:
    if request.transitions_study is None:
        return None, None
    found = await _finished(desk, request.transitions_study)
    query = found.study.query
    if not isinstance(query, TransitionsQuery):
        raise ProblemError("invalid-study", f"expected a transitions study, got {query.question!r}")
    measured = measurement.decode(measurement_question(query), found.model.astype(np.float64))
    rows = tuple(tuple(row) for row in measured.transitions.tolist())
    return TransitionModel(categories=query.categories, rows=rows, study_id=found.study.study_id), found


async def _finished(desk: Desk, study_id: str) -> _Finished:
    row = await require_study(desk, study_id)
    if row.state != StudyState.FINISHED:
        raise ProblemError("wrong-state", f"expected a finished study, {study_id!r} is {row.state}")
    study = Study.model_validate_json(row.body)
    async with desk.database.reading() as connection:
        bodies = await desk.store.ledger.bodies(connection, row.study_hash)
        opened = len(await desk.store.rounds(connection, row.study_hash))
    charges = [Row.parse(body) for body in bodies]
    provenance = await asyncio.to_thread(_provenance, desk, row, study, charges, opened)
    return _Finished(study, from_model_bytes(row.final_model), provenance)


def _provenance(desk: Desk, row: Record, study: Study, charges: list[Row], opened: int) -> Provenance:
    return Provenance(
        study_id=study.study_id,
        study_hash=row.study_hash.hex(),
        rounds=len(charges),
        epsilon_user=desk.budget.epsilon_of(study, opened),
        epsilon_local=_local_epsilon(study, opened),
        delta=study.delta,
    )


def _local_epsilon(study: Study, rounds: int) -> float | None:
    """Epsilon of the local layer (per training row, zero-out) where a device trained in all rounds; None without noise.

    Every round that was opened counts, also one that was abandoned and that the leader was never charged for: devices
    trained and sent in it, and this figure is about what leader and helper saw together.
    """
    if not isinstance(study.query, TrainQuery) or study.query.local.noise_multiplier == 0 or rounds == 0:
        return None
    local = study.query.local
    return epsilon([LocalEvent(local.noise_multiplier, 1.0, local.steps * rounds)], study.delta, "rdp")
