"""Reports in the order of their ids: a closed batch streams to the helper and into the sum, and no id stands twice."""

from __future__ import annotations

from alembic import op

revision = "leader_0002"
down_revision = "leader_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("ix_reports_round_report", "reports", ["round_id", "report_id"], unique=True)


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_reports_round_report", "reports")
