"""Reports whose bytes lie in files: their rows say where, and hold no seal and no masked vector."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "leader_0007"
down_revision = "leader_0006"
branch_labels = None
depends_on = None
_BYTES = ("seal", "masked")


def upgrade() -> None:
    """Add the places; reports that are there keep their bytes in their rows."""
    with op.batch_alter_table("reports") as reports:
        for name in _BYTES:
            reports.alter_column(name, existing_type=sa.LargeBinary, nullable=True)
        reports.add_column(sa.Column("segment", sa.String(32), nullable=True))
        reports.add_column(sa.Column("position", sa.BigInteger, nullable=True))
        reports.add_column(sa.Column("seal_bytes", sa.Integer, nullable=True))
        reports.add_column(sa.Column("masked_bytes", sa.Integer, nullable=True))
        reports.add_column(sa.Column("masked_sha256", sa.LargeBinary(32), nullable=True))


def downgrade() -> None:
    """Back to reports in their rows; those in files are lost, and their rounds with them."""
    op.execute("DELETE FROM reports WHERE segment IS NOT NULL")
    with op.batch_alter_table("reports") as reports:
        for name in ("masked_sha256", "masked_bytes", "seal_bytes", "position", "segment"):
            reports.drop_column(name)
        for name in _BYTES:
            reports.alter_column(name, existing_type=sa.LargeBinary, nullable=False)
