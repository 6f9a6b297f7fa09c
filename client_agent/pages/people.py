"""Who is here: the agent's own origin, before anybody's page. A person is chosen, or nobody is and nothing is kept.

Without a person there is no page of a person: every address but this one answers that somebody has to say who they are.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from client_agent.errors import PersonRefused, PinRefused
from client_agent.gateway.cookies import presented, set_cookie
from client_agent.gateway.door import PREFIX, problem_response
from client_agent.gateway.ports import Visitor
from client_agent.gateway.sessions import Here, Sessions
from client_agent.pages.forms import read_form
from client_agent.pages.languages import NAMES, negotiate
from client_agent.pages.people_texts import PEOPLE_TEXTS
from client_agent.pages.rights import FORM_SCOPE, RIGHTS, RightsPage
from client_agent.pages.texts import TEXTS
from client_agent.pages.visitor import VisitorPage
from consent import POLICY_UPDATED, well_known_gpc
from consent.registry import Language
from consent.wording import Mode
from models.wire.guards import CONTENT_SECURITY_POLICY, App, Receive, Scope, Send
from models.wire.problems import ProblemError

_FILES: Final = resources.files("client_agent.pages")
_OWN: Final = ("/people", "/back/", "/static/", "/.well-known/")
_SAID: Final = frozenset({"late", "left", "stale"})


class PeoplePage:
    """The page on which somebody says who they are, and the way from there to their own and back to the site.

    Args:
        sessions: which person is at which browser.
        site_origin: where the site is reached through the gateway.
        page_origin: this origin; forms are accepted from it alone.
        mode: where the agent runs; each person's page says it.
        upstream_here: the site's own server may be on this machine, too; each page says what that means.
    """

    def __init__(
        self,
        sessions: Sessions,
        site_origin: str,
        page_origin: str,
        mode: Mode = "device",
        *,
        upstream_here: bool = False,
    ) -> None:
        self._sessions = sessions
        self._household = sessions.household
        self._site_origin = site_origin
        self._page_origin = page_origin
        self._mode: Mode = mode
        self._upstream_here = upstream_here
        self._pages: dict[str, tuple[Visitor, App]] = {}
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("client_agent.pages"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self._template = environment.get_template("people.html")
        self._styles = {name: _FILES.joinpath("static", name).read_bytes() for name in ("page.css", "people.css")}
        policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {site_origin}")
        # "origin": the site's door recognises by it who sends a browser there; of the path it learns nothing.
        self._headers = {"cache-control": "no-store", "referrer-policy": "origin", "content-security-policy": policy}

    def application(self) -> App:
        """The whole origin as an ASGI application, without the outer guards."""
        own = Starlette(
            routes=[
                Route("/people", self._show, methods=["GET"]),
                Route("/people/choose", self._choose, methods=["POST"]),
                Route("/people/leave", self._leave, methods=["POST"]),
                Route("/back/{to:path}", self._back, methods=["GET"]),
                Route("/static/{name}", self._style, methods=["GET"]),
                Route("/.well-known/gpc.json", self._gpc, methods=["GET"]),
            ],
            exception_handlers={ProblemError: problem_response},
        )

        async def routed(scope: Scope, receive: Receive, send: Send) -> None:
            anybodys = scope["type"] != "http" or scope["path"].startswith(_OWN)
            await (own if anybodys else self._person)(scope, receive, send)

        return routed

    async def _person(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page of whoever is here; who they are is asked first where nobody is."""
        request = Request(scope, receive)
        here = await run_in_threadpool(self._sessions.at_page, self._presented(request))
        if here.visitor is not None and here.member is not None and not here.locked:
            page = self._page_of(here.member.name, here.visitor)
            await page({**scope, FORM_SCOPE: here.form}, receive, send)
        elif here.member is not None and not here.locked and scope["path"].startswith(RIGHTS):
            page = await run_in_threadpool(self._page_without_profile, here.member.name)
            await page({**scope, FORM_SCOPE: here.form}, receive, send)
        elif scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}:
            await (await self._rendered(request, here))(scope, receive, send)
        else:
            error = ProblemError("unauthenticated", "say who you are first, on the start page of this address")
            await (await problem_response(request, error))(scope, receive, send)

    def _page_of(self, name: str, visitor: Visitor) -> App:
        known = self._pages.get(name)
        if known is None or known[0] is not visitor:
            page = VisitorPage(
                visitor,
                self._page_origin,
                f"{self._page_origin}/back",
                self._mode,
                upstream_here=self._upstream_here,
            )
            known = self._pages[name] = (visitor, page.application())
        return known[1]

    def _page_without_profile(self, name: str) -> App:
        person = self._household.person(name)
        if person is None:  # enrolled or gone while this was asked
            return RedirectResponse("/people", 303, self._headers)
        return RightsPage(person, self._page_origin, f"{self._page_origin}/back", self._mode).application()

    async def _show(self, request: Request) -> Response:
        return await self._rendered(request, await run_in_threadpool(self._sessions.at_page, self._presented(request)))

    async def _choose(self, request: Request) -> Response:
        """Somebody says who they are, or that they only look around; the site's door is told on the way."""
        form = await read_form(request, self._page_origin)
        tokens, name = self._presented(request), form.get("name", "")
        if "guest" in form:
            await run_in_threadpool(self._sessions.end, tokens)
            return self._without_cookie(request, RedirectResponse(f"{self._site_origin}/", 303, self._headers))
        lasting = form.get("lasting") == "yes"
        try:
            token = await run_in_threadpool(
                lambda: self._sessions.begin(tokens, name, form.get("pin", ""), lasting=lasting)
            )
        except PersonRefused as refused:
            here = await run_in_threadpool(self._sessions.at_page, tokens)
            return await self._rendered(request, here, refused=refused, name=name)
        code = await run_in_threadpool(self._sessions.mint, [token])
        response = await self._onward(code, "page", request.query_params.get("lang", ""))
        response.headers.append("set-cookie", set_cookie(self._page_origin, "page", token, lasting=lasting))
        return response

    async def _leave(self, request: Request) -> Response:
        await read_form(request, self._page_origin)
        await run_in_threadpool(self._sessions.end, self._presented(request))
        lang = request.query_params.get("lang", "")
        left = urlencode({"said": "left", "lang": lang} if lang else {"said": "left"})
        return self._without_cookie(request, RedirectResponse(f"/people?{left}", 303, self._headers))

    async def _back(self, request: Request) -> Response:
        """To the site, known there from now on; only a link of this origin's own pages takes the person along."""
        to = "/" + request.path_params["to"] + (f"?{request.url.query}" if request.url.query else "")
        own = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
        code = await run_in_threadpool(self._sessions.mint, self._presented(request)) if own else None
        return await self._onward(code, to)

    async def _onward(self, code: str | None, to: str, lang: str = "") -> Response:
        if code is None:
            return RedirectResponse(f"{self._site_origin}/", 303, self._headers)
        query = urlencode({"code": code, "to": to} | ({"lang": lang} if lang else {}))
        return RedirectResponse(f"{self._site_origin}{PREFIX}/enter?{query}", 303, self._headers)

    async def _style(self, request: Request) -> Response:
        found = self._styles.get(request.path_params["name"])
        if found is None:
            raise ProblemError("not-found", "no such file")
        return Response(found, media_type="text/css", headers={"cache-control": "max-age=300"})

    async def _gpc(self, request: Request) -> Response:
        del request
        return JSONResponse(well_known_gpc(POLICY_UPDATED))

    async def _rendered(
        self, request: Request, here: Here, refused: PersonRefused | None = None, name: str = ""
    ) -> Response:
        language = negotiate(request.query_params.get("lang"), request.headers.get("accept-language", ""))
        facts = await run_in_threadpool(self._facts, here, language, refused, name)
        said = request.query_params.get("said", "")
        body = self._template.render(**facts, said=said if said in _SAID else "")
        response = HTMLResponse(body, 200 if refused is None else 403, self._headers)
        return self._without_cookie(request, response) if here.clear else response

    def _facts(self, here: Here, language: Language, refused: PersonRefused | None, name: str) -> dict[str, Any]:
        members = self._household.members()
        return {
            "t": TEXTS[language].page,
            "text": PEOPLE_TEXTS[language],
            "language": language,
            "languages": NAMES,
            "site": self._household.site,
            "site_url": f"{self._page_origin}/back" if here.member else self._site_origin,
            "members": members,
            "alone": len(members) == 1,
            "here": here,
            "upstream_here": self._upstream_here,
            "wrong_pin": name if isinstance(refused, PinRefused) else "",
            "refused": refused is not None,
            "wait_seconds": refused.wait_seconds if isinstance(refused, PinRefused) else 0,
        }

    def _presented(self, request: Request) -> list[str]:
        return presented(request.headers.getlist("cookie"), self._page_origin, "page")

    def _without_cookie(self, request: Request, response: Response) -> Response:
        """Have the browser drop a cookie that is nobody's any more; one that had none gets nothing set."""
        if self._presented(request):
            response.headers.append("set-cookie", set_cookie(self._page_origin, "page", "", lasting=False))
        return response
