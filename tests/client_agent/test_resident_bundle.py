"""The resident agent and its bundle, over real HTTP: the hourly look, what is taken back, what is old."""

import datetime as dt
import json
import logging

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.keys import FileKeyring
from client_agent.resident import Resident
from models.wire.problems import ProblemError
from tests import bundles
from tests.bundles import bundle, change
from tests.system.test_bundle_attacks import Hostile, serving

HOUR_SECONDS, DAY_SECONDS = 3_600, 86_400


@pytest.fixture
def server(tmp_path):
    with serving(Hostile(tmp_path / "leader")) as hostile:
        yield hostile


def test_an_agent_drops_what_was_taken_back_and_says_what_is_old(world, store, server, tmp_path, caplog):
    """An hour after a revocation the bundle is gone; weeks without a leader it is in use, and said to be old."""
    site, folder = world.pins.site, store._database.path.parent
    now = lambda: dt.datetime.fromtimestamp(world.clock.ms / 1_000, tz=dt.UTC)  # noqa: E731 - one word for many looks
    made = bundles.repository(tmp_path / "leader", [world.officer], now(), site=site)
    made.publish(bundle(1, site=site), now())
    agent = set_up(folder, world.pins, Addresses(server.url, server.url), FileKeyring(folder))
    resident = Resident(agent, world.clock, 1.0)

    def version() -> int | None:
        return resident.bundle().bundle.bundle_version if resident.bundle() is not None else None

    def status() -> dict | None:
        done = CliRunner().invoke(cli.app, ["status", "--json", "--dir", str(folder)], catch_exceptions=False)
        return json.loads(done.stdout)["bundle"]

    assert (version(), status()) == (None, None)
    resident._keep_bundle()
    assert version() == 1
    made.publish(bundle(2, site=site), now())
    resident._keep_bundle()
    assert version() == 1, "nothing was announced, and it is not an hour yet"
    world.clock.advance(HOUR_SECONDS)
    resident._keep_bundle()
    assert version() == 2
    server.folder = tmp_path / "nothing"
    world.clock.advance(20 * DAY_SECONDS)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(ProblemError, match="could not be fetched"):
                resident._keep_bundle()
    assert [record.getMessage() for record in caplog.records if "is old" in record.getMessage()][1:] == []
    assert "bundle 2 is old" in caplog.text
    assert Resident(agent, world.clock, 1.0).bundle().bundle.bundle_version == version() == 2
    assert status()["version"] == 2
    server.folder = tmp_path / "leader"
    change(made, [world.officer], now(), revoke=True)
    resident._keep_bundle()
    assert (version(), status()) == (None, None)
    assert Resident(agent, world.clock, 1.0).bundle() is None
