"""The helper as a service: ``create_app(settings)``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from aggregator.access import HELPER, Table
from aggregator.action_routes import action_routes
from aggregator.clock import OS_ENTROPY, Clock, Entropy
from aggregator.condition import Condition
from aggregator.gate import Gate
from aggregator.helper import console, decisions, expiry, openings, restored, shares, withdrawals
from aggregator.helper.condition import HelperCondition
from aggregator.helper.office import Office, office_of
from aggregator.helper.spool import SPOOL_FOLDER, SpoolFolder
from aggregator.helper.statements import add_statement_routes
from aggregator.helper.witness import add_log_routes
from aggregator.logs import quiet_libraries, service_log
from aggregator.metrics import Metrics
from aggregator.service import (
    add_common_routes,
    binary_schema,
    body_schema,
    new_service,
    parse,
    require_media_type,
)
from aggregator.settings import HelperSettings
from aggregator.storage.actions import ActionStore
from aggregator.storage.contracts import Parties, budget_state, contract_in_force
from aggregator.storage.database import Change, Database
from aggregator.storage.helper import HelperStore
from aggregator.storage.helper_tables import METADATA
from aggregator.storage.mirror import MIRROR_FILE, HeadMirror
from aggregator.storage.processes import running, starting
from aggregator.storage.standing import STANDING_FILE, Standing
from aggregator.storage.tokens import TokenStore
from aggregator.storage.vault import KeyVault
from models.queries.summaries import PlainSummary
from models.wire.budgets import BudgetState
from models.wire.enrolment import ServiceIdentity
from models.wire.frames import SEALS_MEDIA_TYPE
from models.wire.message import CompactJws, Message
from models.wire.rounds import OpeningRequest, SealedWithdrawal, ShareAnswer, WithdrawalAnswer, WithdrawalNotice
from models.wire.studies import Study

SHARE_PATH = re.compile(r"/v1/rounds/[0-9a-f]{64}/[0-9]{1,5}/share")
HexDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class SignedDecision(Message):
    """An officer's decision, as signed."""

    jws: CompactJws


class SignedOpening(Message):
    """The helper's opening, as signed."""

    opening: CompactJws


class ProposalState(Message):
    """What became of a proposal."""

    study_id: str
    study_hash: str
    state: str


class ProposalSummary(ProposalState):
    """A proposal with its cost: ``epsilon`` is the filter's figure for all rounds (device level, zero-out).

    ``summaries`` are made from the study's own fields, by language.
    """

    title: str
    purpose: str
    rounds: int
    epsilon: float
    delta: float
    epsilon_cap: float
    proposed_at: str
    study: Study
    summaries: dict[str, PlainSummary]


def create_app(settings: HelperSettings, *, clock: Clock | None = None, entropy: Entropy = OS_ENTROPY) -> FastAPI:
    """Build the helper. Its store is opened by the application's lifespan.

    Args:
        settings: from ``HelperSettings.read``.
        clock: the time; the operating system's unless given.
        entropy: where the noise's secrets come from; the operating system unless given.

    Raises:
        SettingsInvalid: a key that is missing or unreadable.
    """
    key, metrics, log = settings.signing_key(), Metrics(), service_log("helper", settings.log_level)
    clock = clock or Clock()
    database = Database(settings.url(), settings.patience())
    quiet_libraries()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = HelperStore()
        parties = Parties("helper", key.verify_key, settings.leader_verify_key(), settings.officer_keys())
        app.state.parties = parties

        async def load(change: Change) -> Office:
            mirror = HeadMirror(settings.directory / MIRROR_FILE)
            contract = await contract_in_force(change, store.ledger, settings, parties)
            budget = await store.ledger.load(change, contract, "helper", clock, mirror, settings.quotas())
            office = Office(
                settings=settings,
                key=key,
                leader_key=settings.leader_verify_key(),
                officers=settings.officer_keys(),
                clock=clock,
                log=log,
                metrics=metrics,
                database=database,
                store=store,
                budget=budget,
                spools=SpoolFolder(settings.directory / SPOOL_FOLDER),
                vault=KeyVault(settings.vault_folder()),
                standing=Standing(store.ledger, HeadMirror(settings.directory / STANDING_FILE)),
                entropy=entropy,
            )
            await restored.check(office, change)
            await expiry.tidy(office, change)
            return office

        stack = ExitStack()
        try:
            stack.enter_context(running(settings.directory))
            async with starting(settings.directory):  # two that start at once do not both find a restored store
                await database.open("helper")
                app.state.office = await database.change(load)
            HelperCondition(app.state.office).attach(condition)
            watching = asyncio.create_task(expiry.watch(app.state.office), name="round keys")
            try:
                async with condition.kept():
                    yield
            finally:
                watching.cancel()
                await _stop_answering(app.state.office)
                app.state.office.spools.close()
        finally:
            await database.close()
            stack.close()

    condition = Condition("helper", settings, database, metrics, clock)
    gate = Gate(Table(HELPER), database, TokenStore(METADATA), ActionStore(METADATA), settings, clock, metrics)
    app = new_service(
        "Hearthside helper",
        "Run by the privacy office; holds the other half of every sum.",
        settings,
        lifespan,
        metrics,
        log,
        larger_bodies=((SHARE_PATH, settings.batch_limit_bytes),),
        longer_requests=((SHARE_PATH, settings.batch_time_limit_seconds),),
        gate=gate,
    )
    identity = ServiceIdentity(
        role="helper",
        key=key.verify_key.raw.hex(),
        fingerprint=key.verify_key.fingerprint,
        site=settings.site,
        officers=settings.officers,
    )
    add_common_routes(app, identity, metrics, condition)
    app.include_router(action_routes(gate))
    app.include_router(_routes())

    @app.get("/v1/budget", tags=["service"])
    async def budget() -> BudgetState:
        """What this service allows at most, and what two officers have allowed."""
        async with database.reading() as connection:
            return await budget_state(connection, app.state.office.store.ledger, settings, app.state.parties)

    app.mount("/static", StaticFiles(directory=console.FOLDER / "static"), name="static")
    return app


async def _stop_answering(office: Office) -> None:
    """Leave no thread and no process behind; what is marked is answered after the next start."""
    office.stopping.set()
    await asyncio.gather(*office.answering.values(), return_exceptions=True)


def _routes() -> APIRouter:
    router = APIRouter()
    _add_proposal_routes(router)
    _add_round_routes(router)
    add_log_routes(router)
    add_statement_routes(router)

    @router.get("/", include_in_schema=False)
    async def show_console(request: Request) -> HTMLResponse:
        return HTMLResponse(await console.page(office_of(request)))

    return router


def _add_proposal_routes(router: APIRouter) -> None:
    @router.post("/v1/proposals", status_code=202, tags=["studies"], openapi_extra=body_schema(Study))
    async def propose(request: Request) -> ProposalState:
        """The leader forwards an analyst's study. Signed by the leader."""
        office, body = office_of(request), await request.body()
        await office.check_leader(request, body)
        study = parse(Study, body)
        state = await decisions.propose(office, study)
        return ProposalState(study_id=study.study_id, study_hash=study.study_hash().hex(), state=state)

    @router.post("/v1/proposals/{study_hash}/withdrawal", tags=["studies"])
    async def withdraw_proposal(request: Request, study_hash: HexDigest) -> ProposalState:
        """The leader takes a proposal back that no officer has decided. Signed by the leader."""
        office, body = office_of(request), await request.body()
        await office.check_leader(request, body)
        state = await decisions.withdraw(office, bytes.fromhex(study_hash))
        async with office.database.reading() as connection:
            known = await decisions.require_proposal(office, connection, bytes.fromhex(study_hash))
        return ProposalState(study_id=known.study_id, study_hash=study_hash, state=state)

    @router.get("/v1/proposals", tags=["studies"])
    async def list_proposals(request: Request) -> list[ProposalSummary]:
        """Every study that was proposed, with its state and cost."""
        return [
            ProposalSummary(
                study_id=view.study.study_id,
                study_hash=view.study_hash,
                state=view.state,
                title=view.study.title,
                purpose=view.study.purpose,
                rounds=view.study.rounds,
                epsilon=view.plan_epsilon,
                delta=view.study.delta,
                epsilon_cap=view.study.epsilon_cap,
                proposed_at=view.proposed,
                study=view.study,
                summaries={"en": view.words, "de": view.german},
            )
            for view in await console.proposal_views(office_of(request))
        ]

    @router.post("/v1/decisions", status_code=201, tags=["studies"])
    async def decide(request: Request, signed: SignedDecision) -> ProposalState:
        """An officer approves, refuses or stops a study: a signed document, made with the officer's own key."""
        office = office_of(request)
        decision = await decisions.decide(office, signed.jws)
        async with office.database.reading() as connection:
            known = await decisions.require_proposal(office, connection, bytes.fromhex(decision.study_hash))
        return ProposalState(study_id=known.study_id, study_hash=decision.study_hash, state=known.state)

    @router.get("/v1/decisions/{study_hash}", tags=["studies"])
    async def latest_decision(request: Request, study_hash: HexDigest) -> SignedDecision:
        """The newest decision on a study, as signed."""
        return SignedDecision(jws=await decisions.latest_decision(office_of(request), bytes.fromhex(study_hash)))


def _add_round_routes(router: APIRouter) -> None:
    @router.post("/v1/rounds", tags=["rounds"], openapi_extra=body_schema(OpeningRequest))
    async def open_round(request: Request) -> SignedOpening:
        """Open a round of an approved study. Signed by the leader; idempotent for the same model."""
        office, body = office_of(request), await request.body()
        await office.check_leader(request, body)
        return SignedOpening(opening=await openings.open_round(office, parse(OpeningRequest, body)))

    @router.post(
        "/v1/rounds/{study_hash}/{number}/share",
        tags=["rounds"],
        response_model=ShareAnswer,
        openapi_extra=binary_schema(SEALS_MEDIA_TYPE),
    )
    async def share(request: Request, study_hash: HexDigest, number: Annotated[int, Path(ge=1, le=10_000)]) -> Response:
        """Answer a round's one batch. Signed by the leader; the identical batch again gets identical bytes."""
        office = office_of(request)
        require_media_type(request, SEALS_MEDIA_TYPE)
        head = await office.check_leader_head(request)  # before the body: a stranger's never reaches the disk
        answer = await shares.answer(office, bytes.fromhex(study_hash), number, head, request.stream())
        return Response(answer, media_type="application/json")

    @router.post("/v1/withdrawals", status_code=202, tags=["rounds"])
    async def withdraw(request: Request, notice: SealedWithdrawal | WithdrawalNotice) -> WithdrawalAnswer:
        """A device takes a report back: its seal, and the token that the seal commits to. ``late``: it was counted."""
        if isinstance(notice, WithdrawalNotice):
            await withdrawals.withdraw_unsealed(office_of(request), notice)
            return WithdrawalAnswer(status="kept")
        return await withdrawals.withdraw(office_of(request), notice)
