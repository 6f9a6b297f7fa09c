"""Tokens of several scopes that can be revoked, a record of actions, changed keys and revoked devices.

Tokens from before go on working; an id that names each of them follows from its digest.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "leader_0006"
down_revision = "leader_0005"
branch_labels = None
depends_on = None
_ID_DIGITS = 8


def upgrade() -> None:
    """Give every token an id and its scopes; add what is new."""
    op.add_column("tokens", sa.Column("token_id", sa.String(16), nullable=False, server_default=""))
    with op.batch_alter_table("tokens") as tokens_table:
        tokens_table.alter_column("scope", type_=sa.String(64))
    op.add_column("tokens", sa.Column("revoked_at_ms", sa.BigInteger, nullable=True))
    op.add_column("tokens", sa.Column("last_used_day", sa.Integer, nullable=True))
    connection, tokens = op.get_bind(), sa.table("tokens", sa.column("token_hash"), sa.column("token_id"))
    for digest in connection.execute(sa.select(tokens.c.token_hash)).scalars().all():
        named = tokens.update().where(tokens.c.token_hash == digest).values(token_id=digest.hex()[:_ID_DIGITS])
        connection.execute(named)
    op.create_index("ix_tokens_token_id", "tokens", ["token_id"], unique=True)
    op.create_table(
        "actions",
        sa.Column("action_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.add_column("devices", sa.Column("revoked_at_ms", sa.BigInteger, nullable=True))
    op.add_column("devices", sa.Column("rotations", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "device_keys",
        sa.Column("device_key", sa.LargeBinary(32), primary_key=True),
        sa.Column("device_id", sa.LargeBinary(16), sa.ForeignKey("devices.device_id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("replaced_at_ms", sa.BigInteger, nullable=False),
        sa.Column("rotation", sa.Text, nullable=False),
    )
    op.create_index("ix_device_keys_device", "device_keys", ["device_id", "position"], unique=True)


def downgrade() -> None:
    """Back to tokens of one scope; of those with several, and of keys and actions, nothing can be kept."""
    op.drop_table("device_keys")
    op.drop_column("devices", "rotations")
    op.drop_column("devices", "revoked_at_ms")
    op.drop_table("actions")
    op.drop_index("ix_tokens_token_id", "tokens")
    op.execute("DELETE FROM tokens WHERE scope LIKE '%,%' OR revoked_at_ms IS NOT NULL")
    for name in ("last_used_day", "revoked_at_ms", "token_id"):
        op.drop_column("tokens", name)
