"""The aggregator's bench: every part runs against real services, and each of its rows says what it has to."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from aggregator.helper.app import create_app as create_helper
from aggregator.leader.app import create_app as create_leader
from aggregator.server import make_server
from aggregator.settings import HelperSettings, LeaderSettings
from simulations.bench import aggregator
from simulations.bench.aggregator_house import _CONTRACT, SITE, BenchHouse
from simulations.bench.aggregator_line import Line, LoadFailed, require
from simulations.bench.aggregator_load import Post, check_ins, pump
from simulations.bench.rows import to_json
from simulations.demo.processes import Supervisor, free_port
from simulations.house import build_house


@contextmanager
def serving(*made):
    """Applications behind their real servers, in a thread: a process each would take longer than the rest."""
    servers, started = [], threading.Event()

    async def serve():
        running = [asyncio.create_task(server.serve()) for server in servers]
        while not all(server.started for server in servers):  # noqa: ASYNC110 - the library has no event for it
            await asyncio.sleep(0.01)
        started.set()
        await asyncio.gather(*running)

    for application, settings, port in made:
        servers.append(make_server(application, settings))
        servers[-1].config.port = port
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    yield
    for server in servers:
        server.should_exit = True
    thread.join(20)


@contextmanager
def small_house(folder: Path, postgres):
    """What the bench measures, in this process but for the bare loop."""
    ports, now = (free_port(), free_port()), dt.datetime.now(dt.UTC)
    stores = {role: postgres.fresh(role) for role in ("leader", "helper")}
    house = build_house(folder / "house", SITE, _CONTRACT, *ports, now, databases=stores)
    leader, helper = LeaderSettings.read(house.leader_folder), HelperSettings.read(house.helper_folder)
    applications = (create_leader(leader), leader, ports[0]), (create_helper(helper), helper, ports[1])
    here = SimpleNamespace(popen=SimpleNamespace(pid=os.getpid()))
    with serving(*applications), Supervisor(folder) as supervisor:
        clients = httpx.Client(base_url=house.leader_url), httpx.Client(base_url=house.helper_url)
        with clients[0], clients[1]:
            yield BenchHouse(house, postgres, here, supervisor, clients)


def test_every_part_runs(tmp_path, postgres, monkeypatch):
    """Check-ins, enrolments, reports, memory, the bare loop and the floors: each has its row, with target and peer."""
    monkeypatch.setattr(aggregator, "bench_house", lambda *_: small_house(tmp_path, postgres))
    monkeypatch.setattr(BenchHouse, "leaders", lambda _: [os.getpid()])
    shown = set()
    options = aggregator.Options(quick=True, show=lambda what, done, total: shown.add((what, done <= total)))
    rows = {row.name: row for row in aggregator.run(options)}
    assert all(row.ours > 0 or "memory" in row.name for row in rows.values())
    targets = {row.target for row in rows.values()}
    assert targets == {None, 100.0, 500.0, 2_000.0, 3.0}
    reports = [row for name, row in rows.items() if name.startswith("verified reports")]
    assert [row.ratio for row in reports] == [pytest.approx(row.ours / row.peer) for row in reports]
    assert sum(name.startswith("floor") for name in rows) == 3
    assert len(json.loads(to_json(list(rows.values())))) == len(rows)
    assert {done for _, done in shown} == {True}


class Slow:
    """A service that answers after a while; one request at a time keeps the others waiting."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def __call__(self, scope, receive, send):
        del scope, receive
        time.sleep(self.seconds)  # noqa: ASYNC251 - nobody else is answered meanwhile: that is what is tested
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def slow_service(seconds: float):
    import uvicorn

    config = uvicorn.Config(Slow(seconds), port=free_port(), log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.config.port}"
    server.should_exit = True
    thread.join(10)


def test_waiting_requests_count_from_when_they_were_due():
    """A service that needs 20 ms a request and is asked 100 times a second falls behind: the latencies say so."""
    with slow_service(0.02) as url:
        took = asyncio.run(check_ins(url, 10, 100.0, 0.5, lambda *_: None))
    assert len(took.milliseconds) > 20
    assert took.at(0.99) > 5 * 20
    assert took.at(0.5) <= took.at(0.95) <= took.at(1.0)


def test_an_answer_that_is_no_success_ends_the_run():
    """A benchmark of refusals would be fast and worthless."""
    with slow_service(0.0) as url:

        async def story():
            assert (await pump(url, [[Post("/x", b"1")]] * 3, 2, lambda *_: None, "")).seconds > 0
            async with Line(url) as line:
                return require(await line.ask("GET", "/"), 304)

        with pytest.raises(LoadFailed, match="expected status"):
            asyncio.run(story())


@pytest.mark.soak
def test_the_command_measures_real_processes():
    """``hearthside bench aggregator --quick --json``: leader and helper by their own commands, over PostgreSQL."""
    command = [sys.executable, "-c", "from simulations.cli import main; main()"]
    done = subprocess.run(
        [*command, "bench", "aggregator", "--quick", "--json"], capture_output=True, text=True, timeout=180, check=True
    )
    assert {row["unit"] for row in json.loads(done.stdout)} == {"ms", "a second", "s", "models"}
