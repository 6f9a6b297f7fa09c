"""API tokens of the helper, and the record of what was done with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "helper_0004"
down_revision = "helper_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables; nothing that was there changes."""
    op.create_table(
        "tokens",
        sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("token_id", sa.String(16), nullable=False, server_default=""),
        sa.Column("scope", sa.String(64), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("uses_left", sa.BigInteger, nullable=True),
        sa.Column("revoked_at_ms", sa.BigInteger, nullable=True),
        sa.Column("last_used_day", sa.Integer, nullable=True),
    )
    op.create_index("ix_tokens_token_id", "tokens", ["token_id"], unique=True)
    op.create_table(
        "actions",
        sa.Column("action_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Back to a helper without tokens."""
    op.drop_table("actions")
    op.drop_table("tokens")
