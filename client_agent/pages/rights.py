"""The page of somebody who is known here and has no profile: a child, or an adult who is not enrolled.

Their name, their kind and the times of their browsers are kept, and so they have the same rights as everybody: to see
all of it, to take it along and to erase it. There is nothing else on this page, for there is nothing else.
"""

from __future__ import annotations

from typing import Final, cast

from starlette.applications import Starlette
from starlette.routing import Route

from client_agent.gateway.door import problem_response
from client_agent.gateway.ports import Person, Visitor
from client_agent.pages.visitor import VisitorPage, _look_again, _Stale
from consent.wording import Mode
from models.wire.problems import ProblemError

RIGHTS: Final = ("/everything", "/export.", "/erase-everything")
"""Starts of the paths that are here; every other one answers as if nobody were."""


class RightsPage(VisitorPage):
    """Access, portability and erasure, and none of the rest of a visitor's page.

    Args:
        person: whose page this is.
        origin: the agent's own origin; forms are accepted from it alone.
        site_url: where the site is reached through the gateway, for the way back.
        mode: where the agent runs.
    """

    def __init__(self, person: Person, origin: str, site_url: str, mode: Mode = "device") -> None:
        super().__init__(cast("Visitor", person), origin, site_url, mode)  # the routes below ask it for no more

    def application(self) -> Starlette:
        """The routes as an ASGI application, without the outer guards."""
        return Starlette(
            routes=[
                Route("/everything", self._everything, methods=["GET"]),
                Route("/erase-everything", self._ask_to_erase, methods=["GET"]),
                Route("/erase-everything", self._erase_everything, methods=["POST"]),
                Route("/export.json", self._export, methods=["GET"]),
                Route("/export.zip", self._export_tables, methods=["GET"]),
            ],
            exception_handlers={ProblemError: problem_response, _Stale: _look_again},
        )
