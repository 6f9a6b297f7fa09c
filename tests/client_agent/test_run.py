"""``hearthside-agent run`` as a process: it serves, works offline, and a polite stop ends all of it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.enrolment import Pins
from client_agent.keys import open_keyring
from client_agent.store import ParticipantRecord
from privacy.crypto import SigningKey
from simulations.demo.processes import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An agent with one person, pinned to services that are not there."""
    leader, helper, officer = (SigningKey.generate().verify_key for _ in range(3))
    pins = Pins(leader, helper, (officer,), "shop.example")
    nowhere = f"http://127.0.0.1:{free_port()}"
    agent = set_up(tmp_path, pins, Addresses(nowhere, nowhere), open_keyring(tmp_path, prefer_file=True))
    with agent.store.transaction():
        record = ParticipantRecord(secrets.token_hex(8), "me", pins.site, leader.raw, secrets.token_bytes(32), None)
        agent.store.participants.add([record])
    agent.store.close()
    return tmp_path


def test_a_polite_stop_ends_serving_and_worker_and_exits_0(folder: Path) -> None:
    """Without any leader the visitor's page is served; SIGTERM stops both servers and the resident loop."""
    port, page_port = free_port(), free_port()
    command = [sys.executable, "-m", "client_agent.cli", "run", "--dir", str(folder), "--poll", "0.1"]
    command += ["--upstream", "http://127.0.0.1:9", "--upstream-here"]
    command += ["--port", str(port), "--page-port", str(page_port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        page = f"http://localhost:{page_port}/"
        for _ in range(200):
            assert process.poll() is None
            try:
                answer = httpx.get(page, timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert answer.status_code == 200
        assert "shop.example" in answer.text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.stderr.close()
        process.wait()


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:9", "http://localhost:9", "http://shop.localhost"])
def test_a_site_whose_server_is_here_does_not_start(folder: Path, upstream: str) -> None:
    """Nothing listens; the message says why, and what to say where it is meant."""
    refused = CliRunner().invoke(cli.app, ["run", "--dir", str(folder), "--upstream", upstream])
    assert refused.exit_code == 2
    assert "--upstream-here" in refused.output
