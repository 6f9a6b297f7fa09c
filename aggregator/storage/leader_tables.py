"""The leader's tables. Times are Unix milliseconds; digests, keys and frames are raw bytes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

from aggregator.storage.access_tables import add_action_table, add_token_table

METADATA = MetaData()

devices = Table(
    "devices",
    METADATA,
    Column("device_id", LargeBinary(16), primary_key=True),
    Column("device_key", LargeBinary(32), nullable=False, unique=True),
    Column("enrolled_at_ms", BigInteger, nullable=False),
    Column("person", String(253), nullable=True),
    Column("standing", LargeBinary, nullable=True),
    Column("seal", LargeBinary(32), nullable=True),
    Column("ended_at", BigInteger, nullable=False, server_default="0"),
    Column("revoked_at_ms", BigInteger, nullable=True),
    Column("rotations", Integer, nullable=False, server_default="0"),
    Index("ix_devices_ended_at", "ended_at"),
)
"""``standing`` is what follows from the device's consent rows, sealed under the leader's key; ``ended_at`` is the time
(Unix seconds) from which nothing here is anybody's consent any more."""

device_keys = Table(
    "device_keys",
    METADATA,
    Column("device_key", LargeBinary(32), primary_key=True),
    Column("device_id", LargeBinary(16), ForeignKey("devices.device_id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("replaced_at_ms", BigInteger, nullable=False),
    Column("rotation", Text, nullable=False),
    Index("ix_device_keys_device", "device_id", "position", unique=True),
)
"""Keys that devices had before the one in ``devices``, and what both keys signed of each change."""

grants = Table(
    "grants",
    METADATA,
    Column("device_id", LargeBinary(16), ForeignKey("devices.device_id"), primary_key=True),
    Column("purpose", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_grants_counted", "purpose", "version", "expires_at"),
)
"""For counting alone: whether a report is let in, the standing says."""

nonces = Table(
    "nonces",
    METADATA,
    Column("nonce", LargeBinary(16), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_nonces_at_ms", "at_ms"),
)

tokens = add_token_table(METADATA)
actions = add_action_table(METADATA)

consent_rows = Table(
    "consent_rows",
    METADATA,
    Column("device_id", LargeBinary(16), ForeignKey("devices.device_id"), primary_key=True),
    Column("row_index", Integer, primary_key=True),
    Column("person", String(253), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

studies = Table(
    "studies",
    METADATA,
    Column("study_hash", LargeBinary(32), primary_key=True),
    Column("study_id", String(64), nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("proposed_at_ms", BigInteger, nullable=False),
    Column("log_index", BigInteger, nullable=False),
    Column("decision", Text, nullable=True),
    Column("final_model", LargeBinary, nullable=True),
    Column("schedule", Text, nullable=True),
)

models = Table(
    "models",
    METADATA,
    Column("model_hash", LargeBinary(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

rounds = Table(
    "rounds",
    METADATA,
    Column("round_id", Integer, primary_key=True, autoincrement=True),
    Column("study_hash", LargeBinary(32), ForeignKey("studies.study_hash"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("model_hash", LargeBinary(32), nullable=False),
    Column("context", LargeBinary(32), nullable=False, unique=True),
    Column("opening", Text, nullable=False),
    Column("closes_at_ms", BigInteger, nullable=False),
    Column("reported", BigInteger, nullable=False, server_default="0"),
    Column("reports", BigInteger, nullable=True),
    Column("wrapping", LargeBinary(16), nullable=True),
    Column("wrapped_noise", LargeBinary, nullable=True),
    Column("costs", Text, nullable=True),
    Column("answer", LargeBinary, nullable=True),
    Column("opened", BigInteger, nullable=True),
    Column("released_at_ms", BigInteger, nullable=True),
    Column("total", LargeBinary, nullable=True),
    Column("detail", Text, nullable=False),
)

reports = Table(
    "reports",
    METADATA,
    Column("round_id", Integer, ForeignKey("rounds.round_id"), primary_key=True),
    Column("device_id", LargeBinary(16), primary_key=True),
    Column("report_id", LargeBinary(32), nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
    Column("seal", LargeBinary, nullable=True),
    Column("masked", LargeBinary, nullable=True),
    Column("segment", String(32), nullable=True),
    Column("position", BigInteger, nullable=True),
    Column("seal_bytes", Integer, nullable=True),
    Column("masked_bytes", Integer, nullable=True),
    Column("masked_sha256", LargeBinary(32), nullable=True),
    Index("ix_reports_round_report", "round_id", "report_id", unique=True),
)
"""A report's bytes are in its row, or in a file: ``segment`` names it, the seal stands at ``position``, and the masked
vector behind it."""

taken_back = Table(
    "taken_back",
    METADATA,
    Column("round_id", Integer, ForeignKey("rounds.round_id"), primary_key=True),
    Column("device_id", LargeBinary(16), primary_key=True),
    Column("report_id", LargeBinary(32), nullable=True),
)

log_entries = Table(
    "log_entries",
    METADATA,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

ledger_rows = Table(
    "ledger_rows",
    METADATA,
    Column("row_index", BigInteger, primary_key=True, autoincrement=False),
    Column("study_hash", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

bundles = Table(
    "bundles",
    METADATA,
    Column("bundle_version", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("published_at_ms", BigInteger, nullable=False),
)

facts = Table(
    "facts",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

generations = Table(
    "generations",
    METADATA,
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""One row: how often rounds, studies, log or bundles have changed, and when they last did."""

leases = Table(
    "leases",
    METADATA,
    Column("name", String(16), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
