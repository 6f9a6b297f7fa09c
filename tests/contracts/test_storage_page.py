"""Every command of docs/storage.md, run as it stands there."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.aggregator.test_processes import free_port
from tests.aggregator.world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "storage.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.soak
def test_the_commands_of_the_page_do_what_it_says(tmp_path, postgres):
    """Several processes, back-up while they run, refusal while they run, restore at rest, and the dump's way."""
    port, url = free_port(), postgres.fresh("leader")
    key = World(tmp_path).leader_key.verify_key.raw.hex()
    (tmp_path / "leader" / "settings.json").write_text(json.dumps({"database_url": url, "helper_key": key}))
    (tmp_path / "helper" / "settings.json").write_text(json.dumps({"leader_key": key}))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (programs / name).symlink_to(postgres.program(name))
    (programs / "hearthside-aggregator").write_text(f'#!/bin/sh\nexec {sys.executable} -m aggregator.cli "$@"\n')
    (programs / "hearthside-aggregator").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LEADER_DATABASE": postgres.dsn(url.partition("@/")[2].partition("?")[0]),
    }

    def shell(command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    serve, *others = COMMANDS
    assert [command.split()[:2] for command in COMMANDS] == [
        ["hearthside-aggregator", "helper"],
        ["hearthside-aggregator", "backup"],
        ["pg_dump", "--format=custom"],
        ["hearthside-aggregator", "restore"],
        ["pg_restore", "--clean"],
        ["hearthside-aggregator", "restore"],
    ]
    service = subprocess.Popen(
        ["sh", "-c", f"exec {serve} --port {port}"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, tmp_path / "helper" / "spool", 2)
        assert shell(others[0]).returncode == 0
        refused = shell(others[2])
        assert (refused.returncode, "running" in refused.stderr) == (2, True)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(20)
    for command in others[1:]:
        done = shell(command)
        assert done.returncode == 0, (command, done.stderr)
    assert (tmp_path / "leader" / "restored").exists()
    assert (tmp_path / "helper" / "store.sqlite3.before").exists()


def _wait_for(port: int, spool: Path, processes: int) -> None:
    """Until the service answers and each of its processes has its own folder of spools."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            ready = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=1).is_success
            if ready and sum(path.is_dir() for path in spool.iterdir()) == processes:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("not ready")
