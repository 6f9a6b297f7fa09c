"""The leader's API for analysts and operators. Routes translate; what happens is in the modules that they name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aggregator.leader import answers, bundles, proposals, studies, tables
from aggregator.leader.coverage import CoverageEstimate
from aggregator.leader.desk import Desk, desk_of
from aggregator.service import body_schema
from aggregator.studies import StudyEvent
from models.wire.problems import ProblemError
from models.wire.states import Schedule
from models.wire.studies import Study

StudyName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]


def study_routes() -> APIRouter:
    """Studies from their proposal to their results, and bundles. Reading needs no token: what is shown was released."""
    router = APIRouter()
    _add_proposing(router)
    _add_running(router)
    _add_reading(router)

    @router.post("/v1/bundles", status_code=201, tags=["bundles"])
    async def publish(request: Request, body: bundles.BundleRequest) -> bundles.PublishedBundle:
        """Publish a bundle from finished studies (scope operator)."""
        desk = desk_of(request)
        await desk.require_scope(request, "operator")
        return await bundles.publish(desk, body)

    return router


def _add_proposing(router: APIRouter) -> None:
    @router.post("/v1/studies", status_code=201, tags=["studies"])
    async def propose(request: Request, study: Study) -> answers.StudyState:
        """Propose a study (scope analyst). It is checked, logged and forwarded to the privacy office."""
        desk = desk_of(request)
        await desk.require_scope(request, "analyst")
        state = await proposals.propose(desk, study)
        return answers.StudyState(study_id=study.study_id, study_hash=study.study_hash().hex(), state=state)

    @router.post("/v1/studies/check", tags=["studies"], openapi_extra=body_schema(Study))
    async def check(request: Request) -> proposals.StudyCheck:
        """What proposing a study would come to (scope analyst): every fault, its cost, what it asks in plain words."""
        desk = desk_of(request)
        await desk.require_scope(request, "analyst")
        return await proposals.examine(desk, await request.body())

    @router.post("/v1/studies/{study_id}/withdraw", tags=["studies"])
    async def withdraw(request: Request, study_id: StudyName) -> answers.StudyState:
        """Take a proposal back before the privacy office has decided (scope analyst)."""
        desk = desk_of(request)
        who = await _caller(desk, request, "analyst")
        return await _state(desk, study_id, await proposals.withdraw(desk, study_id, who))


def _add_running(router: APIRouter) -> None:
    @router.post("/v1/studies/{study_id}/start", status_code=202, tags=["studies"])
    async def start(request: Request, study_id: StudyName) -> answers.StudyState:
        """Run an approved study in the background (scope analyst)."""
        desk = desk_of(request)
        who = await _caller(desk, request, "analyst")
        return await _state(desk, study_id, await studies.start(desk, study_id, who))

    @router.post("/v1/studies/{study_id}/schedule", status_code=202, tags=["studies"])
    async def schedule(request: Request, study_id: StudyName, body: Schedule) -> answers.StudyState:
        """Start an approved study at a time, its rounds an interval apart (scope analyst)."""
        desk = desk_of(request)
        who = await _caller(desk, request, "analyst")
        return await _state(desk, study_id, await studies.schedule(desk, study_id, body, who))

    @router.post("/v1/studies/{study_id}/pause", tags=["studies"])
    async def pause(request: Request, study_id: StudyName) -> answers.StudyState:
        """Open no new round of a study; the one that is open ends as usual (scope analyst or operator)."""
        desk = desk_of(request)
        who = await _caller(desk, request, "analyst", "operator")
        return await _state(desk, study_id, await studies.change_course(desk, study_id, StudyEvent.PAUSE, who))

    @router.post("/v1/studies/{study_id}/resume", tags=["studies"])
    async def resume(request: Request, study_id: StudyName) -> answers.StudyState:
        """Go on with a paused study (scope analyst or operator)."""
        desk = desk_of(request)
        who = await _caller(desk, request, "analyst", "operator")
        return await _state(desk, study_id, await studies.change_course(desk, study_id, StudyEvent.RESUME, who))


def _add_reading(router: APIRouter) -> None:
    @router.get("/v1/studies", tags=["studies"])
    async def list_studies(request: Request) -> list[answers.StudyState]:
        """Every study."""
        return await answers.states(desk_of(request))

    @router.get("/v1/studies/{study_id}", tags=["studies"])
    async def show(request: Request, study_id: StudyName) -> answers.StudyAccount:
        """One study: its rounds and what they were charged."""
        return await answers.account(desk_of(request), study_id)

    @router.get(
        "/v1/studies/{study_id}/results",
        tags=["studies"],
        response_model=answers.StudyResults,
        responses={200: {"content": {tables.CSV_MEDIA_TYPE: {}, tables.PARQUET_MEDIA_TYPE: {}}}},
    )
    async def results(
        request: Request, study_id: StudyName, form: Annotated[str, Query(alias="format", max_length=32)] = ""
    ) -> Response | answers.StudyResults:
        """What was released, and which share granted its use: JSON, or a table as CSV or Parquet (format, Accept)."""
        desk, media_type = desk_of(request), tables.wanted(form, request.headers.get("accept", ""))
        if media_type is None:
            return await answers.results(desk, study_id)
        return await tables.answer(desk, study_id, media_type)

    @router.get("/v1/coverage", tags=["studies"])
    async def coverage(request: Request) -> list[CoverageEstimate]:
        """The newest coverage of every purpose: who takes part in its studies, by how much they use the site."""
        return await answers.coverages(desk_of(request))


async def _caller(desk: Desk, request: Request, *scopes: str) -> str:
    """Who asks, as the log names them: the role of their token. One of the scopes is needed."""
    for scope in scopes[:-1]:
        try:
            await desk.require_scope(request, scope)
        except ProblemError as error:
            if error.code != "forbidden":
                raise
        else:
            return scope
    await desk.require_scope(request, scopes[-1])
    return scopes[-1]


async def _state(desk: Desk, study_id: str, state: str) -> answers.StudyState:
    row = await studies.require_study(desk, study_id)
    return answers.StudyState(study_id=study_id, study_hash=row.study_hash.hex(), state=state)
