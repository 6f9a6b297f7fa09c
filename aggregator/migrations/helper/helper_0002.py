"""Round secrets under a wrapping key, what an opening will be charged, and withdrawals by round.

Rounds under way expire: their keys stood in the store as they are, and no migration can take that back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "helper_0002"
down_revision = "helper_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """End what is under way, then change the columns."""
    op.execute("UPDATE rounds SET private_key = NULL, noise_secret = NULL")
    op.execute("UPDATE rounds SET state = 'expired' WHERE state IN ('open', 'marked')")
    op.drop_column("rounds", "private_key")
    op.drop_column("rounds", "noise_secret")
    op.add_column("rounds", sa.Column("wrapping", sa.LargeBinary(16), nullable=True))
    op.add_column("rounds", sa.Column("wrapped_key", sa.LargeBinary, nullable=True))
    op.add_column("rounds", sa.Column("wrapped_noise", sa.LargeBinary, nullable=True))
    op.add_column("rounds", sa.Column("costs", sa.Text, nullable=True))
    op.add_column("withdrawals", sa.Column("round_id", sa.Integer, nullable=True))
    op.create_index("ix_withdrawals_round", "withdrawals", ["round_id"])


def downgrade() -> None:
    """Back to the columns of the first schema; what was wrapped is lost."""
    op.drop_index("ix_withdrawals_round", "withdrawals")
    op.drop_column("withdrawals", "round_id")
    for name in ("costs", "wrapped_noise", "wrapped_key", "wrapping"):
        op.drop_column("rounds", name)
    op.add_column("rounds", sa.Column("private_key", sa.LargeBinary, nullable=True))
    op.add_column("rounds", sa.Column("noise_secret", sa.LargeBinary(32), nullable=True))
