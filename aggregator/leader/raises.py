"""Raises of a budget at the leader: two officers' signatures, checked and put into the log for the service to see."""

from __future__ import annotations

from fastapi import APIRouter, Request

from aggregator.leader.desk import Desk, desk_of
from aggregator.settings import LeaderSettings
from aggregator.storage.contracts import Parties, budget_state
from aggregator.storage.database import Change
from models.wire.budgets import RAISE, BudgetState, LoggedRaise, SignedRaise, read_raise
from models.wire.problems import ProblemError
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint
from privacy.crypto import SigningKey, digest, verify_document

_NAME_BYTES = 12


def parties_of(settings: LeaderSettings, key: SigningKey) -> Parties:
    """Whose budget the leader's is."""
    return Parties("leader", key.verify_key, key.verify_key, settings.officer_keys())


def raise_routes() -> APIRouter:
    """The leader's own budget, and the way of every raise into the log. The signatures are the proof; no token."""
    router = APIRouter()

    @router.get("/v1/budget", tags=["service"])
    async def budget(request: Request) -> BudgetState:
        """What this service allows at most, and what two officers have allowed."""
        desk = desk_of(request)
        async with desk.database.reading() as connection:
            return await budget_state(connection, desk.store.ledger, desk.settings, parties_of(desk.settings, desk.key))

    @router.post("/v1/raises", status_code=201, tags=["service"])
    async def log_raise(request: Request, signed: SignedRaise) -> LoggedRaise:
        """Log a raise of the leader's or the helper's budget that two officers have signed; again changes nothing."""
        return await record(desk_of(request), signed)

    return router


async def record(desk: Desk, signed: SignedRaise) -> LoggedRaise:
    """Log a raise, once, and prove that it stands there.

    Raises:
        ProblemError: ``bad-signature``, ``malformed``, or ``forbidden`` for a budget of other services.
    """
    found = read_raise(signed, desk.settings.officer_keys())
    keys = {"leader": desk.key.verify_key.raw.hex(), "helper": desk.settings.helper_key}
    if (found.site, found.service_key) != (desk.settings.site, keys[found.service]):
        raise ProblemError("forbidden", f"the raise is about another {found.service} than this site's")
    name = "raise:" + digest("budget-raise", signed.canonical())[:_NAME_BYTES].hex()

    async def act(change: Change) -> int:
        known = await desk.store.ledger.fact(change.connection, name)
        if known is not None:
            return int.from_bytes(known, "big")
        index = await desk.ledger_log.append(change, RAISE, signed.canonical())
        await desk.store.ledger.set_fact(change.connection, name, index.to_bytes(8, "big"))
        change.then(desk.board.refresh)
        return index

    index = await desk.database.change(act)
    checkpoint = desk.ledger_log.checkpoint(desk.clock.now_ms())
    size = Checkpoint.model_validate(verify_document(checkpoint, CHECKPOINT_TYPE, (desk.key.verify_key,))).size
    return LoggedRaise(signed=signed, checkpoint=checkpoint, inclusion=desk.ledger_log.inclusion(index, size))
