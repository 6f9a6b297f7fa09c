"""Several leader processes on one port: shared work, a worker that is killed, a start that fails, an orderly end."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx

from privacy.crypto import SigningKey

from .test_processes import ROOT, Remote, free_port, house, run
from .world import vectors

__all__ = ["house"]


def children(pid: int) -> list[int]:
    """The processes that a supervisor has started."""
    return [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def owner(folder: Path) -> tuple[str, int]:
    """Who runs the studies, by the store."""
    with sqlite3.connect(folder / "leader" / "store.sqlite3") as connection:
        return connection.execute("SELECT owner, fence FROM leases").fetchone()


def until(condition, seconds: float = 20.0):
    """Wait for something that becomes true; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)
    return found


def test_a_study_goes_on_when_the_worker_that_ran_it_is_killed(house):
    """Two workers, one round: half of the reports, kill -9 of each in turn, all reports again, one release.

    A worker whose supervisor is killed ends too, in good order.
    """
    folder, services, officer_dir = house
    services["leader"].kill(signal.SIGTERM)
    services["leader"].command += ["--workers", "2"]
    services["leader"].start()
    supervisor = services["leader"].process.pid
    until(lambda: len(children(supervisor)) == 2)
    world = Remote(folder, services)

    async def story():
        async with httpx.AsyncClient(base_url=services["leader"].url) as client:
            world.leader = client
            devices = await world.devices(6)
            study = world.study()
            study = study.model_copy(update={"helper_key": world.helper_key.verify_key.raw.hex()})
            assert (await world.propose(study)).status_code == 201
            await asyncio.to_thread(
                run, "study", "approve", study.study_id, "--dir", officer_dir, "--helper", services["helper"].url,
                "--reason", "looked at",
            )  # fmt: skip
            assert (await world.start(study)).status_code == 202
            _, opening = await world.work()
            reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(6), strict=True)]
            assert set(await world.send(*zip(devices[:3], reports[:3], strict=True))) == {"accepted"}
            before = owner(folder)
            for pid in children(supervisor):  # whichever of them runs it is among them
                os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.3)
        async with httpx.AsyncClient(base_url=services["leader"].url, timeout=20) as client:
            world.leader = client
            assert set(await world.send(*zip(devices, reports, strict=True))) == {"accepted"}
            account = await world.until(study, "finished")
            assert [(item["state"], item["reports"]) for item in account["rounds"]] == [("released", 6)]
            assert len(account["charges"]) == 1
            assert owner(folder)[1] > before[1]

    asyncio.run(story())
    workers = until(lambda: len(children(supervisor)) == 2 and children(supervisor))
    services["leader"].kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert owner(folder)[0] == "", "they ended in good order: the lease was handed back"


def test_a_start_that_cannot_succeed_is_one_line(tmp_path):
    """A damaged store is said once, not once a worker, and nothing is tried again."""
    helper_key = SigningKey.generate().verify_key.raw.hex()
    run("init", "leader", "--dir", tmp_path / "leader", "--helper-key", helper_key)
    (tmp_path / "leader" / "store.sqlite3").write_bytes(b"no database" * 1_000)
    done = run("leader", "--dir", tmp_path / "leader", "--port", free_port(), "--workers", "2", check=False)
    assert done.returncode != 0
    assert done.stderr.count("the store") == 1
    assert "Traceback" not in done.stderr


def test_workers_that_die_at_once_are_started_again_more_and_more_slowly(tmp_path):
    """A worker that cannot live does not keep the machine busy: the pauses double. SIGTERM ends it all."""
    script = f"""
import os, signal, threading
from aggregator.workers import Supervisor
def work(report):
    report()
    with open({str(tmp_path / "starts")!r}, "a") as file: file.write("x")
threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
Supervisor(3, work).run()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 2 * 3 <= len((tmp_path / "starts").read_text()) <= 6 * 3
