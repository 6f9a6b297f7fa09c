"""The main job in one process: real masks, seals, signatures, ledgers and both servers' noise, without a socket.

Slots are drawn but not waited for; nothing else about the protocol is simulated. Batched per-sample gradients stand in
for one ClientApp call a device where all devices have as many rows: the two agree (tests of
``models.learning.vectorised``).
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.federation.app import compute_answer
from client_agent.federation.contribution import Reservation
from client_agent.federation.trust import VerifiedRound
from consent import PURPOSES
from models.learning.steps import local_plan_of, net_of
from models.queries.answers import DeviceData, from_model_bytes
from models.wire.studies import Study, TrainQuery
from privacy.accounting import Contract
from simulations.demo.outcome import BudgetOutcome, Outcome, Quality, StudyOutcome
from simulations.demo.parties import Analyst, Officer, final_model
from simulations.demo.plans import CONTRACT, Draft
from simulations.demo.processes import ProcessFailed
from simulations.demo.tallies import study_outcome
from simulations.fleet.data import ShopData
from simulations.fleet.fleet import Device, Fleet, FleetReport
from simulations.house import House, build_house
from simulations.populations import SITE, ShopPopulation
from simulations.populations.choices import draw_choices
from simulations.transport import InProcessServices

WINDOW_SECONDS = 900.0
"""A round closes when everybody has reported; this is only the most that a slow machine gets."""
_PORTS = (8701, 8702)
_PAUSE_SECONDS = 0.02

Model = NDArray[np.float32]
Judge = Callable[[Study, Model], Quality]


@dataclass(frozen=True)
class Task:
    """A study of a run: the plan, once what came before is known, and how its result is judged."""

    draft: Callable[[list[Model]], Draft]
    judge: Judge


@dataclass(frozen=True)
class Setting:
    """A data set as devices with the studies to run on it.

    Attributes:
        name: of the data.
        site: the site's name.
        data: one entry a device.
        tasks: in the order in which they run.
        contract: device level, zero-out, over all studies of the run together.
        notes: what a reader of the figures must know.
    """

    name: str
    site: str
    data: Sequence[DeviceData]
    tasks: tuple[Task, ...]
    contract: Contract
    notes: tuple[str, ...] = ()


@dataclass
class Run:
    """One run: the house, the fleet and what was measured.

    Args:
        setting: devices and studies.
        seed: fixes who chooses what; keys and released noise come from the operating system.
        console: where progress goes.
        folder: for keys and stores.
    """

    setting: Setting
    seed: int
    console: Console
    folder: Path
    outcomes: list[StudyOutcome] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)

    def run(self) -> Outcome:
        """Enrol everybody, run all studies, measure."""
        started = time.monotonic()
        now = dt.datetime.now(dt.UTC)
        house = build_house(self.folder / "house", self.setting.site, self.setting.contract, *_PORTS, now)
        with InProcessServices(lambda: _apps(house)) as services, self._progress() as progress:
            leader, helper = services.transport("leader"), services.transport("helper")
            fleet = Fleet(
                self.folder / "fleet",
                self._devices(),
                LeaderConnection(house.leader_url, leader),
                HelperConnection(house.helper_url, helper),
                house.pins,
                self.setting.contract,
                SystemClock(),
            )
            enrolling = progress.add_task(f"enrolling {len(fleet.devices):,} devices with consent", total=1)
            fleet.enrol(house.tokens["enrol"])
            progress.advance(enrolling)
            analyst = Analyst(httpx.Client(base_url=house.leader_url, transport=leader), house.tokens["analyst"])
            officer = Officer(httpx.Client(base_url=house.helper_url, transport=helper), house.officer)
            for task in self.setting.tasks:
                self._study(task, house, fleet, analyst, officer, progress)
            report = fleet.report()
            fleet.close()
        return self._outcome(report, time.monotonic() - started)

    def _devices(self) -> list[Device]:
        names = tuple(purpose.id for purpose in PURPOSES)
        drafts = [task.draft(self.models) for task in self.setting.tasks[:1]]
        choices = draw_choices(
            len(self.setting.data),
            np.random.default_rng(self.seed),
            names,
            {draft.study_id: draft.rounds for draft in drafts},
        )
        pairs = enumerate(zip(self.setting.data, choices, strict=True))
        return [Device(f"device-{index}", data, choice) for index, (data, choice) in pairs]

    def _progress(self) -> Progress:
        columns = TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        return Progress(*columns, console=self.console)

    def _study(
        self, task: Task, house: House, fleet: Fleet, analyst: Analyst, officer: Officer, progress: Progress
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        study = task.draft(self.models).build(house.parties(now_ms))
        before, started = fleet.report(), time.monotonic()
        analyst.propose(study)
        officer.decide(study, "approve", "asks little and says what it costs", now_ms)
        analyst.start(study.study_id)
        shown = progress.add_task(f"study {study.study_id}: rounds released", total=study.rounds)
        while True:
            busy = fleet.step(answer_all, wait=False)
            status = analyst.status(study.study_id)
            released = sum(item["state"] == "released" for item in status["rounds"])
            progress.update(shown, completed=released)
            if status["state"] == "finished":
                break
            if status["state"] != "running":
                raise ProcessFailed(f"study {study.study_id} is {status['state']}: {status['detail']}")
            if not busy:
                time.sleep(_PAUSE_SECONDS)
        model, contract = final_model(analyst.results(study.study_id)), self.setting.contract
        self.models.append(model)
        quality = task.judge(study, model)
        self.outcomes.append(
            study_outcome(study, released, contract, before, fleet.report(), quality, time.monotonic() - started)
        )

    def _outcome(self, report: FleetReport, seconds: float) -> Outcome:
        contract = self.setting.contract
        return Outcome(
            data=self.setting.name,
            seed=self.seed,
            devices=report.devices,
            consented=report.consented,
            refused=report.refused,
            withdrawn=report.withdrawn,
            seconds=seconds,
            canary_hits=None,
            bundle={},
            modules_shown={},
            studies=self.outcomes,
            budget=BudgetOutcome(contract.epsilon, report.spent_epsilon, contract.delta),
            bytes_by_purpose={purpose: row.get("sent_bytes", 0) for purpose, row in report.tallies.items()},
            spent_at_start=report.spent_at_start,
            notes=list(self.setting.notes),
        )


def answer_all(found: VerifiedRound, heads: Sequence[Reservation], fleet: Fleet) -> None:
    """Answer a round for all devices whose coin said yes: batched gradients where they fit, else one by one."""
    data = [fleet.data_of(reservation.participant.participant_id) for reservation in heads]
    vectors = _batched(found, data)
    if vectors is None:
        granted = [reservation.granted for reservation in heads]
        answers = [compute_answer(found, item, grants) for item, grants in zip(data, granted, strict=True)]
    else:
        answers = list(vectors)
    for reservation, vector in zip(heads, answers, strict=True):
        fleet.federation.answer(reservation, fleet.federation.encode_answer(found, vector))


def _batched(found: VerifiedRound, data: Sequence[DeviceData]) -> NDArray[np.float64] | None:
    """All devices' updates at once, or None where the study or the devices' uneven rows do not allow it."""
    query = found.study.query
    if not isinstance(query, TrainQuery) or query.local.noise_multiplier or not data:
        return None
    from models.learning.vectorised import train_many

    rows = [item.rows(query.features) for item in data]
    if len({len(labels) for _, labels in rows}) != 1:
        return None
    features, labels = np.stack([each for each, _ in rows]), np.stack([each for _, each in rows])
    return train_many(net_of(query), local_plan_of(query), from_model_bytes(found.model), features, labels)


def simulate(
    draft: Draft, devices: int = 400, seed: int = 7, *, contract: Contract = CONTRACT, console: Console | None = None
) -> StudyOutcome:
    """Run one study over simulated visitors of the demo shop, with the real protocol, in this process.

    Args:
        draft: the study, such as ``plans.measurement()``.
        devices: how many simulated visitors, at least the study's minimum cohort.
        seed: fixes the visitors; keys and released noise come from the operating system.
        contract: the budget of devices and servers (device level, zero-out).
        console: where progress goes; standard error unless given.

    Returns:
        What it cost and how good it is, beside the figure without privacy on the same data.

    Raises:
        ProblemError: the study was refused, with the reason: it costs more than it may, or does not fit together.
    """
    from simulations.demo.quality import Central

    central = Central(devices, seed)
    try:
        data = [ShopData(device) for device in ShopPopulation(devices, seed)]
        setting = Setting("the demo shop", SITE, data, (Task(lambda _: draft, central.quality),), contract)
        with tempfile.TemporaryDirectory(prefix="hearthside-simulation-") as scratch:
            return Run(setting, seed, console or Console(stderr=True), Path(scratch)).run().studies[0]
    finally:
        central.close()


def _apps(house: House) -> dict[str, FastAPI]:
    from aggregator.helper.app import create_app as helper_app
    from aggregator.leader.app import create_app as leader_app
    from aggregator.settings import HelperSettings, LeaderSettings

    helper = helper_app(HelperSettings.read(house.helper_folder, log_level="warning"))
    settings = LeaderSettings.read(house.leader_folder, log_level="warning")
    return {"helper": helper, "leader": leader_app(settings, helper_transport=httpx.ASGITransport(helper))}
