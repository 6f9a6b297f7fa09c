"""The leader's API. Routes translate; what happens is in the modules that they name."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from aggregator.gate import count_refusal
from aggregator.leader import enrolments, receipts, reports
from aggregator.leader.desk import desk_of
from aggregator.service import binary_schema, require_media_type
from consent import POLICY_UPDATED, well_known_gpc
from models.wire.enrolment import EnrolmentRequest, EnrolmentResponse, ReceiptRequest, ReceiptResponse
from models.wire.frames import REPORTS_MEDIA_TYPE, ReportResponse
from models.wire.message import Base64, CompactJws, Message, to_base64
from models.wire.problems import Problem, ProblemError, problem_code
from models.wire.rounds import Inclusion, Work
from privacy.crypto.tiles import LEVELS_MAXIMUM, TILE_WIDTH, Tile

HexDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Query(ge=0, lt=2**53)]
_ENTRIES_MAXIMUM = 1_000


class LogCheckpoint(Message):
    """The newest signed checkpoint."""

    checkpoint: CompactJws


class LogEntries(Message):
    """Entries in order: ``kind NUL body``, base64."""

    start: int
    entries: tuple[Base64, ...]


class LogConsistency(Message):
    """Proof that the tree of ``second`` entries begins with the tree of ``first`` (hex)."""

    first: int
    second: int
    path: tuple[str, ...]


def outcome_of(problem: Problem | None) -> str:
    """What the metrics call it."""
    return "accepted" if problem is None else problem_code(problem)


def public_routes() -> APIRouter:
    """What anybody may ask of this origin."""
    router = APIRouter(tags=["public"])

    @router.get("/.well-known/gpc.json")
    async def gpc_support() -> dict[str, object]:
        """This origin honours Global Privacy Control: the document that the specification asks for."""
        return well_known_gpc(POLICY_UPDATED)

    return router


def device_routes() -> APIRouter:
    """What devices and gateways call."""
    router = APIRouter(tags=["devices"])

    # Routes are tried in their order, so what is asked most comes first.

    @router.post("/v1/reports", openapi_extra=binary_schema(REPORTS_MEDIA_TYPE))
    async def take_reports(request: Request) -> ReportResponse:
        """Take 1 to 256 reports in one binary frame; each gets ``accepted`` or a problem code."""
        require_media_type(request, REPORTS_MEDIA_TYPE)
        return ReportResponse(results=await reports.take_reports(desk_of(request), await request.body()))

    @router.get("/v1/work", response_model=Work)
    async def poll(request: Request) -> Response:
        """Open rounds, stopped studies, the log's checkpoint: the same bytes for everyone."""
        desk = desk_of(request)
        desk.follower.require_up_to_date()
        board = desk.board
        board.renew()
        headers = {"etag": board.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == board.etag:
            return Response(status_code=304, headers=headers)
        return Response(board.body, headers=headers, media_type="application/json")

    @router.post("/v1/enrolments")
    async def enrol(request: Request, body: EnrolmentRequest) -> EnrolmentResponse:
        """Enrol 1 to 256 device keys with an enrolment token."""
        desk = desk_of(request)
        answer = await enrolments.enrol(desk, body, partial(count_refusal, request))
        for result in answer.results:
            desk.metrics.enrolments.labels(outcome_of(result.problem)).inc()
        return answer

    @router.post("/v1/receipts")
    async def take_receipts(request: Request, body: ReceiptRequest) -> ReceiptResponse:
        """Record 1 to 256 consent receipts; a withdrawal removes the device's reports from open rounds at once."""
        desk = desk_of(request)
        answer = await receipts.take_receipts(desk, body)
        for result in answer.results:
            desk.metrics.receipts.labels(outcome_of(result.problem)).inc()
            desk.metrics.withdrawals.labels("from-round").inc(result.dropped_reports)
        return answer

    @router.get("/v1/models/{model_hash}", response_class=Response)
    async def fetch_model(request: Request, model_hash: HexDigest) -> Response:
        """A round's model: flat little-endian float32, named by its digest."""
        desk = desk_of(request)
        async with desk.database.reading() as connection:
            body = await desk.store.model(connection, bytes.fromhex(model_hash))
        if body is None:
            raise ProblemError("not-found", "no round uses such a model")
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(body, headers=headers, media_type="application/octet-stream")

    return router


def log_routes() -> APIRouter:
    """The transparency log, for anyone."""
    router = APIRouter(prefix="/v1/log", tags=["log"])

    @router.get("/checkpoint")
    async def checkpoint(request: Request) -> LogCheckpoint:
        """The newest signed checkpoint."""
        desk = desk_of(request)
        desk.follower.require_up_to_date()
        return LogCheckpoint(checkpoint=desk.ledger_log.checkpoint(desk.clock.now_ms()))

    @router.get("/entries")
    async def entries(
        request: Request, start: Index = 0, count: Annotated[int, Query(ge=1, le=_ENTRIES_MAXIMUM)] = 100
    ) -> LogEntries:
        """Entries from ``start`` on."""
        desk = desk_of(request)
        async with desk.database.reading() as connection:
            found = await desk.store.log_entries(connection, start, count)
        return LogEntries(start=start, entries=tuple(to_base64(entry) for entry in found))

    @router.get("/tiles/{level}/{index}", response_class=Response)
    async def tile(
        request: Request,
        level: Annotated[int, Path(ge=0, lt=LEVELS_MAXIMUM)],
        index: Annotated[int, Path(ge=0, lt=2**53)],
        width: Annotated[int, Query(ge=1, le=TILE_WIDTH)] = TILE_WIDTH,
    ) -> Response:
        """A tile of the tree's hashes, 32 bytes each: what proofs are made of, without saying which one is wanted."""
        body = desk_of(request).ledger_log.tile(Tile(level, index, width))
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(body, headers=headers, media_type="application/octet-stream")

    @router.get("/consistency")
    async def consistency(request: Request, first: Index, second: Index) -> LogConsistency:
        """Proof that the log only grew from ``first`` to ``second`` entries."""
        path = desk_of(request).ledger_log.consistency(first, second)
        return LogConsistency(first=first, second=second, path=path)

    @router.get("/inclusion")
    async def inclusion(request: Request, index: Index, size: Index) -> Inclusion:
        """Proof that entry ``index`` stands in the tree of ``size`` entries."""
        return desk_of(request).ledger_log.inclusion(index, size)

    return router
