"""What is measured: the real leader and helper, each by its own command, over a real PostgreSQL on this disk."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from models.wire.limits import WINDOW_SECONDS
from models.wire.rounds import OPENING_TYPE, Opening, Work
from models.wire.studies import Study
from privacy.accounting import Contract
from privacy.crypto import verify_document
from simulations.bench.aggregator_crowd import Crowd, Reporting
from simulations.bench.aggregator_line import LoadFailed
from simulations.bench.crowd import resident
from simulations.demo.parties import Analyst, Officer
from simulations.demo.plans import Draft
from simulations.demo.processes import Process, Supervisor, free_port
from simulations.house import House, build_house
from simulations.postgres import Postgres

Found = TypeVar("Found")
SITE: Final = "bench"
PURPOSES: Final = ("measurement", "intent")
_CONTRACT: Final = Contract(epsilon=8.0, delta=1e-5, order=4, window_seconds=WINDOW_SECONDS)
"""Wide: it is not the budget that is measured."""
_OPEN_SECONDS: Final = 60.0
_RELEASE_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.02
_CLEAR_PEAK: Final = "5"
"""Written to ``/proc/PID/clear_refs``: the peak of the resident memory starts anew from what is resident now."""


@dataclass
class BenchHouse:
    """Both services up, and the people and devices who use them.

    Attributes:
        house: folders, keys and tokens.
        postgres: the server, which the bare loop uses too.
        leader: the process of the leader's command; its workers are its children.
        supervisor: stops every process at the end.
    """

    house: House
    postgres: Postgres
    leader: Process
    supervisor: Supervisor
    clients: tuple[httpx.Client, httpx.Client] = field(repr=False)

    @property
    def url(self) -> str:
        """The leader's."""
        return self.house.leader_url

    def crowd(self) -> Crowd:
        """Devices of this leader."""
        return Crowd(self.house.pins.leader_key, SITE, self.house.tokens["enrol"], PURPOSES)

    def open(self, draft: Draft) -> Reporting:
        """Propose, approve and start a study; returns its first round, once that is open."""
        leader, helper = self.clients
        analyst, officer = Analyst(leader, self.house.tokens["analyst"]), Officer(helper, self.house.officer)
        now_ms = time.time_ns() // 1_000_000
        study = draft.build(self.house.parties(now_ms))
        analyst.propose(study)
        officer.decide(study, "approve", "a benchmark", now_ms)
        analyst.start(study.study_id)
        opening = _until(lambda: self._opening(study), _OPEN_SECONDS, f"study {study.study_id} did not open")
        return Reporting(self.house.pins.leader_key, study, opening)

    def _opening(self, study: Study) -> Opening | None:
        work = Work.model_validate_json(self.clients[0].get("/v1/work").content)
        for item in work.rounds:
            if item.study.study_id == study.study_id:
                document = verify_document(item.opening, OPENING_TYPE, (self.house.pins.helper_key,))
                return Opening.model_validate(document)
        return None

    def released(self, study: Study) -> dict[str, Any]:
        """Wait for a study's end; returns its account."""
        analyst = Analyst(self.clients[0], self.house.tokens["analyst"])

        def finished() -> dict[str, Any] | None:
            account = analyst.status(study.study_id)
            if account["state"] == "failed":
                raise LoadFailed(f"study {study.study_id} failed: {account}")
            return account if account["state"] == "finished" else None

        return _until(finished, _RELEASE_SECONDS, f"study {study.study_id} did not end")

    def leaders(self) -> list[int]:
        """The processes that answer for the leader: its workers, or itself where it has none."""
        pid = self.leader.popen.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        found = [int(child) for child in children.read_text().split()] if children.exists() else []
        return found or [pid]

    def forget_peak(self) -> int:
        """Start counting the leader's peak anew; returns what is resident now, bytes of all its processes."""
        for pid in self.leaders():
            Path(f"/proc/{pid}/clear_refs").write_text(_CLEAR_PEAK)
        return sum(resident("VmRSS", str(pid)) for pid in self.leaders())

    def peak(self) -> int:
        """Bytes of the leader's processes at their fullest since then, each at its own moment."""
        return sum(resident("VmHWM", str(pid)) for pid in self.leaders())

    def cpu_seconds(self) -> float:
        """What the leader's processes have taken of the cores so far."""
        return sum(_cpu_ticks(pid) for pid in self.leaders()) / os.sysconf("SC_CLK_TCK")


@contextmanager
def bench_house(workers: int, profile: Path | None = None) -> Iterator[BenchHouse]:
    """Everything up, and stopped and removed at the end.

    Args:
        workers: of the leader.
        profile: where each of the leader's processes leaves its profile at its end; None: not profiled.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hearthside-bench-")))
        server = Postgres()
        stack.callback(server.remove)
        server.make()
        server.start()
        stores = {"leader": server.fresh(), "helper": server.fresh()}
        now, ports = dt.datetime.now(dt.UTC), (free_port(), free_port())
        house = build_house(folder / "house", SITE, _CONTRACT, *ports, now, databases=stores)
        supervisor = stack.enter_context(Supervisor(folder))
        command = ["aggregator.cli"] if profile is None else ["simulations.bench.aggregator_profile", str(profile)]
        helper = _start(supervisor, ["aggregator.cli"], "helper", house.helper_folder, ports[1])
        leader = _start(supervisor, command, "leader", house.leader_folder, ports[0], "--workers", str(workers))
        supervisor.wait_ready(helper, f"{house.helper_url}/ready")
        supervisor.wait_ready(leader, f"{house.leader_url}/ready")
        clients = (
            stack.enter_context(httpx.Client(base_url=house.leader_url, timeout=60.0)),
            stack.enter_context(httpx.Client(base_url=house.helper_url, timeout=60.0)),
        )
        yield BenchHouse(house, server, leader, supervisor, clients)


def _start(supervisor: Supervisor, command: list[str], role: str, folder: Path, port: int, *more: str) -> Process:
    return supervisor.start(role, [*command, role, "--dir", str(folder), "--port", str(port), *more])


def _cpu_ticks(pid: int) -> int:
    """User and system time of a process, its threads included: fields 14 and 15 of ``/proc/PID/stat``."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])


def _until(look: Callable[[], Found | None], seconds: float, otherwise: str) -> Found:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(_POLL_SECONDS)
    raise LoadFailed(otherwise)
