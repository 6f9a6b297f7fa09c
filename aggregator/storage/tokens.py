"""API and enrolment tokens: 32 random bytes, hashed at rest, scoped, expiring, capped."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.storage.leader_tables import tokens
from models.wire.problems import ProblemError

SCOPES = ("analyst", "operator", "auditor", "enrol")


async def create_token(
    connection: AsyncConnection,
    scope: str,
    now_ms: int,
    expires_at_ms: int,
    *,
    label: str = "",
    uses: int | None = None,
) -> str:
    """Make a token and store its digest; the token itself is shown once and kept nowhere.

    Args:
        connection: of a change.
        scope: one of ``SCOPES``.
        now_ms: Unix milliseconds.
        expires_at_ms: when it stops working.
        label: what the operator calls it.
        uses: most enrolments with it; None for no cap.
    """
    token = f"hearthside-{scope}-{secrets.token_urlsafe(32)}"
    await connection.execute(
        tokens.insert().values(
            token_hash=_hash(token),
            scope=scope,
            label=label,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            uses_left=uses,
        )
    )
    return token


async def require_token(connection: AsyncConnection, token: str, scope: str, now_ms: int) -> int | None:
    """Return if the token opens this scope now; the value is how many uses are left (None: no cap).

    Raises:
        ProblemError: ``unauthenticated`` for a token that does not exist or has expired, ``forbidden`` for another's.
    """
    found = (await connection.execute(select(tokens).where(tokens.c.token_hash == _hash(token)))).one_or_none()
    if found is None or found.expires_at_ms <= now_ms:
        raise ProblemError("unauthenticated", "the token is not known or has expired")
    if found.scope != scope:
        raise ProblemError("forbidden", f"this needs a token of scope {scope!r}, got {found.scope!r}")
    left: int | None = found.uses_left
    return left


async def spend_token(connection: AsyncConnection, token: str, uses: int) -> None:
    """Take uses off a capped token."""
    here = (tokens.c.token_hash == _hash(token)) & tokens.c.uses_left.is_not(None)
    await connection.execute(update(tokens).where(here).values(uses_left=tokens.c.uses_left - uses))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
