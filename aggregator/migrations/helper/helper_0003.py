"""Several processes behind one store: nonces of the leader's requests, and who is answering a round.

Nothing that was there changes. A request from before the update could be replayed once within its time window, as after
any earlier restart.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "helper_0003"
down_revision = "helper_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what processes tell each other."""
    op.create_table(
        "nonces",
        sa.Column("nonce", sa.LargeBinary(32), primary_key=True),
        sa.Column("used_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_nonces_used", "nonces", ["used_at_ms"])
    op.add_column("rounds", sa.Column("answering", sa.LargeBinary(16), nullable=True))
    op.add_column("rounds", sa.Column("answering_until_ms", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Back to one process."""
    op.drop_column("rounds", "answering_until_ms")
    op.drop_column("rounds", "answering")
    op.drop_index("ix_nonces_used", "nonces")
    op.drop_table("nonces")
