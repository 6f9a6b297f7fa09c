"""What the helper signed and took in, for everybody: a leader's log must tell of all of it (``log check``)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy import select

from aggregator.helper.office import office_of
from aggregator.storage.helper_tables import decisions, rounds
from models.wire.statements import (
    STATEMENTS_MAXIMUM,
    DecisionStatement,
    DecisionStatements,
    RoundStatement,
    RoundStatements,
)

After = Annotated[int, Query(ge=0, lt=2**53, description="The number of the last one that is known.")]


def add_statement_routes(router: APIRouter) -> None:
    """Public, and of nobody: what is here should stand in the leader's log."""

    @router.get("/v1/log/decisions", tags=["log"])
    async def decided(request: Request, after: After = 0) -> DecisionStatements:
        """The officers' decisions, oldest first: the leader's log should have the newest on each study."""
        query = select(decisions).where(decisions.c.decision_id > after).order_by(decisions.c.decision_id)
        async with office_of(request).database.reading() as connection:
            rows = (await connection.execute(query.limit(STATEMENTS_MAXIMUM))).all()
        return DecisionStatements(
            decisions=tuple(
                DecisionStatement(
                    number=row.decision_id,
                    study_hash=row.study_hash.hex(),
                    jws=row.jws,
                    recorded_at_ms=row.recorded_at_ms,
                )
                for row in rows
            )
        )

    @router.get("/v1/log/rounds", tags=["log"])
    async def opened(request: Request, after: After = 0) -> RoundStatements:
        """The openings, oldest first, with the digest of each round's one batch."""
        columns = (rounds.c.round_id, rounds.c.study_hash, rounds.c.number, rounds.c.opening, rounds.c.batch)
        query = select(*columns).where(rounds.c.round_id > after).order_by(rounds.c.round_id)
        async with office_of(request).database.reading() as connection:
            rows = (await connection.execute(query.limit(STATEMENTS_MAXIMUM))).all()
        return RoundStatements(
            rounds=tuple(
                RoundStatement(
                    number=row.round_id,
                    study_hash=row.study_hash.hex(),
                    round=row.number,
                    opening=row.opening,
                    batch=None if row.batch is None else row.batch.hex(),
                )
                for row in rows
            )
        )
