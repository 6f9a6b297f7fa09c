"""When a study's rounds open: its schedule as it was asked for, canonical JSON."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "leader_0005"
down_revision = "leader_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; studies that are under way have no schedule."""
    op.add_column("studies", sa.Column("schedule", sa.Text, nullable=True))


def downgrade() -> None:
    """Back to studies that run as soon as they are started."""
    op.drop_column("studies", "schedule")
