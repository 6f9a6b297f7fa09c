"""Both databases for the contract suites."""

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request, tmp_path):
    """URLs of stores that nobody has used: an empty one, or on PostgreSQL a copy of a service's newest schema."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").fresh
    made = iter(range(100))
    return lambda schema=None: f"sqlite+aiosqlite:///{tmp_path / f'{schema}-{next(made)}.sqlite3'}"
