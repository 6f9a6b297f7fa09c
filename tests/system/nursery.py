"""Services that are started hundreds of times: forked from one process that has imported all of it already.

What is forked is the command as it stands, in a process group of its own, and what it finds is what any
new process finds: folder, store and port. Only the seconds that Python takes to import are saved. Whoever holds the
other end of its standard input may go away at any time: all services end with it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Self

_IMPORTED = ("aggregator.leader.app", "aggregator.helper.app", "aggregator.leader.strategy", "aggregator.server")
_DRIVERS = ("aiosqlite", "asyncpg", "uvicorn.protocols.http.h11_impl", "aggregator.cli")
_BECOME_SUBREAPER = 36
_END_SECONDS = 10.0
ROOT = Path(__file__).parents[2]


class Nursery:
    """The tests' end of it."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.system.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.stdin.close()
        try:
            self._popen.wait(2 * _END_SECONDS)
        finally:
            self._popen.kill()
            self._popen.wait()
            self._popen.stdout.close()

    def start(self, arguments: list[str], log: Path) -> int:
        """Start ``hearthside-aggregator ARGUMENTS``; returns the id of its process and of its group."""
        return self._ask({"start": arguments, "log": str(log)})

    def kill(self, pid: int) -> None:
        """Kill -9 of every process of a service at once; returns when they are gone."""
        self._ask({"kill": pid})

    def _ask(self, request: dict) -> int:
        self._popen.stdin.write(json.dumps(request) + "\n")
        self._popen.stdin.flush()
        return int(self._popen.stdout.readline())


def main() -> None:
    """Do as told, line by line; at the end of the lines, end every service."""
    ctypes.CDLL(None, use_errno=True).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)  # workers whose supervisor died come here
    for name in (*_IMPORTED, *_DRIVERS):
        importlib.import_module(name)
    living: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer = _fork(request["start"], request["log"])
            living.add(answer)
        else:
            answer = request["kill"]
            _kill(answer)
            living.discard(answer)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    _end(living)


def _fork(arguments: list[str], log: str) -> int:
    pid = os.fork()
    if pid:
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        return pid
    try:
        os.setpgid(0, 0)  # here and there: whoever comes first
        nothing, output = os.open(os.devnull, os.O_RDWR), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from aggregator.cli import main as run

        sys.argv = ["hearthside-aggregator", *arguments]
        run()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
        traceback.print_exc()
    os._exit(1)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _end(living: set[int]) -> None:
    for group in living:
        with suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    deadline = time.monotonic() + _END_SECONDS
    while living and time.monotonic() < deadline:
        for group in set(living):
            with suppress(ChildProcessError):
                if os.waitpid(group, os.WNOHANG)[0] == 0:
                    continue
            living.discard(group)
        time.sleep(0.02)
    for group in living:
        _kill(group)


if __name__ == "__main__":
    main()
