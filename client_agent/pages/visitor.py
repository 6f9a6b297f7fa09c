"""The visitor's page: what is consented, collected, concluded, sent and spent; on the agent's own origin.

It works with no leader in reach: everything on it is on this device. It has no script: what a person presses is a form.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from client_agent.gateway.door import signals_of
from client_agent.gateway.ports import Visitor
from client_agent.pages.rights import HEADERS, RightsPage
from client_agent.pages.view import facts
from consent import PURPOSES, ConsentState, notice_for
from consent.wording import Mode
from models.wire.problems import ProblemError

_DONE: Final = frozenset({"granted", "declined", "changed", "erased"})


class VisitorPage(RightsPage):
    """The page and its forms for one visitor, beside the rights that everybody has.

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
        super().__init__(visitor, origin, site_url, mode)
        self._visitor = visitor
        self._upstream_here = upstream_here

    def _routes(self) -> list[Route]:
        return [
            Route("/", self._show, methods=["GET"]),
            Route("/consent", self._choose, methods=["POST"]),
            Route("/erase", self._erase, methods=["POST"]),
            *super()._routes(),
            Route("/consent-record.json", self._record, methods=["GET"]),
        ]

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

    async def _record(self, request: Request) -> Response:
        del request
        record = await run_in_threadpool(self._visitor.consent_record)
        return Response(record, media_type="application/json", headers=self._download("json", "consent-"))


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


def _back(query: dict[str, str], place: str) -> RedirectResponse:
    """Back to the page, to the button that was pressed: it has the focus again, and says what was saved."""
    return RedirectResponse(f"/?{urlencode(query)}#{place}", status_code=303, headers=HEADERS)
