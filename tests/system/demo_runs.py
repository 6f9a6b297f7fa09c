"""The real demo as a child process, and every process that descends from it."""

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "HEARTHSIDE_TEST_RUN"
COMMAND = "from simulations.cli import main; main()"


@dataclass
class DemoRun:
    """A demo under way.

    Attributes:
        process: the command.
        mark: stands in the environment of everything that descends from it, whatever its session or parent.
        folder: the only place for its temporary files.
    """

    process: subprocess.Popen
    mark: str
    folder: Path

    def running(self) -> dict[int, str]:
        """Processes of this run that are alive, by id."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                alive = f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes().split(b"\0")
                state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if alive and state != "Z":
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it ended while it was looked at
        return found


def start_demo(folder: Path, *arguments: str) -> DemoRun:
    """Start ``hearthside demo`` with its temporary files in a folder of the test's."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )
    return DemoRun(process, mark, folder)


def run_demo(folder: Path, seed: int, devices: int, seconds: float = 280) -> tuple[dict, str, DemoRun]:
    """Run it to its end: the report, what it printed, and the run. A run that hangs is stopped and fails."""
    report = folder / "report.json"
    run = start_demo(folder, "--once", "--seed", str(seed), "--devices", str(devices), "--report", str(report))
    try:
        printed, errors = run.process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.process.terminate()
        printed, errors = run.process.communicate(timeout=60)
        raise AssertionError(f"not done in {seconds} s: {printed[-2000:]} {errors[-2000:]}") from None
    assert run.process.returncode == 0, errors
    return json.loads(report.read_text()), printed, run
