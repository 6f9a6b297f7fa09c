"""Tables that leader and helper both have: API tokens, and what was done with them. Times are Unix milliseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table


def add_token_table(metadata: MetaData) -> Table:
    """Tokens: a digest each, never the token. ``scope`` may hold several, ``last_used_day`` counts days since 1970."""
    return Table(
        "tokens",
        metadata,
        Column("token_hash", LargeBinary(32), primary_key=True),
        Column("token_id", String(16), nullable=False, server_default=""),
        Column("scope", String(64), nullable=False),
        Column("label", String(64), nullable=False),
        Column("created_at_ms", BigInteger, nullable=False),
        Column("expires_at_ms", BigInteger, nullable=False),
        Column("uses_left", BigInteger, nullable=True),
        Column("revoked_at_ms", BigInteger, nullable=True),
        Column("last_used_day", Integer, nullable=True),
        Index("ix_tokens_token_id", "token_id", unique=True),
    )


def add_action_table(metadata: MetaData) -> Table:
    """What was done, in order; a row is only ever added, and names the digest of the one before it."""
    return Table(
        "actions",
        metadata,
        Column("action_index", BigInteger, primary_key=True, autoincrement=False),
        Column("body", LargeBinary, nullable=False),
    )
