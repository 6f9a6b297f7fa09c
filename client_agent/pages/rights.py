"""The page of somebody who is known here: what is kept of them, to see, to take along and to erase.

A child, and an adult who is not enrolled, have no profile; their name, their kind and the times of their browsers are
kept, and so they have the same rights as everybody. There is nothing else on this page, for there is nothing else.
``visitor.VisitorPage`` is the page of somebody with a profile: the same, and what they choose.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from client_agent.exporting import csv_zip_pieces, json_pieces
from client_agent.gateway.door import problem_response, signals_of
from client_agent.gateway.ports import Person
from client_agent.pages.access import table, tables
from client_agent.pages.forms import read_form
from client_agent.pages.languages import negotiate
from client_agent.pages.view import Shown
from consent.registry import Language
from consent.wording import Mode
from models.wire.problems import ProblemError

RIGHTS: Final = ("/everything", "/export.", "/erase-everything")
"""Starts of the paths that are here; every other one answers as if nobody were."""
FORM_SCOPE: Final = "hearthside.form"
"""Where the ASGI scope carries the text of the person's forms, when several people have pages on this origin."""
HEADERS: Final = {"cache-control": "no-store", "referrer-policy": "origin"}
"""``origin`` and not the guards' ``no-referrer``: under the latter browsers send ``Origin: null`` with forms."""
_PAGES_MAXIMUM: Final = 1_000_000


class RightsPage:
    """Access, portability and erasure, and none of the rest of a visitor's page.

    Args:
        person: whose page this is.
        origin: the agent's own origin; forms are accepted from it alone.
        site_url: where the site is reached through the gateway, for the way back.
        mode: where the agent runs.
    """

    def __init__(self, person: Person, origin: str, site_url: str, mode: Mode = "device") -> None:
        self._person = person
        self._origin = origin
        self._site_url = site_url
        self._mode: Mode = mode
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
            routes=self._routes(),
            exception_handlers={ProblemError: problem_response, _Stale: _look_again},
        )

    def _routes(self) -> list[Route]:
        return [
            Route("/everything", self._everything, methods=["GET"]),
            Route("/erase-everything", self._ask_to_erase, methods=["GET"]),
            Route("/erase-everything", self._erase_everything, methods=["POST"]),
            Route("/export.json", self._export, methods=["GET"]),
            Route("/export.zip", self._export_tables, methods=["GET"]),
        ]

    async def _everything(self, request: Request) -> Response:
        """The right of access: every table, or one of them a page at a time."""
        shown, name = self._shown(request), request.query_params.get("table", "")
        export = await run_in_threadpool(self._person.everything, signals_of(request))
        if not name:
            found = await run_in_threadpool(tables, export, shown.language)
            return self._rendered("visitor_everything.html", shown, {"tables": found, "page": 0})
        page = _page_number(request.query_params.get("page", "1"))
        one = await run_in_threadpool(table, export, name, page, shown.language)
        if one is None:
            raise ProblemError("not-found", "expected the name of a table of this page")
        return self._rendered("visitor_everything.html", shown, {"tables": [one], "page": page})

    async def _ask_to_erase(self, request: Request) -> Response:
        return self._rendered("visitor_erase.html", self._shown(request), {})

    async def _erase_everything(self, request: Request) -> Response:
        """The second step: the page that asked sent this form. The answer is all that is left to show."""
        form = await self._form(request)
        if form.get("sure") != "yes":
            raise ProblemError("malformed", "expected the form of the page that asks once more")
        await run_in_threadpool(self._person.erase_everything)
        return self._rendered("visitor_erased.html", self._shown(request, form), {})

    async def _export(self, request: Request) -> Response:
        export = await run_in_threadpool(self._person.everything, signals_of(request))
        return StreamingResponse(json_pieces(export), media_type="application/json", headers=self._download("json"))

    async def _export_tables(self, request: Request) -> Response:
        export = await run_in_threadpool(self._person.everything, signals_of(request))
        return StreamingResponse(csv_zip_pieces(export), media_type="application/zip", headers=self._download("zip"))

    async def _form(self, request: Request) -> dict[str, str]:
        """The fields of a form that this page itself sent, while the same person was here."""
        form = await read_form(request, self._origin)
        if not hmac.compare_digest(form.get("person", "").encode(), _form_text(request).encode()):
            raise _Stale
        return form

    def _shown(self, request: Request, form: Mapping[str, str] | None = None) -> Shown:
        asked = form.get("lang") if form is not None else request.query_params.get("lang")
        language: Language = negotiate(asked, request.headers.get("accept-language", ""))
        return Shown(self._person.site, self._site_url, language, self._mode, _form_text(request))

    def _rendered(self, template: str, shown: Shown, found: Mapping[str, Any]) -> HTMLResponse:
        body = self._templates.get_template(template).render(**shown.words(), **found)
        return HTMLResponse(body, headers={**HEADERS, "vary": "accept-language", "content-language": shown.language})

    def _download(self, suffix: str, prefix: str = "") -> dict[str, str]:
        name = f"hearthside-{prefix}{self._person.site}.{suffix}".replace(":", "-")
        return {**HEADERS, "content-disposition": f'attachment; filename="{name}"'}


class _Stale(Exception):
    """A form of another person's page, or of one who has come back since: nothing is recorded."""


async def _look_again(request: Request, error: Exception) -> Response:
    del request, error
    return RedirectResponse("/people?said=stale", status_code=303, headers=HEADERS)


def _form_text(request: Request) -> str:
    return str(request.scope.get(FORM_SCOPE, ""))


def _page_number(text: str) -> int:
    return min(int(text), _PAGES_MAXIMUM) if text.isascii() and text.isdigit() and int(text) else 1
