"""The agent's door on the site's own origin: ``/.hearthside/``. It takes events in and hands modules out, nothing else.

Whose events they are, the browser's cookie says (``sessions``); that a page of the present sends them, a pass
(``seals``). For a browser that nobody has called theirs, a guest's or a private window, nothing is collected, decided
or stored: not a row, not a cookie, not a line in a log.

A page's script learns module ids and their markup. Persona, segments, scores and reasons are never in an answer here;
they are on the visitor's own page, which has another origin.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from client_agent.decisions import collectable_kinds, decision_for, may_personalise
from client_agent.gateway.asking import Questions, to_answer
from client_agent.gateway.cookies import DOOR_PATH, presented, set_cookie
from client_agent.gateway.ports import Visitor
from client_agent.gateway.refusal import refusal
from client_agent.gateway.seals import FORMER_MS, PASS_MS, age_of, is_row, issue_key, issue_pass, open_row
from client_agent.gateway.sessions import Here, Sessions
from client_agent.pages.languages import negotiate
from consent import ConsentState, Gate, Signals, notice, read_gpc
from consent.policy import withheld_by_gpc
from consent.registry import LANGUAGES, Language
from consent.signals import Subject
from models.events import Event, parse_event
from models.wire.problems import PROBLEM_MEDIA_TYPE, ProblemError

PREFIX: Final = DOOR_PATH
TOKEN_HEADER: Final = "x-hearthside-token"  # noqa: S105 - a header's name
MAXIMUM_EVENTS: Final = 256
MAXIMUM_SLOTS: Final = 32
_CLOCK_TOLERANCE_MS: Final = 300_000
_SDK: Final = resources.files("client_agent.sdk")
_ENTERED: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_SCRIPTS: Final = ("collector.js", "queue.js", "twin.js")


class Door:
    """The same-origin endpoints for whoever is at a browser.

    Args:
        sessions: which person is at which browser.
        origin: the site's origin as browsers see it through the gateway, such as ``http://127.0.0.1:8300``.
        page_origin: the agent's own origin.
    """

    def __init__(self, sessions: Sessions, origin: str, page_origin: str) -> None:
        self._household = sessions.household
        self._sessions = sessions
        self._origin = origin
        self._page_origin = page_origin
        self._questions = Questions()
        self._scripts = {name: _SDK.joinpath(name).read_bytes() for name in _SCRIPTS}

    def application(self) -> Starlette:
        """The endpoints as an ASGI application, without the outer guards."""
        return Starlette(
            routes=[
                *(Route(f"{PREFIX}/{name}", self._script, methods=["GET"]) for name in _SCRIPTS),
                Route(f"{PREFIX}/notice", self._notice, methods=["GET"]),
                Route(f"{PREFIX}/enter", self._enter, methods=["GET"]),
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
        here, signals = await self._here(request)
        language = negotiate(request.query_params.get("lang"), request.headers.get("accept-language", ""))
        text = notice(self._household.site, language, gpc=signals.gpc)
        told = await run_in_threadpool(self._told, here, signals, request.headers.get(TOKEN_HEADER, ""))
        lapsed = told.pop("lapsed")
        body = {
            "version": 1,
            **told,
            "language": language,
            "title": text.title,
            "paragraphs": [to_answer(lapsed, language)] if lapsed else text.paragraphs[:1],
            "page": self._page_origin + "/",
        }
        response = JSONResponse(body, headers={"cache-control": "no-store"})
        if here.clear:
            response.headers.append("set-cookie", set_cookie(self._origin, "site", "", lasting=False))
        return response

    def _told(self, here: Here, signals: Signals, former: str) -> dict[str, Any]:
        """What the collector may do, and what it needs for it. A child's browser is told what that of a no is told.

        Whoever has nothing to collect, to choose or to record is given no pass: there is nothing to compare, then, in
        two answers for the same person.
        """
        said, asked = _allowed(here, signals), self._asked(here)
        given: dict[str, Any] = {"token": "", "same": False, "key": "", "sealed": ""}
        if here.visitor is None or not any(said.values()):
            return {**said, **asked, **given}
        now_ms, entropy = here.visitor.now_ms(), self._sessions.entropy
        age_ms = age_of(former, here.secret, here.epoch, now_ms)
        given["same"] = age_ms is not None and age_ms <= FORMER_MS
        given["token"] = issue_pass(here.secret, here.epoch, now_ms, entropy)
        if said["collect"]:
            given["key"], given["sealed"] = issue_key(here.secret, here.epoch, now_ms, entropy)
        return {**said, **asked, **given}

    def _asked(self, here: Here) -> dict[str, Any]:
        """Whether the site's banner asks, and for how many answers that have lapsed."""
        if here.visitor is None:
            return {"ask": here.subject == "unknown", "lapsed": 0}
        lapsed = self._questions.due(here.visitor.consent(), here.visitor.now_ms())
        return {"ask": lapsed is not None, "lapsed": lapsed or 0}

    async def _events(self, request: Request) -> Response:
        body, here, signals = await self._checked_body(request)
        if not isinstance(body, list) or len(body) > MAXIMUM_EVENTS:
            raise ProblemError("malformed", f"expected a JSON array of at most {MAXIMUM_EVENTS} events")
        accepted, rejected = await run_in_threadpool(self._take, body, here, signals)
        return JSONResponse({"accepted": accepted, "rejected": dict(rejected)}, status_code=202)

    def _take(self, body: list[Any], here: Here, signals: Signals) -> tuple[int, Counter[str]]:
        """Store what may be stored; how many that were, and how many not, by reason."""
        visitor = here.visitor
        if visitor is None:
            raise _nothing_here()
        _heed(visitor, signals, "collect")
        state = visitor.consent()
        kinds = collectable_kinds(state, signals, visitor.now_ms())
        if not kinds:
            raise _nothing_here()
        accepted, rejected = self._sift([row for row in body if not is_row(row)], kinds)
        # How many events a row held, and whether it opened at all, is not the page's to know: docs/decisions/0011.
        rows = (open_row(row, here.secret, here.epoch, visitor.now_ms()) for row in body if is_row(row))
        found = accepted + self._sift([event for row in rows for event in row], kinds)[0]
        if found and (state.epoch != here.epoch or not visitor.append_events(found, under=state)):
            raise ProblemError("wrong-state", "the consent changed meanwhile: ask for the notice, then send again")
        return len(accepted), rejected

    async def _decide(self, request: Request) -> Response:
        body, here, signals = await self._checked_body(request)
        slots = body.get("slots") if isinstance(body, dict) else None
        if not isinstance(slots, list) or len(slots) > MAXIMUM_SLOTS or not all(isinstance(s, str) for s in slots):
            raise ProblemError("malformed", f"expected at most {MAXIMUM_SLOTS} slot names")
        context = {name: value for name in ("category", "path") if isinstance(value := body.get(name), str)}
        shown = await run_in_threadpool(self._shown, here, slots, signals, context)
        return JSONResponse({"slots": shown}, headers={"cache-control": "no-store"})

    def _shown(
        self, here: Here, slots: list[str], signals: Signals, context: dict[str, str]
    ) -> dict[str, dict[str, str | None]]:
        if here.visitor is None:
            return {}
        _heed(here.visitor, signals, "use")
        decision, prepared = decision_for(here.visitor, signals, context), here.visitor.bundle()
        if decision is None or prepared is None:
            return {}
        chosen = {slot: decision.slots[slot] for slot in slots if slot in decision.slots}
        return {slot: {"module": name, "arm": None, "html": prepared.rendered[name]} for slot, name in chosen.items()}

    def _sift(self, rows: list[Any], kinds: frozenset[str]) -> tuple[list[Event], Counter[str]]:
        """The events that may be stored, and how many were not, by reason."""
        accepted: list[Event] = []
        rejected: Counter[str] = Counter()
        latest_ms = self._household.now_ms() + _CLOCK_TOLERANCE_MS
        for row in rows:
            # The gateway knows which site it serves; a page cannot write into another site's profile.
            event = parse_event({**row, "site": self._household.site} if isinstance(row, dict) else row)
            if not isinstance(event, Event):
                rejected[event.reason] += 1
            elif event.at_ms > latest_ms:
                rejected["out_of_range"] += 1
            elif event.kind not in kinds:
                rejected["no_consent"] += 1
            else:
                accepted.append(event)
        return accepted, rejected

    async def _enter(self, request: Request) -> Response:
        """Make this browser known here, too, with a code from the agent's own page, and go on to a page of the site.

        The request has to come from the agent's page, by its ``Referer`` (no page can forge another's) and the fetch
        metadata: a code that somebody else made for themselves and put into a link elsewhere does nothing.
        """
        language = _asked_language(request)
        if not self._is_from_agents_page(request):
            shown = negotiate(language, request.headers.get("accept-language", ""))
            return refusal(f"{self._page_origin}/people", shown)
        code, to = request.query_params.get("code", ""), request.query_params.get("to", "/")
        redeemed = await run_in_threadpool(self._sessions.redeem, code)
        if redeemed is None:
            return self._onward("/people", {"said": "late"}, language)
        token, lasting = redeemed
        there = RedirectResponse(self._origin + _target(to), status_code=303, headers=_ENTERED)
        response = self._onward("/", {}, language) if to == "page" else there
        response.headers.append("set-cookie", set_cookie(self._origin, "site", token, lasting=lasting))
        return response

    def _onward(self, path: str, query: dict[str, str], language: Language | None) -> Response:
        """To the agent's own page, in the language that was chosen there."""
        said = urlencode({**query, "lang": language} if language else query)
        address = f"{self._page_origin}{path}" + (f"?{said}" if said else "")
        return RedirectResponse(address, status_code=303, headers=_ENTERED)

    def _is_from_agents_page(self, request: Request) -> bool:
        headers = request.headers
        return (
            headers.get("referer", "").startswith(f"{self._page_origin}/")
            and headers.get("sec-fetch-site", "cross-site") in {"cross-site", "same-site"}
            and headers.get("sec-fetch-mode", "navigate") == "navigate"
            and headers.get("sec-fetch-dest", "document") == "document"
        )

    async def _here(self, request: Request) -> tuple[Here, Signals]:
        """Who is at the browser that sent a request, and what accompanies it."""
        tokens = presented(request.headers.getlist("cookie"), self._origin, "site")
        here = await run_in_threadpool(self._sessions.at_site, tokens)
        return here, signals_of(request, here.subject)

    async def _checked_body(self, request: Request) -> tuple[Any, Here, Signals]:
        """The JSON body of a request that only the site's own pages can have made, for the person who is there now."""
        if request.headers.get("origin") != self._origin:
            raise ProblemError("wrong-origin", f"expected requests from {self._origin}")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise ProblemError("wrong-origin", "expected a same-origin request")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ProblemError("unsupported-media-type", "expected application/json")
        here, signals = await self._here(request)
        token = request.headers.get(TOKEN_HEADER) or request.query_params.get("t", "")
        await run_in_threadpool(self._check, here, signals, token)
        try:
            return json.loads(await request.body()), here, signals
        except (ValueError, RecursionError):
            raise ProblemError("malformed", "expected JSON") from None

    def _check(self, here: Here, signals: Signals, token: str) -> None:
        """Refuse what a page collected for somebody who was here before, or under a consent that no longer stands.

        Whoever nothing is collected about gets one and the same answer: a guest, a child, an adult who said no.
        """
        if here.visitor is None or not any(_allowed(here, signals).values()):
            raise _nothing_here()
        if not token:
            raise ProblemError("unauthenticated", "expected the token from the notice")
        age_ms = age_of(token, here.secret, here.epoch, here.visitor.now_ms())
        if age_ms is None:
            raise ProblemError(
                "forbidden", "this is of another person's time or another consent: ask for the notice again"
            )
        if age_ms > PASS_MS:
            raise ProblemError("unauthenticated", "expected the token from a notice of now: ask for it again")


def _nothing_here() -> ProblemError:
    return ProblemError("no-consent", "nothing is collected or chosen here without consent")


def _allowed(here: Here, signals: Signals) -> dict[str, Any]:
    """What there is to collect, to choose and to record."""
    if here.visitor is None:
        return {"collect": [], "personalise": False, "opt_out": False}
    state, now_ms = here.visitor.consent(), here.visitor.now_ms()
    return {
        "collect": sorted(collectable_kinds(state, signals, now_ms)),
        "personalise": may_personalise(state, signals, now_ms),
        "opt_out": _is_news(signals, state),
    }


def _asked_language(request: Request) -> Language | None:
    """The language that the address names, if it is one that we have."""
    return next((name for name in LANGUAGES if name == request.query_params.get("lang")), None)


def _target(to: str) -> str:
    """A page of the site itself to go on to; the start page for whatever else was asked for."""
    plain = to.isascii() and to.isprintable() and "\\" not in to
    return to if plain and to.startswith("/") and not to.startswith(("//", f"{PREFIX}/")) else "/"


def _heed(visitor: Visitor, signals: Signals, gate: Gate) -> None:
    """Remember Global Privacy Control where there is a grant that it takes back, and count what it withholds."""
    if _is_news(signals, visitor.consent()):
        visitor.observe_gpc()
    withheld = withheld_by_gpc(gate, visitor.consent(), signals, visitor.now_ms() // 1_000)
    if withheld:
        visitor.note_withheld(gate, withheld)


def _is_news(signals: Signals, state: ConsentState) -> bool:
    """Whether Global Privacy Control takes back a grant and was never recorded; until then studies go on."""
    return signals.gpc and bool(state.granted) and not state.gpc_seen


def signals_of(request: Request, subject: Subject = "known") -> Signals:
    """The signals that accompany a request of whoever is at the browser."""
    return Signals(gpc=read_gpc(request.headers.items()), subject=subject)


async def problem_response(request: Request, error: Exception) -> Response:
    """An RFC 9457 answer."""
    del request
    assert isinstance(error, ProblemError)
    body = error.body()
    return Response(body.model_dump_json(), status_code=body.status, media_type=PROBLEM_MEDIA_TYPE)
