"""Durable memory: SQLAlchemy 2, SQLite by default (WAL, every commit on disk, deleted bytes overwritten) or PostgreSQL.

``database`` opens a store and serialises changes; ``leader`` and ``helper`` hold the tables and their few queries.
"""
