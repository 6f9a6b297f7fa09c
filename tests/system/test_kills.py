"""kill -9 of the leader or the helper at random moments of a study, while a fleet goes on: nothing lost or doubled."""

import datetime as dt
import json
import random
import signal
import sqlite3
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from models.wire.problems import ProblemError
from models.wire.studies import Study
from privacy.accounting import Contract, Row
from simulations.demo.parties import Analyst, Officer
from simulations.demo.plans import measurement
from simulations.demo.processes import Process, Supervisor, free_port
from simulations.fleet.data import ShopData
from simulations.fleet.fleet import Device, Fleet
from simulations.house import House, build_house
from simulations.populations import SITE, ShopPopulation
from tests.system.in_process import EVERYTHING

PEOPLE = 24
ROUNDS = 12
CONTRACT = Contract(epsilon=40.0, delta=1e-5, order=4)
"""Wide, with much noise: a hundred kills take many rounds. What is counted here is charges, not what they cost."""
LONGEST_GAP_SECONDS = 1.2
WINDOW_SECONDS = 300.0


@dataclass
class Siege:
    """Two service processes, one fleet, and somebody with kill -9.

    Attributes:
        kills: how many are left.
        generator: chooses victims and moments.
        victims: who was killed, in order.
        studies: those that were run.
    """

    house: House
    supervisor: Supervisor
    fleet: Fleet
    kills: int
    generator: random.Random
    victims: list[str] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    services: dict[str, Process] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        """Study after study until all kills are done and the last study is over."""
        for role in ("helper", "leader"):
            self._start(role)
            self.supervisor.wait_ready(self.services[role], f"{self._url(role)}/ready")
        self.fleet.enrol(self.house.tokens["enrol"])
        deadline = time.monotonic() + seconds
        while self.kills or not self.studies:
            self._study(deadline)

    def _study(self, deadline: float) -> None:
        draft = replace(
            measurement(),
            study_id=f"study-{len(self.studies)}",
            rounds=ROUNDS,
            sampling_rate=1.0,
            noise_multiplier=64.0,
            minimum_cohort=4,
            window_seconds=WINDOW_SECONDS,
            epsilon_cap=100.0,
        )
        study, now_ms = draft.build(self.house.parties(time.time_ns() // 10**6)), time.time_ns() // 10**6
        self._patiently(lambda: self._analyst().propose(study), deadline)
        self._patiently(lambda: self._officer().decide(study, "approve", "counted, not priced", now_ms), deadline)
        self._patiently(lambda: self._analyst().start(study.study_id), deadline)
        self.studies.append(study)
        next_kill = time.monotonic() + self._gap()
        while self._state(study) != "finished":
            assert time.monotonic() < deadline, (self._state(study), self.victims)
            if self.kills and time.monotonic() >= next_kill and self._ready():
                self._kill(self._victim())
                next_kill = time.monotonic() + self._gap()
            self._step()

    def _victim(self) -> str:
        """Either service; after two of one kind the other one's turn has come."""
        if len(self.victims) >= 2 and self.victims[-1] == self.victims[-2]:
            return "helper" if self.victims[-1] == "leader" else "leader"
        return self.generator.choice(["leader", "helper"])

    def _gap(self) -> float:
        return self.generator.uniform(0.0, LONGEST_GAP_SECONDS)

    def _kill(self, role: str) -> None:
        self.services[role].popen.send_signal(signal.SIGKILL)
        self.services[role].popen.wait()
        self.supervisor.processes.remove(self.services[role])
        self.victims.append(role)
        self.kills -= 1
        self._start(role)

    def _start(self, role: str) -> None:
        folder = self.house.leader_folder if role == "leader" else self.house.helper_folder
        port = self._url(role).rsplit(":", 1)[1]
        arguments = ["aggregator.cli", role, "--dir", str(folder), "--port", port]
        self.services[role] = self.supervisor.start(role, arguments)

    def _step(self) -> None:
        """One turn of the agents' loop; whoever is down is asked again at the next turn."""
        try:
            self.fleet.step(wait=False)
            self.fleet.federation.send_due(2**50)
        except ProblemError as problem:
            _retried(problem)
        time.sleep(0.02)

    def _state(self, study: Study) -> str:
        try:
            status = self._analyst().status(study.study_id)
        except (httpx.TransportError, ProblemError):
            return "unknown"
        assert status["state"] in {"running", "finished"}, status
        return status["state"]

    def _ready(self) -> bool:
        try:
            return all(httpx.get(f"{self._url(role)}/ready", timeout=2).is_success for role in self.services)
        except httpx.TransportError:
            return False

    def _patiently(self, act, deadline: float) -> None:
        while True:
            try:
                return act()
            except (httpx.TransportError, ProblemError) as error:
                _retried(error)
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _url(self, role: str) -> str:
        return self.house.leader_url if role == "leader" else self.house.helper_url

    def _analyst(self) -> Analyst:
        return Analyst(self._leader, self.house.tokens["analyst"])

    def _officer(self) -> Officer:
        return Officer(self._helper, self.house.officer)

    def __post_init__(self) -> None:
        self._leader = httpx.Client(base_url=self.house.leader_url, timeout=10)
        self._helper = httpx.Client(base_url=self.house.helper_url, timeout=10)

    def account(self, study: Study) -> list[dict]:
        """Rounds of a finished study."""
        return self._analyst().status(study.study_id)["rounds"]


def _retried(error: Exception) -> None:
    """Only what may be tried again may go wrong while a service is down."""
    if isinstance(error, ProblemError) and not error.problem_type.retry:
        raise error


def charges(folder: Path) -> list[tuple[str, int]]:
    """(study, round) of every row in a service's ledger, in order."""
    connection = sqlite3.connect(f"file:{folder / 'store.sqlite3'}?mode=ro", uri=True)
    try:
        bodies = connection.execute("SELECT body FROM ledger_rows ORDER BY row_index").fetchall()
    finally:
        connection.close()
    return [(row.charge.study, row.charge.round) for row in (Row.parse(bytes(body)) for (body,) in bodies)]


def besiege(folder: Path, kills: int, seed: int, seconds: float) -> Siege:
    """Run until all kills are done; checks that nothing was lost or counted or charged twice."""
    ports = free_port(), free_port()
    house = build_house(folder / "house", SITE, CONTRACT, *ports, dt.datetime.now(dt.UTC))
    settings = house.leader_folder / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "helper_retry_seconds": 0.2}))
    devices = [Device(f"device-{d.index}", ShopData(d), EVERYTHING) for d in ShopPopulation(PEOPLE, 7)]
    leader, helper = LeaderConnection(house.leader_url), HelperConnection(house.helper_url)
    fleet = Fleet(folder / "fleet", devices, leader, helper, house.pins, CONTRACT, SystemClock())
    with Supervisor(folder) as supervisor:
        siege = Siege(house, supervisor, fleet, kills, random.Random(seed))
        try:
            siege.run(seconds)
            check(siege)
        finally:
            fleet.close()
            for connection in (leader, helper, siege._leader, siege._helper):
                connection.close()
    return siege


def check(siege: Siege) -> None:
    """Every round was released with every report, and has one charge in each of the three kinds of ledger."""
    expected = [(study.study_id, number) for study in siege.studies for number in range(1, ROUNDS + 1)]
    for study in siege.studies:
        rounds = siege.account(study)
        assert [(row["state"], row["opened"]) for row in rounds] == [("released", PEOPLE)] * ROUNDS, siege.victims
    assert charges(siege.house.leader_folder) == expected
    assert charges(siege.house.helper_folder) == expected
    assert {member.budget.contract.length for member in siege.fleet.federation.roster} == {len(expected)}
    tallies = siege.fleet.report().tallies["measurement"]
    assert tallies["sent_reports"] == PEOPLE * len(expected), "each report was accepted once, as its device counts"
    assert tallies.get("refused_reports", 0) == 0


def test_five_kills_lose_and_double_nothing(tmp_path):
    """Five kills at random moments: every report of every round is in its sum once, one charge a round."""
    siege = besiege(tmp_path, kills=5, seed=7, seconds=200)
    assert len(siege.victims) == 5
    assert len(set(siege.victims)) == 2


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_kills_lose_and_double_nothing(tmp_path, seed):
    """Ten sieges of ten kills each."""
    assert len(besiege(tmp_path, kills=10, seed=seed, seconds=3_000).victims) == 10
