"""The visitor's page: what is consented, collected, concluded, sent and spent; on the agent's own origin.

It works with no leader in reach: everything on it is on this device. It has no script: what a person presses is a form.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from client_agent.exporting import csv_zip_pieces, json_pieces
from client_agent.gateway.door import problem_response, signals_of
from client_agent.gateway.ports import Visitor
from client_agent.pages.access import table, tables
from client_agent.pages.forms import read_form
from client_agent.pages.languages import negotiate
from client_agent.pages.view import Shown, facts
from consent import PURPOSES, ConsentState, notice_for
from consent.registry import Language
from consent.wording import Mode
from models.wire.problems import ProblemError

FORM_SCOPE: Final = "hearthside.form"
"""Where the ASGI scope carries the text of the person's forms, when several people have pages on this origin."""
_HEADERS: Final = {"cache-control": "no-store", "referrer-policy": "origin"}
"""``origin`` and not the guards' ``no-referrer``: under the latter browsers send ``Origin: null`` with forms."""
_DONE: Final = frozenset({"granted", "declined", "changed", "erased"})
_PAGES_MAXIMUM: Final = 1_000_000


class VisitorPage:
    """The page and its forms for one visitor.

    Args:
        visitor: whose page this is.
        origin: the agent's own origin; forms are accepted from it alone.
        site_url: where the site is reached through the gateway, for the way back.
        mode: where the agent runs; the page and the notice say it.
        upstream_here: the site's own server may be on this machine, too; the page says what that means.
    """

    def __init__(
        self, visitor: Visitor, origin: str, site_url: str, mode: Mode = "device", *, upstream_here: bool = False
    ) -> None:
        self._visitor = visitor
        self._origin = origin
        self._site_url = site_url
        self._mode: Mode = mode
        self._upstream_here = upstream_here
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("client_agent.pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def application(self) -> Starlette:
        """The routes as an ASGI application, without the outer guards."""
        return Starlette(
            routes=[
                Route("/", self._show, methods=["GET"]),
                Route("/consent", self._choose, methods=["POST"]),
                Route("/erase", self._erase, methods=["POST"]),
                Route("/everything", self._everything, methods=["GET"]),
                Route("/erase-everything", self._ask_to_erase, methods=["GET"]),
                Route("/erase-everything", self._erase_everything, methods=["POST"]),
                Route("/export.json", self._export, methods=["GET"]),
                Route("/export.zip", self._export_tables, methods=["GET"]),
                Route("/consent-record.json", self._record, methods=["GET"]),
            ],
            exception_handlers={ProblemError: problem_response, _Stale: _look_again},
        )

    async def _show(self, request: Request) -> Response:
        shown = self._shown(request)
        found = await run_in_threadpool(facts, self._visitor, signals_of(request), shown)
        done, purpose = (request.query_params.get(name, "") for name in ("done", "purpose"))
        known = purpose if PURPOSES.find(purpose) else ""
        return self._rendered(
            "visitor.html",
            shown,
            {
                "done": done if done in _DONE else "",
                "done_purpose": known,
                "upstream_here": self._upstream_here,
                **found,
            },
        )

    async def _everything(self, request: Request) -> Response:
        """The right of access: every table, or one of them a page at a time."""
        shown, name = self._shown(request), request.query_params.get("table", "")
        export = await run_in_threadpool(self._visitor.everything, signals_of(request))
        if not name:
            found = await run_in_threadpool(tables, export, shown.language)
            return self._rendered("visitor_everything.html", shown, {"tables": found, "page": 0})
        page = _page_number(request.query_params.get("page", "1"))
        one = await run_in_threadpool(table, export, name, page, shown.language)
        if one is None:
            raise ProblemError("not-found", "expected the name of a table of this page")
        return self._rendered("visitor_everything.html", shown, {"tables": [one], "page": page})

    async def _choose(self, request: Request) -> Response:
        """A yes counts for the notice that its page showed, which has to be the one that is due; a no counts always."""
        form = await self._form(request)
        asked, choice = form.get("purpose", ""), form.get("choice", "")
        if choice not in {"grant", "decline"}:
            raise ProblemError("malformed", "expected a choice")
        shown = self._shown(request, form)
        state = await run_in_threadpool(self._visitor.consent)
        names = _purposes(asked, choice, state)
        due = notice_for(state, signals_of(request), language=shown.language, mode=self._mode)
        if choice == "grant" and form.get("notice") != due.hash.hex():
            return _back({"done": "changed", "lang": shown.language}, "choices")
        granted, declined = (names, set[str]()) if choice == "grant" else (set[str](), names)
        await run_in_threadpool(self._visitor.choose, granted, declined, due)
        done = "granted" if choice == "grant" else "declined"
        return _back({"done": done, "purpose": asked, "lang": shown.language}, f"{asked}-{choice}")

    async def _erase(self, request: Request) -> Response:
        shown = self._shown(request, await self._form(request))
        await run_in_threadpool(self._visitor.erase_events)
        return _back({"done": "erased", "lang": shown.language}, "collected")

    async def _ask_to_erase(self, request: Request) -> Response:
        return self._rendered("visitor_erase.html", self._shown(request), {})

    async def _erase_everything(self, request: Request) -> Response:
        """The second step: the page that asked sent this form. The answer is all that is left to show."""
        form = await self._form(request)
        if form.get("sure") != "yes":
            raise ProblemError("malformed", "expected the form of the page that asks once more")
        await run_in_threadpool(self._visitor.erase_everything)
        return self._rendered("visitor_erased.html", self._shown(request, form), {})

    async def _export(self, request: Request) -> Response:
        export = await run_in_threadpool(self._visitor.everything, signals_of(request))
        return StreamingResponse(json_pieces(export), media_type="application/json", headers=self._download("json"))

    async def _export_tables(self, request: Request) -> Response:
        export = await run_in_threadpool(self._visitor.everything, signals_of(request))
        return StreamingResponse(csv_zip_pieces(export), media_type="application/zip", headers=self._download("zip"))

    async def _record(self, request: Request) -> Response:
        del request
        record = await run_in_threadpool(self._visitor.consent_record)
        return Response(record, media_type="application/json", headers=self._download("json", "consent-"))

    async def _form(self, request: Request) -> dict[str, str]:
        """The fields of a form that this page itself sent, while the same person was here."""
        form = await read_form(request, self._origin)
        if not hmac.compare_digest(form.get("person", "").encode(), _form_text(request).encode()):
            raise _Stale
        return form

    def _shown(self, request: Request, form: Mapping[str, str] | None = None) -> Shown:
        asked = form.get("lang") if form is not None else request.query_params.get("lang")
        language: Language = negotiate(asked, request.headers.get("accept-language", ""))
        return Shown(self._visitor.site, self._site_url, language, self._mode, _form_text(request))

    def _rendered(self, template: str, shown: Shown, found: Mapping[str, Any]) -> HTMLResponse:
        body = self._templates.get_template(template).render(**shown.words(), **found)
        return HTMLResponse(body, headers={**_HEADERS, "vary": "accept-language", "content-language": shown.language})

    def _download(self, suffix: str, prefix: str = "") -> dict[str, str]:
        name = f"hearthside-{prefix}{self._visitor.site}.{suffix}".replace(":", "-")
        return {**_HEADERS, "content-disposition": f'attachment; filename="{name}"'}


class _Stale(Exception):
    """A form of another person's page, or of one who has come back since: nothing is recorded."""


async def _look_again(request: Request, error: Exception) -> Response:
    del request, error
    return RedirectResponse("/people?said=stale", status_code=303, headers=_HEADERS)


def _form_text(request: Request) -> str:
    return str(request.scope.get(FORM_SCOPE, ""))


def _purposes(asked: str, choice: str, state: ConsentState) -> set[str]:
    """What an answer is about; a no also takes back what was granted and is no longer declared.

    Raises:
        ProblemError: it is about nothing that is known.
    """
    known = {purpose.id for purpose in PURPOSES}
    if choice == "decline":
        known |= {held.purpose for held in state.granted}
    names = known if asked == "all" else {asked}
    if not names <= known:
        raise ProblemError("malformed", "expected a declared purpose")
    return names


def _page_number(text: str) -> int:
    return min(int(text), _PAGES_MAXIMUM) if text.isascii() and text.isdigit() and int(text) else 1


def _back(query: dict[str, str], place: str) -> RedirectResponse:
    """Back to the page, to the button that was pressed: it has the focus again, and says what was saved."""
    return RedirectResponse(f"/?{urlencode(query)}#{place}", status_code=303, headers=_HEADERS)
