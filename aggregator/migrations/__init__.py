"""Alembic migrations of both services, run on start-up."""
