"""kill -9 of the leader or the helper at random moments of a study, while a fleet goes on: nothing lost or doubled."""

import asyncio
import datetime as dt
import json
import os
import random
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from models.wire.problems import ProblemError
from models.wire.studies import Study
from privacy.accounting import Contract, Row
from simulations.demo.parties import Analyst, Officer
from simulations.demo.plans import measurement
from simulations.demo.processes import free_port
from simulations.fleet.data import ShopData
from simulations.fleet.fleet import Device, Fleet
from simulations.house import House, build_house
from simulations.populations import SITE, ShopPopulation
from tests.system.in_process import EVERYTHING
from tests.system.nursery import Nursery

PEOPLE = 12
ROUNDS = 6
CONTRACT = Contract(epsilon=40.0, delta=1e-5, order=4)
"""Wide, with much noise: a hundred kills take many rounds. What is counted here is charges, not what they cost."""
LONGEST_GAP_SECONDS = 0.6
WINDOW_SECONDS = 300.0
LIVENESS_SECONDS = 60.0
"""A service that takes longer to be back, on however busy a machine, is not back."""
READY_SECONDS = 60.0
_SEE = "INSERT INTO seen VALUES (NEW.round_id, NEW.wrapped_noise, NEW.answer)"
WITNESS = {
    "sqlite": (
        "CREATE TABLE seen (round_id INTEGER, noise BLOB, answer BLOB)",
        f"CREATE TRIGGER saw AFTER UPDATE ON rounds BEGIN {_SEE}; END",
    ),
    "postgresql": (
        "CREATE TABLE seen (round_id INTEGER, noise BYTEA, answer BYTEA)",
        f"CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_SEE}; RETURN NEW; END $$",
        "CREATE TRIGGER saw AFTER UPDATE ON rounds FOR EACH ROW EXECUTE FUNCTION see()",
    ),
}
"""The store itself writes down every noise secret (as it is wrapped) and answer that a round ever had."""


@dataclass(frozen=True)
class Camp:
    """How the services run that are besieged.

    Attributes:
        workers: processes of each.
        databases: the stores' URLs; SQLite unless given.
        report_storage: the leader's setting.
    """

    workers: int = 1
    databases: dict[str, str] = field(default_factory=dict)
    report_storage: str = "database"


@dataclass
class Siege:
    """Two services, one fleet, and somebody with kill -9.

    Attributes:
        kills: how many are left.
        generator: chooses victims and moments.
        victims: who was killed, in order.
        resumed_seconds: how long it took after each until both were ready and a worker ran the studies.
        studies: those that were run.
    """

    house: House
    camp: Camp
    nursery: Nursery
    fleet: Fleet
    kills: int
    generator: random.Random
    victims: list[str] = field(default_factory=list)
    resumed_seconds: list[float] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    services: dict[str, int] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        """Study after study until all kills are done and the last study is over."""
        for role in ("helper", "leader"):
            self._start(role)
        self._patiently(self._require_ready, time.monotonic() + READY_SECONDS)
        for role in self.services:
            asyncio.run(execute(self.url(role), *WITNESS[self.url(role).split("+")[0]]))
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
        next_kill, killed = time.monotonic() + self._gap(), 0.0
        while self._state(study) != "finished":
            assert time.monotonic() < deadline, (self._state(study), self.victims)
            if (killed or (self.kills and time.monotonic() >= next_kill)) and self._ready():
                if killed:
                    self.resumed_seconds.append(time.monotonic() - killed)
                    next_kill, killed = time.monotonic() + self._gap(), 0.0
                else:
                    self._kill(self._victim())
                    killed = time.monotonic()
            self._step()

    def _victim(self) -> str:
        """Each service as often as the other, in an order that nobody knows."""
        behind = self.victims.count("leader") - self.victims.count("helper")
        return self.generator.choice(["leader", "helper"]) if behind == 0 else ("helper" if behind > 0 else "leader")

    def _gap(self) -> float:
        return self.generator.uniform(0.0, LONGEST_GAP_SECONDS)

    def _kill(self, role: str) -> None:
        """All processes of a service; where it has workers, in every third case one of them."""
        alone = self.camp.workers > 1 and self.generator.random() < 1 / 3
        if alone:
            os.kill(self.generator.choice(children(self.services[role])), signal.SIGKILL)
        else:
            self.nursery.kill(self.services[role])
            self._start(role)
        self.victims.append(role)
        self.kills -= 1

    def _start(self, role: str) -> None:
        port = self._address(role).rsplit(":", 1)[1]
        arguments = [role, "--dir", str(self.folder(role)), "--port", port, "--workers", str(self.camp.workers)]
        self.services[role] = self.nursery.start(arguments, self.house.folder / f"{role}.log")

    def folder(self, role: str) -> Path:
        """A service's."""
        return self.house.leader_folder if role == "leader" else self.house.helper_folder

    def url(self, role: str) -> str:
        """Of a service's store."""
        return self.camp.databases.get(role) or f"sqlite+aiosqlite:///{self.folder(role) / 'store.sqlite3'}"

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
            self._require_ready()
        except httpx.HTTPError:
            return False
        return True

    def _require_ready(self) -> None:
        for role in self.services:
            httpx.get(f"{self._address(role)}/ready", timeout=2).raise_for_status()

    def _patiently(self, act, deadline: float) -> None:
        while True:
            try:
                return act()
            except (httpx.HTTPError, ProblemError) as error:
                _retried(error)
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _address(self, role: str) -> str:
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


def children(pid: int) -> list[int]:
    """The workers of a supervisor."""
    return [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def execute(url: str, *statements: str) -> None:
    """Change something in a service's store beside the service."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


def query(url: str, statement: str) -> list[tuple]:
    """Rows of a service's store."""

    async def ask() -> list[tuple]:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            rows = [tuple(row) for row in await connection.execute(text(statement))]
        await engine.dispose()
        return rows

    return asyncio.run(ask())


def charges(url: str) -> list[tuple[str, int]]:
    """(study, round) of every row in a service's ledger, in order."""
    bodies = query(url, "SELECT body FROM ledger_rows ORDER BY row_index")
    return [(row.charge.study, row.charge.round) for row in (Row.parse(bytes(body)) for (body,) in bodies)]


def besiege(folder: Path, kills: int, seed: int, seconds: float, camp: Camp | None = None) -> Siege:
    """Run until all kills are done; checks that nothing was lost or counted or charged twice."""
    ports, camp = (free_port(), free_port()), camp or Camp()
    house = build_house(folder / "house", SITE, CONTRACT, *ports, dt.datetime.now(dt.UTC), camp.databases)
    settings = house.leader_folder / "settings.json"
    changed = {"helper_retry_seconds": 0.2, "report_storage": camp.report_storage}
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **changed}))
    devices = [Device(f"device-{d.index}", ShopData(d), EVERYTHING) for d in ShopPopulation(PEOPLE, 7)]
    leader, helper = LeaderConnection(house.leader_url), HelperConnection(house.helper_url)
    fleet = Fleet(folder / "fleet", devices, leader, helper, house.pins, CONTRACT, SystemClock())
    with Nursery() as nursery:
        siege = Siege(house, camp, nursery, fleet, kills, random.Random(seed))
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
    assert charges(siege.url("leader")) == expected
    assert charges(siege.url("helper")) == expected
    assert {member.budget.contract.length for member in siege.fleet.federation.roster} == {len(expected)}
    tallies = siege.fleet.report().tallies["measurement"]
    assert tallies["sent_reports"] == PEOPLE * len(expected), "each report was accepted once, as its device counts"
    assert tallies.get("refused_reports", 0) == 0
    for role in siege.services:
        check_rounds(siege.url(role), len(expected))
    assert [query(siege.url("leader"), f"SELECT count(*) FROM {table}") for table in ("reports", "taken_back")] == [
        [(0,)]
    ] * 2
    assert list(siege.house.leader_folder.glob("reports/*")) == [], "files of reports go with their rounds"
    assert max(siege.resumed_seconds, default=0.0) < LIVENESS_SECONDS


def check_rounds(url: str, count: int) -> None:
    """Every round had one noise secret in all its life, and one answer."""
    counted = "SELECT count(DISTINCT noise), count(DISTINCT answer) FROM seen GROUP BY round_id"
    assert query(url, f"{counted} HAVING count(answer) > 0") == [(1, 1)] * count


def figures(siege: Siege) -> str:
    """What is worth recording of a siege."""
    resumed = sorted(siege.resumed_seconds)
    counts = f"{siege.victims.count('leader')} of the leader, {siege.victims.count('helper')} of the helper"
    return f"kills: {counts}; back after {statistics.median(resumed):.2f} s (median), {resumed[-1]:.2f} s (longest)"


def large(postgres) -> Camp:
    """Two workers of each service on PostgreSQL, reports in files."""
    return Camp(2, {role: postgres.fresh(role) for role in ("leader", "helper")}, "directory")


@pytest.mark.parametrize("size", ["small", "large"])
def test_twenty_kills_lose_and_double_nothing(tmp_path, request, size, record_property):
    """Ten of one process each on SQLite, ten of two workers each on PostgreSQL with reports in files.

    Every report of every round is in its sum once, one charge a round, one noise a round.
    """
    camp = large(request.getfixturevalue("postgres")) if size == "large" else Camp()
    siege = besiege(tmp_path, kills=10, seed=7, seconds=200, camp=camp)
    assert sorted(siege.victims) == ["helper"] * 5 + ["leader"] * 5
    record_property("kills", figures(siege))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_kills_of_each_lose_and_double_nothing(tmp_path, request, seed, size, capsys):
    """Ten sieges with twenty kills of the leader and twenty of the helper each."""
    camp = large(request.getfixturevalue("postgres")) if size == "large" else Camp()
    siege = besiege(tmp_path, kills=40, seed=seed, seconds=3_000, camp=camp)
    assert (siege.victims.count("leader"), siege.victims.count("helper")) == (20, 20)
    with capsys.disabled():  # a long run is watched
        sys.stderr.write(f"\n{size}, seed {seed}: {figures(siege)}\n")
