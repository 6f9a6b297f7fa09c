"""The visitor's page: what is consented, collected, concluded, sent and spent; on the agent's own origin.

It works with no leader in reach: everything on it is on this device.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from client_agent.decisions import decision_for
from client_agent.gateway.door import problem_response, signals_of
from client_agent.gateway.ports import Sent, Visitor
from consent import PURPOSES, ConsentState, Signals, decide, notice
from consent.policy import RULES
from consent.wording import WORDING, Mode
from models.wire.problems import ProblemError

RECENT_EVENTS: Final = 12
_HEADERS: Final = {"cache-control": "no-store", "referrer-policy": "same-origin"}
"""``same-origin`` and not the guards' ``no-referrer``: under the latter browsers send ``Origin: null`` with forms."""
_SAVED: Final = {
    "granted": "Saved: your answer is yes.",
    "declined": "Saved: your answer is no.",
    "erased": "Everything that was collected is deleted.",
}
_WORDLESS_EPSILON: Final = 12.0
"""Above it the factor e^epsilon says nothing that a person could use."""
_FILES: Final = resources.files("client_agent.pages")


class VisitorPage:
    """The page and its forms for one visitor.

    Args:
        visitor: whose page this is.
        origin: the agent's own origin; forms are accepted from it alone.
        site_url: where the site is reached through the gateway, for the way back.
        mode: where the agent runs; the page and the notice say it.
    """

    def __init__(self, visitor: Visitor, origin: str, site_url: str, mode: Mode = "device") -> None:
        self._visitor = visitor
        self._origin = origin
        self._site_url = site_url
        self._mode: Mode = mode
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("client_agent.pages"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        environment.filters["moment"] = _moment
        environment.filters["size"] = _size
        self._template = environment.get_template("visitor.html")
        self._style = _FILES.joinpath("static", "page.css").read_bytes()

    def application(self) -> Starlette:
        """The routes as an ASGI application, without the outer guards."""
        return Starlette(
            routes=[
                Route("/", self._show, methods=["GET"]),
                Route("/consent", self._choose, methods=["POST"]),
                Route("/erase", self._erase, methods=["POST"]),
                Route("/export.json", self._export, methods=["GET"]),
                Route("/static/page.css", self._css, methods=["GET"]),
            ],
            exception_handlers={ProblemError: problem_response},
        )

    async def _show(self, request: Request) -> Response:
        facts = await run_in_threadpool(self._facts, signals_of(request))
        done = {"done": request.query_params.get("done", ""), "done_purpose": request.query_params.get("purpose", "")}
        return HTMLResponse(self._template.render(saved=_SAVED, factor=_factor, **done, **facts), headers=_HEADERS)

    async def _css(self, request: Request) -> Response:
        del request
        return Response(self._style, media_type="text/css", headers={"cache-control": "max-age=300"})

    async def _choose(self, request: Request) -> Response:
        form = await self._form(request)
        purposes = form.get("purpose", [])
        names = {purpose.id for purpose in PURPOSES} if purposes == ["all"] else set(purposes)
        choice = form.get("choice", [""])[0]
        if not names or any(PURPOSES.find(name) is None for name in names) or choice not in {"grant", "decline"}:
            raise ProblemError("malformed", "expected a declared purpose and a choice")
        shown = notice(self._visitor.site, "en", mode=self._mode, gpc=signals_of(request).gpc)
        granted, declined = (names, set()) if choice == "grant" else (set(), names)
        await run_in_threadpool(self._visitor.choose, granted, declined, shown)
        await run_in_threadpool(self._forget_if_declined)
        return _back("granted" if choice == "grant" else "declined", purposes[0] if len(purposes) == 1 else "all")

    async def _erase(self, request: Request) -> Response:
        await self._form(request)
        await run_in_threadpool(self._visitor.erase_events)
        return _back("erased")

    async def _export(self, request: Request) -> Response:
        document = await run_in_threadpool(self._document, signals_of(request))
        name = f'attachment; filename="hearthside-{self._visitor.site}.json"'
        return JSONResponse(document, headers={**_HEADERS, "content-disposition": name})

    async def _form(self, request: Request) -> dict[str, list[str]]:
        """The fields of a form that this page itself sent."""
        if request.headers.get("origin") != self._origin:
            raise ProblemError("wrong-origin", f"expected forms from {self._origin}")
        if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise ProblemError("unsupported-media-type", "expected a form")
        try:
            return parse_qs((await request.body()).decode("ascii"), max_num_fields=32)
        except ValueError:
            raise ProblemError("malformed", "expected a form") from None

    def _forget_if_declined(self) -> None:
        """Events without any purpose left to read them are deleted at once."""
        if not self._visitor.consent().granted:
            self._visitor.erase_events()

    def _facts(self, signals: Signals) -> dict[str, Any]:
        """Everything on the page."""
        state, events = self._visitor.consent(), self._visitor.events()
        decision, prepared, sent = decision_for(self._visitor, signals), self._visitor.bundle(), self._visitor.sent()
        modules = {module.module_id: module.title for module in prepared.bundle.modules} if prepared else {}
        segments = {segment.segment_id: segment.title for segment in prepared.bundle.segments} if prepared else {}
        return {
            "site": self._visitor.site,
            "site_url": self._site_url,
            "mode": self._mode,
            "mode_text": dict(WORDING["en"].modes)[self._mode],
            "notice": notice(self._visitor.site, "en", mode=self._mode, gpc=signals.gpc),
            "labels": WORDING["en"],
            "gpc": signals.gpc or state.gpc_seen,
            "purposes": self._purposes(state, signals),
            "kinds": Counter(event.kind for event in events).most_common(),
            "event_count": len(events),
            "recent": sorted(events, key=lambda event: -event.at_ms)[:RECENT_EVENTS],
            "decision": decision,
            "bundle": prepared.bundle if prepared else None,
            "module_titles": modules,
            "segment_titles": segments,
            "sent": sent,
            "left": _left(sent),
            "titles": {purpose.id: purpose.text("en").title for purpose in PURPOSES},
            "sent_total": sum(row.size_bytes for row in sent),
            "budget": self._visitor.budget(),
        }

    def _purposes(self, state: ConsentState, signals: Signals) -> list[dict[str, Any]]:
        now = self._visitor.now_ms() // 1_000
        return [
            {
                "id": p.id,
                "text": p.text("en"),
                "days": p.retention_days,
                "on": answer.allowed,
                "declined": any(name == p.id for name, _ in state.declined),
                "rule": RULES[answer.rule],
            }
            for p in PURPOSES
            for answer in (decide("use", p.id, state, signals, now),)
        ]

    def _document(self, signals: Signals) -> dict[str, Any]:
        """Everything about this person, for taking along; it does not say which reports were null."""
        decision, budget = decision_for(self._visitor, signals), self._visitor.budget()
        return {
            "version": 1,
            "site": self._visitor.site,
            "exported_at_ms": self._visitor.now_ms(),
            "consent_receipts": list(self._visitor.receipts()),
            "events": [event.document() for event in self._visitor.events()],
            "persona": decision.persona if decision else None,
            "segments": list(decision.segments) if decision else [],
            "intent_score": decision.intent_score if decision else None,
            "sent": [
                {"purpose": row.purpose, "reports": row.reports, "bytes": row.size_bytes}
                for row in self._visitor.sent()
            ],
            "contract": {"epsilon": budget.cap_epsilon, "delta": budget.delta} if budget else None,
        }


def _back(done: str, purpose: str = "") -> RedirectResponse:
    """Back to the page, to where the person was: the next Tab goes on from there."""
    one = purpose not in {"", "all"}
    query = urlencode({"done": done, **({"purpose": purpose} if one else {})})
    section = f"purpose-{purpose}" if one else ("choices" if purpose else "collected")
    return RedirectResponse(f"/?{query}#{section}", status_code=303, headers=_HEADERS)


def _left(sent: Sequence[Sent]) -> list[dict[str, Any]]:
    """What left by purpose, the purposes for which nothing did among them."""
    by_purpose = {row.purpose: row for row in sent}
    known = {purpose.id: purpose for purpose in PURPOSES}
    return [
        {
            "title": known[name].text("en").title if name in known else name,
            "never": name in known and known[name].leaves == "nothing",
            "reports": row.reports if row else 0,
            "size_bytes": row.size_bytes if row else 0,
            "each": _each(row) if row else "",
        }
        for name in [*known, *(name for name in by_purpose if name not in known)]
        for row in (by_purpose.get(name),)
    ]


def _each(row: Sent) -> str:
    """The bytes of one report; every report of a study has the same, studies differ."""
    share, rest = divmod(row.size_bytes, max(row.reports, 1))
    return f"{share:,}" if not rest else f"about {share:,}"


def _factor(figure: float) -> str:
    """e^epsilon, in words: the factor by which a conclusion may become more likely."""
    return f"{math.exp(figure):.3g}" if figure <= _WORDLESS_EPSILON else "practically any number of"


def _moment(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC).strftime("%d %b, %H:%M:%S UTC")


def _size(size_bytes: int) -> str:
    if size_bytes < 10_000:  # noqa: PLR2004 - below it exact bytes read better
        return f"{size_bytes:,} bytes"
    return f"{size_bytes / 1_000:,.0f} kB" if size_bytes < 10_000_000 else f"{size_bytes / 1_000_000:,.1f} MB"  # noqa: PLR2004 - likewise
