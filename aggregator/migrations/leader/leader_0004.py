"""What stands of each device's consent, for look-ups; a generation number and a lease, for several workers.

The standings are written when the leader first opens the store: they are sealed under its key, which is not in here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "leader_0004"
down_revision = "leader_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables; every device's consent ended, until its chain is replayed, when it enrolled."""
    op.add_column("devices", sa.Column("person", sa.String(253), nullable=True))
    op.add_column("devices", sa.Column("standing", sa.LargeBinary, nullable=True))
    op.add_column("devices", sa.Column("seal", sa.LargeBinary(32), nullable=True))
    op.add_column("devices", sa.Column("ended_at", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE devices SET ended_at = enrolled_at_ms / 1000")
    op.create_index("ix_devices_ended_at", "devices", ["ended_at"])
    op.create_index("ix_nonces_at_ms", "nonces", ["at_ms"])
    op.create_table(
        "grants",
        sa.Column("device_id", sa.LargeBinary(16), sa.ForeignKey("devices.device_id"), primary_key=True),
        sa.Column("purpose", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_grants_counted", "grants", ["purpose", "version", "expires_at"])
    op.add_column("rounds", sa.Column("reported", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE rounds SET reported = (SELECT COUNT(*) FROM reports WHERE reports.round_id = rounds.round_id)")
    generations = op.create_table(
        "generations",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    assert generations is not None, "Alembic returns the table that it made"
    op.bulk_insert(generations, [{"name": "leader", "value": 0, "at_ms": 0}])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Back to chains that are replayed at every start."""
    for name in ("leases", "generations", "grants"):
        op.drop_table(name)
    op.drop_column("rounds", "reported")
    op.drop_index("ix_nonces_at_ms", "nonces")
    op.drop_index("ix_devices_ended_at", "devices")
    for name in ("ended_at", "seal", "standing", "person"):
        op.drop_column("devices", name)
