"""The store's tables, one migration after the other; the schema's version is SQLite's ``user_version``."""

from __future__ import annotations

from typing import Final

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE participants (
        participant_id TEXT PRIMARY KEY,
        person TEXT NOT NULL,
        site TEXT NOT NULL,
        leader BLOB NOT NULL,
        seed BLOB NOT NULL,
        device_id BLOB,
        enrolled_at_ms INTEGER,
        UNIQUE (leader, site, person)
    );
    CREATE TABLE receipts (
        sequence INTEGER PRIMARY KEY,
        participant_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        jws TEXT NOT NULL,
        countersignature TEXT,
        state TEXT NOT NULL,
        UNIQUE (participant_id, digest)
    );
    CREATE TABLE consent_changes (
        participant_id TEXT PRIMARY KEY,
        change INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX consent_changes_by_number ON consent_changes (change);
    CREATE INDEX receipts_waiting ON receipts (state) WHERE state = 'waiting';
    CREATE TABLE consent_rows (
        participant_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (participant_id, position)
    ) WITHOUT ROWID;
    CREATE TABLE ledger_rows (
        owner TEXT NOT NULL,
        filter TEXT NOT NULL,
        position INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (owner, filter, position)
    ) WITHOUT ROWID;
    CREATE TABLE ledger_heads (
        owner TEXT NOT NULL,
        filter TEXT NOT NULL,
        head BLOB NOT NULL,
        length INTEGER NOT NULL,
        PRIMARY KEY (owner, filter)
    ) WITHOUT ROWID;
    CREATE TABLE rounds (
        study_hash BLOB NOT NULL,
        round INTEGER NOT NULL,
        opening BLOB NOT NULL,
        purpose TEXT NOT NULL,
        closes_at_ms INTEGER NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (study_hash, round)
    ) WITHOUT ROWID;
    CREATE TABLE reports (
        study_hash BLOB NOT NULL,
        round INTEGER NOT NULL,
        participant_id TEXT NOT NULL,
        report_id BLOB NOT NULL,
        token BLOB NOT NULL,
        state TEXT NOT NULL,
        slot_ms INTEGER NOT NULL,
        frame BLOB NOT NULL,
        UNIQUE (study_hash, round, participant_id)
    );
    CREATE INDEX reports_due ON reports (state, slot_ms);
    CREATE INDEX reports_unsent ON reports (study_hash, round) WHERE state <> 'sent';
    CREATE INDEX reports_of ON reports (participant_id);
    CREATE TABLE taken_back (
        report_id BLOB PRIMARY KEY,
        token BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE tallies (
        purpose TEXT NOT NULL,
        name TEXT NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (purpose, name)
    ) WITHOUT ROWID;
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,
        participant_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (participant_id, event_id)
    );
    CREATE INDEX events_of ON events (participant_id, at_ms);
    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    INSERT INTO facts SELECT 'consents-change', coalesce(max(change), 0) FROM consent_changes;
    ALTER TABLE rounds ADD COLUMN barred INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY,
        leader BLOB NOT NULL,
        device_id BLOB NOT NULL,
        jws TEXT NOT NULL UNIQUE
    );
    """,
    """
    ALTER TABLE reports ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    ALTER TABLE taken_back ADD COLUMN study_hash BLOB NOT NULL DEFAULT x'';
    ALTER TABLE taken_back ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE taken_back ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
    """,
    """
    CREATE TABLE people (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('adult', 'child')),
        pin_salt BLOB,
        pin_digest BLOB,
        failures INTEGER NOT NULL DEFAULT 0,
        failed_at_ms INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE browsers (
        page BLOB PRIMARY KEY,
        site BLOB UNIQUE,
        person TEXT NOT NULL,
        lasting INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        used_at_ms INTEGER NOT NULL,
        opened_at_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX browsers_of ON browsers (person);
    """,
    """
    ALTER TABLE rounds ADD COLUMN study_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE rounds ADD COLUMN title TEXT NOT NULL DEFAULT '';
    CREATE INDEX reports_by_id ON reports (report_id);
    CREATE TABLE contributions (
        participant_id TEXT NOT NULL,
        study_hash BLOB NOT NULL,
        round INTEGER NOT NULL,
        report_id BLOB NOT NULL,
        sent_at_ms INTEGER,
        taken_back INTEGER NOT NULL DEFAULT 0,
        helper TEXT CHECK (helper IN ('kept', 'late')),
        confirmation TEXT,
        removal TEXT,
        PRIMARY KEY (participant_id, study_hash, round)
    ) WITHOUT ROWID;
    CREATE INDEX contributions_by_report ON contributions (report_id);
    CREATE INDEX contributions_by_round ON contributions (study_hash, round);
    INSERT INTO contributions (participant_id, study_hash, round, report_id, sent_at_ms)
        SELECT participant_id, study_hash, round, report_id, slot_ms FROM reports WHERE state <> 'reserved';
    """,
    # No heads are made from rows that are there: nothing outside of such a store says that it is the newest copy, so
    # what it grants does not count until the person chooses again.
    """
    CREATE TABLE consent_heads (
        participant_id TEXT PRIMARY KEY,
        bucket INTEGER NOT NULL,
        head BLOB NOT NULL,
        length INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        fault TEXT
    ) WITHOUT ROWID;
    CREATE INDEX consent_heads_by_bucket ON consent_heads (bucket);
    CREATE TABLE consent_buckets (
        bucket INTEGER PRIMARY KEY,
        digest BLOB NOT NULL
    );
    CREATE TABLE consent_evidence (
        sequence INTEGER PRIMARY KEY,
        participant_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE clock_marks (
        segment INTEGER PRIMARY KEY,
        seen_at INTEGER NOT NULL
    );
    ALTER TABLE receipts ADD COLUMN clock_segment INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE gpc_applications (
        participant_id TEXT NOT NULL,
        day INTEGER NOT NULL,
        gate TEXT NOT NULL,
        purpose TEXT NOT NULL,
        withheld INTEGER NOT NULL,
        PRIMARY KEY (participant_id, day, gate, purpose)
    ) WITHOUT ROWID;
    """,
    # Browsers of before have no secret: whoever is at one says again who they are.
    """
    DELETE FROM browsers;
    ALTER TABLE browsers ADD COLUMN secret BLOB NOT NULL DEFAULT x'';
    """,
    # What each report weighs: of one whose round is over nothing is left to weigh.
    """
    ALTER TABLE contributions ADD COLUMN size_bytes INTEGER;
    UPDATE contributions SET size_bytes = (
        SELECT nullif(length(frame), 0) FROM reports WHERE reports.report_id = contributions.report_id
    );
    """,
    # How often a leader refused a withdrawal, and from when on it is sent again; NULL where it is not.
    """
    ALTER TABLE receipts ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE receipts ADD COLUMN due_at INTEGER;
    ALTER TABLE outbox ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
    """,
    # A change of key on its way: the key that comes, and what both keys signed of it, until the leader has confirmed.
    """
    ALTER TABLE participants ADD COLUMN next_seed BLOB;
    ALTER TABLE participants ADD COLUMN rotation TEXT;
    ALTER TABLE participants ADD COLUMN rotations INTEGER NOT NULL DEFAULT 0;
    """,
)
"""Statement blocks; block i takes a store from version i to version i + 1."""
