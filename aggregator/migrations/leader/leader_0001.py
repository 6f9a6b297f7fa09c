"""First schema of the leader."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "leader_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "devices",
        sa.Column("device_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("device_key", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("enrolled_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "nonces",
        sa.Column("nonce", sa.LargeBinary(16), primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("uses_left", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "consent_rows",
        sa.Column("device_id", sa.LargeBinary(16), sa.ForeignKey("devices.device_id"), primary_key=True),
        sa.Column("row_index", sa.Integer, primary_key=True),
        sa.Column("person", sa.String(253), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "studies",
        sa.Column("study_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("study_id", sa.String(64), nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("proposed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("log_index", sa.BigInteger, nullable=False),
        sa.Column("decision", sa.Text, nullable=True),
        sa.Column("final_model", sa.LargeBinary, nullable=True),
    )
    op.create_table(
        "models",
        sa.Column("model_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "rounds",
        sa.Column("round_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("study_hash", sa.LargeBinary(32), sa.ForeignKey("studies.study_hash"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("context", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("opening", sa.Text, nullable=False),
        sa.Column("closes_at_ms", sa.BigInteger, nullable=False),
        sa.Column("reports", sa.BigInteger, nullable=True),
        sa.Column("noise_secret", sa.LargeBinary(32), nullable=True),
        sa.Column("answer", sa.LargeBinary, nullable=True),
        sa.Column("opened", sa.BigInteger, nullable=True),
        sa.Column("released_at_ms", sa.BigInteger, nullable=True),
        sa.Column("total", sa.LargeBinary, nullable=True),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_rounds_study_hash", "rounds", ["study_hash"])
    op.create_table(
        "reports",
        sa.Column("round_id", sa.Integer, sa.ForeignKey("rounds.round_id"), primary_key=True),
        sa.Column("device_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("report_id", sa.LargeBinary(32), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.Column("masked", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "log_entries",
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_rows",
        sa.Column("row_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("study_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "bundles",
        sa.Column("bundle_version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("published_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop every table."""
    for name in (
        "facts",
        "bundles",
        "ledger_rows",
        "log_entries",
        "reports",
        "rounds",
        "models",
        "studies",
        "consent_rows",
        "tokens",
        "nonces",
        "devices",
    ):
        op.drop_table(name)
