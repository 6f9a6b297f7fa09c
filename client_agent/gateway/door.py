"""The agent's door on the site's own origin: ``/.hearthside/``. It takes events in and hands modules out, nothing else.

A page's script learns module ids and their markup. Persona, segments, scores and reasons are never in an answer here;
they are on the visitor's own page, which has another origin.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from importlib import resources
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from client_agent.decisions import collectable_kinds, decision_for, may_personalise
from client_agent.gateway.ports import Visitor
from client_agent.pages.languages import negotiate
from consent import ConsentState, Signals, ask_again, notice, read_gpc
from models.events import Event, parse_event
from models.wire.problems import PROBLEM_MEDIA_TYPE, ProblemError

PREFIX: Final = "/.hearthside"
TOKEN_HEADER: Final = "x-hearthside-token"  # noqa: S105 - a header's name
MAXIMUM_EVENTS: Final = 256
MAXIMUM_SLOTS: Final = 32
_CLOCK_TOLERANCE_MS: Final = 300_000
_SDK: Final = resources.files("client_agent.sdk")
_SCRIPTS: Final = ("collector.js", "queue.js", "twin.js")


class Door:
    """The same-origin endpoints for one visitor.

    Args:
        visitor: whose events these are.
        origin: the site's origin as browsers see it through the gateway, such as ``http://127.0.0.1:8100``.
        page_url: the visitor's own page.
        token: random text; who can read the site's own pages can read it, other sites cannot.
    """

    def __init__(self, visitor: Visitor, origin: str, page_url: str, token: str) -> None:
        self._visitor = visitor
        self._origin = origin
        self._page_url = page_url
        self._token = token
        self._scripts = {name: _SDK.joinpath(name).read_bytes() for name in _SCRIPTS}

    def application(self) -> Starlette:
        """The endpoints as an ASGI application, without the outer guards."""
        return Starlette(
            routes=[
                *(Route(f"{PREFIX}/{name}", self._script, methods=["GET"]) for name in _SCRIPTS),
                Route(f"{PREFIX}/notice", self._notice, methods=["GET"]),
                Route(f"{PREFIX}/events", self._events, methods=["POST"]),
                Route(f"{PREFIX}/decide", self._decide, methods=["POST"]),
            ],
            exception_handlers={ProblemError: problem_response},
        )

    async def _script(self, request: Request) -> Response:
        script = self._scripts[request.url.path.removeprefix(f"{PREFIX}/")]
        return Response(script, media_type="text/javascript", headers={"cache-control": "no-cache"})

    async def _notice(self, request: Request) -> Response:
        """What the collector needs to know before it may do anything. Stores nothing."""
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise ProblemError("wrong-origin", "this address answers the site's own pages only")
        state, signals = await run_in_threadpool(self._visitor.consent), signals_of(request)
        now_ms = self._visitor.now_ms()
        language = negotiate(request.query_params.get("lang"), request.headers.get("accept-language", ""))
        text = notice(self._visitor.site, language, gpc=signals.gpc)
        body = {
            "version": 1,
            "collect": sorted(collectable_kinds(state, signals, now_ms)),
            "personalise": may_personalise(state, signals, now_ms),
            "opt_out": _is_news(signals, state),
            "ask": bool(ask_again(state, now_ms // 1_000)) and state.length == 0,
            "language": language,
            "title": text.title,
            "paragraphs": text.paragraphs[:1],
            "page": self._page_url,
            "token": self._token,
        }
        return JSONResponse(body, headers={"cache-control": "no-store"})

    async def _events(self, request: Request) -> Response:
        body = await self._checked_body(request)
        if not isinstance(body, list) or len(body) > MAXIMUM_EVENTS:
            raise ProblemError("malformed", f"expected a JSON array of at most {MAXIMUM_EVENTS} events")
        signals = signals_of(request)
        await run_in_threadpool(self._heed, signals)
        state = await run_in_threadpool(self._visitor.consent)
        kinds = collectable_kinds(state, signals, self._visitor.now_ms())
        if not kinds:
            raise ProblemError("no-consent", "nothing is collected here without consent")
        accepted, rejected = self._sift(body, kinds)
        if accepted:
            await run_in_threadpool(self._visitor.append_events, accepted)
        return JSONResponse({"accepted": len(accepted), "rejected": dict(rejected)}, status_code=202)

    async def _decide(self, request: Request) -> Response:
        body = await self._checked_body(request)
        slots = body.get("slots") if isinstance(body, dict) else None
        if not isinstance(slots, list) or len(slots) > MAXIMUM_SLOTS or not all(isinstance(s, str) for s in slots):
            raise ProblemError("malformed", f"expected at most {MAXIMUM_SLOTS} slot names")
        await run_in_threadpool(self._heed, signals_of(request))
        context = {name: value for name in ("category", "path") if isinstance(value := body.get(name), str)}
        shown = await run_in_threadpool(self._shown, slots, signals_of(request), context)
        return JSONResponse({"slots": shown}, headers={"cache-control": "no-store"})

    def _shown(self, slots: list[str], signals: Signals, context: dict[str, str]) -> dict[str, dict[str, str | None]]:
        decision, prepared = decision_for(self._visitor, signals, context), self._visitor.bundle()
        if decision is None or prepared is None:
            return {}
        chosen = {slot: decision.slots[slot] for slot in slots if slot in decision.slots}
        return {slot: {"module": name, "arm": None, "html": prepared.rendered[name]} for slot, name in chosen.items()}

    def _sift(self, rows: list[Any], kinds: frozenset[str]) -> tuple[list[Event], Counter[str]]:
        """The events that may be stored, and how many were not, by reason."""
        accepted: list[Event] = []
        rejected: Counter[str] = Counter()
        latest_ms = self._visitor.now_ms() + _CLOCK_TOLERANCE_MS
        for row in rows:
            # The gateway knows which site it serves; a page cannot write into another site's profile.
            event = parse_event({**row, "site": self._visitor.site} if isinstance(row, dict) else row)
            if not isinstance(event, Event):
                rejected[event.reason] += 1
            elif event.at_ms > latest_ms:
                rejected["out_of_range"] += 1
            elif event.kind not in kinds:
                rejected["no_consent"] += 1
            else:
                accepted.append(event)
        return accepted, rejected

    def _heed(self, signals: Signals) -> None:
        """Remember Global Privacy Control where there is a grant that it takes back."""
        if _is_news(signals, self._visitor.consent()):
            self._visitor.observe_gpc()

    async def _checked_body(self, request: Request) -> Any:
        """The JSON body of a request that only the site's own pages can have made."""
        if request.headers.get("origin") != self._origin:
            raise ProblemError("wrong-origin", f"expected requests from {self._origin}")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise ProblemError("wrong-origin", "expected a same-origin request")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ProblemError("unsupported-media-type", "expected application/json")
        token = request.headers.get(TOKEN_HEADER) or request.query_params.get("t", "")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise ProblemError("unauthenticated", "expected the token from the notice")
        try:
            return json.loads(await request.body())
        except (ValueError, RecursionError):
            raise ProblemError("malformed", "expected JSON") from None


def _is_news(signals: Signals, state: ConsentState) -> bool:
    """Whether Global Privacy Control takes back a grant and was never recorded; until then studies go on."""
    return signals.gpc and bool(state.granted) and not state.gpc_seen


def signals_of(request: Request) -> Signals:
    """The signals that accompany a request."""
    return Signals(gpc=read_gpc(request.headers.items()))


async def problem_response(request: Request, error: Exception) -> Response:
    """An RFC 9457 answer."""
    del request
    assert isinstance(error, ProblemError)
    body = error.body()
    return Response(body.model_dump_json(), status_code=body.status, media_type=PROBLEM_MEDIA_TYPE)
