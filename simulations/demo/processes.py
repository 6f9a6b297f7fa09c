"""The demo's processes: started, watched and stopped by their ids; none survives the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

_STOP_SECONDS = 8.0
_POLL_SECONDS = 0.05


class ProcessFailed(Exception):
    """A process of the demo ended early or never became ready; the message names its log."""


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """One child process with its log."""

    name: str
    popen: subprocess.Popen[str]
    log: Path

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            ProcessFailed: with the last line of its log.
        """
        code = self.popen.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "no output"
            raise ProcessFailed(f"{self.name} ended with code {code}: {last} (see {self.log})")


@dataclass
class Supervisor:
    """Starts processes and stops every one of them when the block ends, whatever happened in it."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    def start(self, name: str, arguments: Sequence[str], *, pipes: bool = False) -> Process:
        """Start ``python -m ARGUMENTS`` with its output in ``FOLDER/NAME.log``."""
        log = self.folder / f"{name}.log"
        fixed = {
            "FLWR_TELEMETRY_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "torch"),  # torch makes a folder in /tmp otherwise
        }
        environment = {**os.environ, **fixed, **self.environment}
        with log.open("w") as output:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops its children in order.
            popen = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of the demo's own
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                env=environment,
                text=True,
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def wait_ready(self, process: Process, url: str, seconds: float = 60.0) -> None:
        """Wait until a service answers 200.

        Raises:
            ProcessFailed: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process.check()
            try:
                if httpx.get(url, timeout=1.0).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_SECONDS)
        raise ProcessFailed(f"{process.name} was not ready within {seconds:.0f} s (see {process.log})")

    def check(self) -> None:
        """Raise if any process has ended."""
        for process in self.processes:
            process.check()

    def stop(self) -> None:
        """Stop all processes, the last started first: politely, then for good, whatever they started included."""
        for process in reversed(self.processes):
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in reversed(self.processes):
            try:
                process.popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
            _end_session(process.popen.pid)
            _close(process.popen.stdin, process.popen.stdout)
        self.processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _end_session(leader: int) -> None:
    """Kill what is left of a process's session: an agent's worker may outlive the agent for some seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _close(*pipes: IO[str] | None) -> None:
    for pipe in pipes:
        if pipe is not None:
            pipe.close()
