"""Real processes over real sockets: the command line, a leader killed in the middle, a port that is taken."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from aggregator.key_files import load_key
from privacy.crypto import SigningKey

from .world import World, vectors

ROOT = Path(__file__).parents[2]


def run(*arguments: object, check: bool = True) -> subprocess.CompletedProcess:
    """One call of the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "aggregator.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """A service as a child process."""

    def __init__(self, role: str, folder: Path, port: int) -> None:
        self.command = [sys.executable, "-m", "aggregator.cli", role, "--dir", str(folder), "--port", str(port)]
        self.url = f"http://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/ready", timeout=1).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("not ready")

    def kill(self, how: int = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(15)
        self.process.stderr.close()


@pytest.fixture
def house(tmp_path):
    """Keys and settings made by the command line, both services up."""
    leader_dir, helper_dir, officer_dir = (tmp_path / name for name in ("leader", "helper", "officer"))
    ports = {"leader": free_port(), "helper": free_port()}
    run("init", "officer", "--dir", officer_dir)
    officer = load_key(officer_dir / "officer.key").verify_key.raw.hex()
    helper_url = f"http://127.0.0.1:{ports['helper']}"
    run("init", "leader", "--dir", leader_dir, "--site", "shop", "--officer-key", officer, "--helper-url", helper_url)
    leader_key = load_key(leader_dir / "service.key").verify_key.raw.hex()
    run("init", "helper", "--dir", helper_dir, "--site", "shop", "--officer-key", officer, "--leader-key", leader_key)
    helper_key = load_key(helper_dir / "service.key").verify_key.raw.hex()
    run("configure", "--dir", leader_dir, f"helper_key={helper_key}", "budget_epsilon=8")
    run("configure", "--dir", helper_dir, "budget_epsilon=8")
    services = {
        "leader": Service("leader", leader_dir, ports["leader"]),
        "helper": Service("helper", helper_dir, ports["helper"]),
    }
    yield tmp_path, services, officer_dir
    for service in services.values():
        if service.process.poll() is None:
            service.kill(signal.SIGTERM)


class Remote(World):
    """The same test world, but over sockets."""

    def __init__(self, folder: Path, services: dict) -> None:
        self.folder, self.services = folder, services
        from aggregator.clock import Clock

        self.clock = Clock()
        self.leader_key, self.helper_key = (load_key(folder / n / "service.key") for n in ("leader", "helper"))
        self.officer = SigningKey.generate()

    async def token(self, scope: str, uses: int | None = None, seconds: float = 3_600) -> str:
        del uses, seconds
        made = await asyncio.to_thread(run, "token", "create", "--dir", self.folder / "leader", "--scope", scope)
        return made.stdout.strip()


def test_a_round_over_sockets_survives_a_killed_leader(house):
    """Propose, approve and start by command line; the leader is killed with half of the reports and loses none."""
    folder, services, officer_dir = house
    world = Remote(folder, services)

    async def story():
        async with httpx.AsyncClient(base_url=services["leader"].url) as client:
            world.leader = client
            devices = await world.devices(6)
            study = world.study(window_seconds=120.0)
            (folder / "study.json").write_bytes(study.canonical())
            token = await world.token("analyst")
            leader_url, helper_url = services["leader"].url, services["helper"].url
            run("study", "propose", folder / "study.json", "--leader", leader_url, "--token", token)
            early = run("study", "start", "moves", "--leader", leader_url, "--token", token, check=False)
            assert (early.returncode, early.stderr.count("\n")) == (2, 1)
            assert "not approved" in early.stderr
            run("study", "approve", "moves", "--dir", officer_dir, "--helper", helper_url, "--reason", "fine")
            run("study", "start", "moves", "--leader", leader_url, "--token", token)
            _, opening = await world.work()
            items = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(6), strict=True)]
            assert await world.send(*items[:3]) == ["accepted"] * 3
            await asyncio.to_thread(services["leader"].kill)
            await asyncio.to_thread(services["leader"].start)
            assert await world.send(*items[2:]) == ["accepted"] * 4
            account = await world.until(study, "finished")
            assert account["rounds"][0]["opened"] == 6
            shown = run("study", "results", "moves", "--leader", leader_url)
            assert len(json.loads(shown.stdout)["rounds"][0]["values"]) == 9

    asyncio.run(story())
    log = folder / "leader" / "store.sqlite3"
    assert log.exists()


def test_a_taken_port_is_one_clear_line(house):
    """The second service on a port says so and exits 2."""
    folder, services, _ = house
    port = services["leader"].url.rsplit(":", 1)[1]
    done = run("leader", "--dir", folder / "leader", "--port", port, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"hearthside-aggregator: 127.0.0.1 port {port} is taken; choose another with --port"
    ]
