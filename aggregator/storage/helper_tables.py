"""The helper's tables. Times are Unix milliseconds; digests, keys and frames are raw bytes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from aggregator.storage.access_tables import add_action_table, add_token_table

METADATA = MetaData()
tokens = add_token_table(METADATA)
actions = add_action_table(METADATA)
OPEN, MARKED, ANSWERED, REFUSED = "open", "marked", "answered", "refused"
"""States of a round: its batch may come; it came and is charged; it has its answer, be it that too few are left."""
EXPIRED, OVERRUN = "expired", "overrun"
"""States of a round that is never answered: nobody asked in time, or its list of withdrawals ran over."""

proposals = Table(
    "proposals",
    METADATA,
    Column("study_hash", LargeBinary(32), primary_key=True),
    Column("study_id", String(64), nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("proposed_at_ms", BigInteger, nullable=False),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("decision_id", Integer, primary_key=True, autoincrement=True),
    Column("study_hash", LargeBinary(32), ForeignKey("proposals.study_hash"), nullable=False, index=True),
    Column("decision", String(16), nullable=False),
    Column("jws", Text, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
)

rounds = Table(
    "rounds",
    METADATA,
    Column("round_id", Integer, primary_key=True, autoincrement=True),
    Column("study_hash", LargeBinary(32), ForeignKey("proposals.study_hash"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("model_hash", LargeBinary(32), nullable=False),
    Column("opening", Text, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("closes_at_ms", BigInteger, nullable=False),
    Column("wrapping", LargeBinary(16), nullable=True),
    Column("wrapped_key", LargeBinary, nullable=True),
    Column("costs", Text, nullable=True),
    Column("batch", LargeBinary(32), nullable=True),
    Column("wrapped_noise", LargeBinary, nullable=True),
    Column("marked_at_ms", BigInteger, nullable=True),
    Column("withdrawal_horizon", BigInteger, nullable=True),
    Column("opened", BigInteger, nullable=True),
    Column("answer", LargeBinary, nullable=True),
    Column("answering", LargeBinary(16), nullable=True),
    Column("answering_until_ms", BigInteger, nullable=True),
    UniqueConstraint("study_hash", "number", "bucket", name="uq_rounds_study_number_bucket"),
)

withdrawals = Table(
    "withdrawals",
    METADATA,
    Column("withdrawal_id", Integer, primary_key=True, autoincrement=True),
    Column("report_id", LargeBinary(32), nullable=False),
    Column("token", LargeBinary(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("round_id", Integer, nullable=True),
    Index("ix_withdrawals_round", "round_id"),
    UniqueConstraint("report_id", "token", name="uq_withdrawals_report_token"),
)

nonces = Table(
    "nonces",
    METADATA,
    Column("nonce", LargeBinary(32), primary_key=True),
    Column("used_at_ms", BigInteger, nullable=False),
    Index("ix_nonces_used", "used_at_ms"),
)

ledger_rows = Table(
    "ledger_rows",
    METADATA,
    Column("row_index", BigInteger, primary_key=True, autoincrement=False),
    Column("study_hash", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

facts = Table(
    "facts",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
