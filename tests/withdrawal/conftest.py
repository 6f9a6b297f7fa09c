"""A small world and a store in it."""

import pytest

from client_agent.store import AgentStore
from tests.client_agent.world import World, make_store


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(tmp_path) -> AgentStore:
    opened = make_store(tmp_path / "agent")
    yield opened
    opened.close()
