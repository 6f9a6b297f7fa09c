"""What leader and helper share as FastAPI services: guards, problems, metrics, health, a script-free ``/docs``."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from aggregator.condition import Condition
from aggregator.gate import Gate, GateKeeper, refusal_headers
from aggregator.logs import failure, naming
from aggregator.metrics import Metrics
from aggregator.openapi import true_openapi
from aggregator.settings import ServiceSettings
from models.wire.enrolment import ServiceIdentity
from models.wire.features import Versions
from models.wire.guards import (
    BodyLimit,
    BodyPace,
    HeaderLimit,
    HostGuard,
    OriginGuard,
    SecurityHeaders,
    TimeLimit,
)
from models.wire.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemError

Model = TypeVar("Model", bound=BaseModel)
Log = structlog.typing.FilteringBoundLogger
_PROBLEM_RESPONSE: dict[int | str, dict[str, Any]] = {"4XX": {"model": Problem}, "5XX": {"model": Problem}}
REQUEST_NAME, REQUEST_HEADER = "hearthside.request", b"x-request-id"
_PLAIN = re.compile(r"[A-Za-z_.$]{1,40}|[0-9]{1,4}")
"""Names of fields, and places in lists: a key or token put where a name belongs is none."""
_UNKNOWN = "not acknowledged, and it may have been stored all the same; send the same again: nothing counts twice"
"""A commit whose answer was lost may be durable."""
_FRAMEWORK_PROBLEMS = {404: "not-found", 405: "not-found", 413: "too-large", 415: "unsupported-media-type"}


def new_service(
    title: str,
    summary: str,
    settings: ServiceSettings,
    lifespan: Any,
    metrics: Metrics,
    log: Log,
    *,
    larger_bodies: Sequence[tuple[re.Pattern[str], int]] = (),
    longer_requests: Sequence[tuple[re.Pattern[str], float]] = (),
    gate: Gate,
) -> FastAPI:
    """A FastAPI application that wears the house's guards and answers every error as an RFC 9457 problem.

    ``larger_bodies`` and ``longer_requests`` are routes whose limits are not the settings' general ones.
    """
    app = FastAPI(
        title=title,
        summary=summary,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEM_RESPONSE,
    )
    app.state.metrics = metrics
    _answer_problems(app, log, metrics)
    app.openapi = lambda: true_openapi(app)  # type: ignore[method-assign]  # FastAPI's own way to change the document
    app.add_middleware(GateKeeper, gate=gate)
    app.add_middleware(BodyLimit, limit_bytes=settings.body_limit_bytes, routes=larger_bodies)
    app.add_middleware(BodyPace, pause_seconds=settings.body_pause_seconds, rate_bytes=settings.body_rate_bytes)
    app.add_middleware(OriginGuard, origins=settings.origins)
    app.add_middleware(HostGuard, hosts=settings.hosts)
    app.add_middleware(HeaderLimit, limit_bytes=settings.header_limit_bytes)
    app.add_middleware(TimeLimit, limit_seconds=settings.time_limit_seconds, routes=longer_requests)
    app.add_middleware(Observation, metrics=metrics, log=log)  # outside of the guards: what they refuse is counted
    app.add_middleware(SecurityHeaders)
    return app


def add_common_routes(app: FastAPI, identity: ServiceIdentity, metrics: Metrics, condition: Condition) -> None:
    """Identity, health, readiness, metrics and documentation."""

    @app.get("/v1/identity", tags=["service"])
    async def identify() -> ServiceIdentity:
        """Who this service says it is; compare it with the fingerprint you were given."""
        return identity

    @app.get("/v1/versions", tags=["service"])
    async def versions() -> Versions:
        """Which forms of a study, which questions and features are known here."""
        return Versions()

    @app.get("/health", tags=["service"])
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/ready", tags=["service"])
    async def readiness() -> dict[str, str]:
        """The store answers and is of the schema expected, the disk has room, and some worker runs the studies."""
        await condition.require()
        return {"status": "ready"}

    @app.get("/metrics", tags=["service"], response_class=Response)
    async def expose(request: Request) -> Response:
        """Prometheus metrics of all workers; with a bearer token, where the operator has set one."""
        condition.admit(request.headers.get("authorization", ""))
        return Response(await condition.page(), media_type=metrics.content_type)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(documentation_page(app.openapi()))


def parse(model: type[Model], body: bytes) -> Model:
    """Read a message from exact bytes (signed requests are checked over those).

    Raises:
        ProblemError: ``malformed``, naming the place, never quoting what stood there.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise ProblemError("malformed", _first_fault(error.errors(include_input=False, include_url=False))) from None


def fault(error: Any) -> tuple[str, str]:
    """Where one of pydantic's errors is and what was expected, without what was there.

    Names are given where they are plain words: a key or token that stands where a name belongs is not repeated.
    """
    place = ".".join(str(part) if _PLAIN.fullmatch(str(part)) else "?" for part in error["loc"])
    tags = error.get("ctx", {}).get("expected_tags")
    return place or "body", error["msg"] if tags is None else f"expected one of {tags}"


@cache  # the dearest part of putting a service together; FastAPI copies it into what it serves
def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI part of a route that reads its body as exact bytes."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def binary_schema(media_type: str) -> dict[str, Any]:
    """The OpenAPI part of a route that reads a binary frame."""
    return {
        "requestBody": {"required": True, "content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    }


def require_media_type(request: Request, expected: str) -> None:
    """Insist on a content type.

    Raises:
        ProblemError: ``unsupported-media-type``.
    """
    got = request.headers.get("content-type", "").split(";")[0].strip()
    if got != expected:
        raise ProblemError("unsupported-media-type", f"expected {expected}")


def documentation_page(openapi: dict[str, Any]) -> str:
    """The API as one plain page: it needs no script, so the strict content policy stays as it is."""
    rows = []
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            text = escape(operation.get("description") or operation.get("summary", ""))
            rows.append(f"<tr><td><b>{method.upper()}</b></td><td><code>{escape(path)}</code></td><td>{text}</td></tr>")
    title = escape(openapi["info"]["title"])
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><h1>{title}</h1>"
        f"<p>{escape(openapi['info'].get('summary', ''))} Machine-readable: <a href='/openapi.json'>OpenAPI</a>. "
        "Errors are RFC 9457 problems.</p><table>" + "".join(rows) + "</table></html>"
    )


class Observation:
    """Count requests, bytes and seconds per route; name each request at random, in its answer and its log lines.

    A path that is no route is counted as one.
    """

    def __init__(self, app: Any, metrics: Metrics, log: Log) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Measure one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, received, started = 500, 0, time.perf_counter()
        name = scope[REQUEST_NAME] = secrets.token_hex(8)

        async def sent(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), (REQUEST_HEADER, name.encode())]}
            await send(message)

        async def counted() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        with naming(name):
            try:
                await self._app(scope, counted, sent)
            finally:
                route = getattr(scope.get("route"), "path", "(none)")
                self._count(route, status, received, time.perf_counter() - started)

    def _count(self, route: str, status: int, received: int, seconds: float) -> None:
        self._metrics.requests.labels(route, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        self._metrics.body_bytes.labels(route).inc(received)
        self._metrics.request_bytes.observe(received)
        self._log.debug("request", route=route, status=status, ms=round(1_000 * seconds, 1))


def _answer_problems(app: FastAPI, log: Log, metrics: Metrics) -> None:
    @app.exception_handler(ProblemError)
    async def problem(_: Request, error: ProblemError) -> Response:
        return _response(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return _response(ProblemError("malformed", _first_fault(error.errors())))

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> Response:
        # FastAPI wraps whatever stops it from reading a body; the guard's own problem is the cause.
        if isinstance(error.__cause__, ProblemError):
            return _response(error.__cause__)
        return _response(ProblemError(_FRAMEWORK_PROBLEMS.get(error.status_code, "malformed"), ""))

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(OSError)
    async def store(_: Request, error: SQLAlchemyError | OSError) -> Response:
        log.error("store failed", **failure(error))
        metrics.store_failures.labels(type(error).__name__).inc()
        return _response(ProblemError("store-unavailable", _UNKNOWN))

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        name = str(request.scope.get(REQUEST_NAME, ""))  # this runs outside of the request's observation
        log.error("request failed", request=name, **failure(error))
        response = _response(ProblemError("internal", "the operator's log has the place"))
        response.headers[REQUEST_HEADER.decode()] = name
        return response


def _response(error: ProblemError) -> Response:
    body = error.body()
    return Response(body.model_dump_json(), int(body.status), refusal_headers(error), PROBLEM_MEDIA_TYPE)


def _first_fault(errors: Any) -> str:
    return ": ".join(fault(errors[0])) if errors else "the body cannot be read"
