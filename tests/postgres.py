"""A real PostgreSQL for tests: one server for each worker of a run, and a database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulations.postgres import FORGETFUL, Postgres

__all__ = ["Postgres", "postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """This worker's server, started by the first test that asks for it."""
    server = Postgres(FORGETFUL)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.remove()
