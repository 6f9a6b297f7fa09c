"""First schema of the helper."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "helper_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "proposals",
        sa.Column("study_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("study_id", sa.String(64), nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("proposed_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("study_hash", sa.LargeBinary(32), sa.ForeignKey("proposals.study_hash"), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("jws", sa.Text, nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_decisions_study_hash", "decisions", ["study_hash"])
    op.create_table(
        "rounds",
        sa.Column("round_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("study_hash", sa.LargeBinary(32), sa.ForeignKey("proposals.study_hash"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("opening", sa.Text, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closes_at_ms", sa.BigInteger, nullable=False),
        sa.Column("private_key", sa.LargeBinary, nullable=True),
        sa.Column("batch", sa.LargeBinary(32), nullable=True),
        sa.Column("noise_secret", sa.LargeBinary(32), nullable=True),
        sa.Column("marked_at_ms", sa.BigInteger, nullable=True),
        sa.Column("withdrawal_horizon", sa.BigInteger, nullable=True),
        sa.Column("opened", sa.BigInteger, nullable=True),
        sa.Column("answer", sa.LargeBinary, nullable=True),
        sa.UniqueConstraint("study_hash", "number", "bucket", name="uq_rounds_study_number_bucket"),
    )
    op.create_table(
        "withdrawals",
        sa.Column("withdrawal_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.LargeBinary(32), nullable=False),
        sa.Column("token", sa.LargeBinary(32), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("report_id", "token", name="uq_withdrawals_report_token"),
    )
    op.create_table(
        "ledger_rows",
        sa.Column("row_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("study_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop every table."""
    for name in ("facts", "ledger_rows", "withdrawals", "rounds", "decisions", "proposals"):
        op.drop_table(name)
