"""The noise's secret under a wrapping key, what an opening will be charged, and reports that were taken back.

A round that was charged keeps its place, but its noise's secret stood in the store as it is: it is given up.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "leader_0003"
down_revision = "leader_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """End what was charged and not released, then change the columns."""
    under_way = "state IN ('charged', 'answered')"
    op.execute(f"DELETE FROM reports WHERE round_id IN (SELECT round_id FROM rounds WHERE {under_way})")  # noqa: S608 - constants
    op.execute(
        f"UPDATE rounds SET state = 'abandoned', answer = NULL, detail = 'given up by an update' WHERE {under_way}"  # noqa: S608 - constants
    )
    op.execute("UPDATE rounds SET noise_secret = NULL")
    op.drop_column("rounds", "noise_secret")
    op.add_column("rounds", sa.Column("wrapping", sa.LargeBinary(16), nullable=True))
    op.add_column("rounds", sa.Column("wrapped_noise", sa.LargeBinary, nullable=True))
    op.add_column("rounds", sa.Column("costs", sa.Text, nullable=True))
    op.create_table(
        "taken_back",
        sa.Column("round_id", sa.Integer, sa.ForeignKey("rounds.round_id"), primary_key=True),
        sa.Column("device_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("report_id", sa.LargeBinary(32), nullable=True),
    )


def downgrade() -> None:
    """Back to the columns of the second schema; what was wrapped is lost."""
    op.drop_table("taken_back")
    for name in ("costs", "wrapped_noise", "wrapping"):
        op.drop_column("rounds", name)
    op.add_column("rounds", sa.Column("noise_secret", sa.LargeBinary(32), nullable=True))
