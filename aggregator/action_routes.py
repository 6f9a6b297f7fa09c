"""``GET /v1/actions``: the record of actions, for an auditor, at leader and helper alike."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from aggregator.gate import Gate
from models.wire.message import Hex32, Message
from privacy.crypto import parse_canonical

_PAGE_MAXIMUM = 1_000


class RecordedAction(Message):
    """One row of the record; ``previous`` is the SHA-256 of the canonical JSON of the row before it."""

    token_id: str
    label: str
    role: str
    action: str
    subject: str
    outcome: str
    at_ms: int
    previous: Hex32


class ActionPage(Message):
    """Rows from ``start`` on, oldest first; ``size`` says how many there are in all."""

    version: int = 1
    start: int
    size: int
    actions: tuple[RecordedAction, ...]


def action_routes(gate: Gate) -> APIRouter:
    """The route, over a service's gate."""
    router = APIRouter(tags=["service"])

    @router.get("/v1/actions")
    async def list_actions(
        start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
        count: Annotated[int, Query(ge=1, le=_PAGE_MAXIMUM)] = 100,
    ) -> ActionPage:
        """What was done with tokens, and tokens that were made and revoked (scope auditor, or officer)."""
        async with gate.database.reading() as connection:
            rows = await gate.actions.page(connection, start, count)
            size = await gate.actions.size(connection)
        found = tuple(RecordedAction.model_validate(parse_canonical(row)) for row in rows)
        return ActionPage(start=start, size=size, actions=found)

    return router
