"""The main job, end to end: services, fleet, four studies, one bundle, what each device chose, and the table."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from models.queries import measurement as measuring
from models.queries.answers import centroids_of, measurement_question, persona_question
from models.queries.labels import label
from models.wire.studies import PersonasQuery, Study, TransitionsQuery
from simulations.demo import content
from simulations.demo.covering import covered
from simulations.demo.outcome import BudgetOutcome, Outcome, StudyOutcome, render
from simulations.demo.parties import Analyst, Officer, final_model
from simulations.demo.plans import CONTRACT, Draft, coverage, demo_rounds, intent, measurement, personas
from simulations.demo.processes import Process, ProcessFailed, Supervisor, free_port
from simulations.demo.quality import Central
from simulations.demo.tallies import study_outcome
from simulations.demo.tap import count_hits, spellings
from simulations.demo.visitors import Visitor, start_visitors
from simulations.demo.windows import Windows
from simulations.fleet.fleet import FleetReport, Pace, merge
from simulations.fleet.worker import WorkerConfig
from simulations.house import House, build_house
from simulations.populations import SITE

WORKERS = 2
CANARY = "hearthside-canary-5f1c"
_POLL_SECONDS = 0.1
_STUDY_SECONDS = 600.0
_PATIENCE_SECONDS = 60.0
"""Longest wait for one answer of the services: pricing a study takes seconds on a busy machine."""


@dataclass
class _Finished:
    study: Study
    model: np.ndarray[Any, np.dtype[np.float32]]
    rounds: int
    seconds: float
    after: FleetReport


@dataclass
class Demo:
    """One run of the demo.

    Args:
        devices: size of the fleet.
        seed: fixes population, order and splits; keys and released noise come from the operating system.
        console: where progress and the table go.
        folder: for keys, stores and logs.
    """

    devices: int
    seed: int
    console: Console
    folder: Path
    finished: list[_Finished] = field(default_factory=list)
    coverages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the leader shows beside each study's result, by study, once all studies are finished."""

    def run(self, supervisor: Supervisor) -> tuple[Outcome, dict[str, str]]:
        """Run everything; returns what was measured and the addresses of the pages."""
        started = time.monotonic()
        self.house = self._build()
        central = Central(self.devices, self.seed)
        try:
            with self._progress() as progress:
                workers = self._start(supervisor, progress)
                self._studies(workers, supervisor, progress)
                bundle = self._publish()
                visits = self._personalise(workers, progress)
            return self._outcome(self._report(workers), visits, bundle, central, started), self._pages()
        finally:
            central.close()

    def _build(self) -> House:
        ports = free_port(), free_port()
        now = dt.datetime.now(dt.UTC)
        return build_house(self.folder / "house", SITE, CONTRACT, *ports, now)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<42}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )

    def _start(self, supervisor: Supervisor, progress: Progress) -> list[Process]:
        task = progress.add_task("starting leader, helper and fleet", total=2 + 2 * WORKERS)
        services = [self._service(supervisor, role) for role in ("helper", "leader")]
        workers = [self._worker(supervisor, part) for part in range(WORKERS)]
        for process, url in services:
            supervisor.wait_ready(process, f"{url}/ready")
            progress.advance(task)
        # Everything is up and warm before the first round: what starts later would take time from it.
        self.visitors = self._visitors(supervisor)
        for worker in workers:
            self._read(worker)
        progress.update(task, description=f"enrolling {self.devices:,} devices with consent", advance=len(workers))
        for worker in workers:
            self._tell(worker, "enrol")
        warm = [self._read(worker) for worker in workers]
        names = ("nulls_seconds", "training_seconds", "load_seconds")
        self.windows = Windows(*(max(float(figures[name]) for figures in warm) for name in names))
        progress.advance(task, len(workers))
        return workers

    def _visitors(self, supervisor: Supervisor) -> list[Visitor]:
        """The shop, and two people with a real agent each: they consent on their own page and browse."""
        self.shop = f"http://127.0.0.1:{(port := free_port())}"
        shop = ["uvicorn", "simulations.demo.shop.application:shop_app", "--factory", "--host", "127.0.0.1"]
        process = supervisor.start("shop", [*shop, "--port", str(port), "--log-level", "warning"])
        visitors = start_visitors(self.house, self.folder, self.seed, self.shop, CANARY, supervisor)
        supervisor.wait_ready(process, f"{self.shop}/")
        for visitor in visitors:
            supervisor.wait_ready(visitor.process, f"{visitor.origin}/.hearthside/notice")
            supervisor.wait_ready(visitor.process, f"{visitor.page}/")
            visitor.consent()
            visitor.browse()
        return visitors

    def _personalise(self, workers: list[Process], progress: Progress) -> list[dict[str, Any]]:
        """Every device verifies the bundle and decides; then the two real agents say what the shop shows."""
        task = progress.add_task("every device verifies the bundle and decides", total=len(workers) + 1)
        visits = []
        for worker in workers:
            self._tell(worker, "personalise")
        for worker in workers:
            visits.append(self._read(worker))
            progress.advance(task)
        self.shown = dict(visitor.shown(content.HERO) for visitor in self.visitors)
        progress.advance(task)
        return visits

    def _service(self, supervisor: Supervisor, role: str) -> tuple[Process, str]:
        url = self.house.leader_url if role == "leader" else self.house.helper_url
        folder = self.house.leader_folder if role == "leader" else self.house.helper_folder
        port = url.rsplit(":", 1)[1]
        tap = str(self.folder / f"{role}.tap")
        arguments = ["simulations.demo.service", role, "--dir", str(folder), "--port", port, "--tap", tap]
        return supervisor.start(role, arguments), url

    def _worker(self, supervisor: Supervisor, part: int) -> Process:
        config = WorkerConfig(
            folder=str(self.folder / f"fleet-{part}"),
            leader=self.house.leader_url,
            helper=self.house.helper_url,
            pins=self.house.pins.to_bytes().decode(),
            root=self.house.root.hex(),
            token=self.house.tokens["enrol"],
            devices=self.devices,
            seed=self.seed,
            part=part,
            parts=WORKERS,
            contract=CONTRACT.terms().hex(),
            canary=CANARY,
            site=SITE,
            slot=content.HERO,
            study_rounds=demo_rounds(),
        )
        path = self.folder / f"fleet-{part}.json"
        path.write_text(json.dumps(config.__dict__))
        path.chmod(0o600)
        return supervisor.start(f"fleet-{part}", ["simulations.fleet.worker", str(path)], pipes=True)

    def _studies(self, workers: list[Process], supervisor: Supervisor, progress: Progress) -> None:
        """Propose, approve and run the studies: coverage first; personas start from what the measurement released."""

        def study(draft: Draft) -> None:
            for worker in workers:
                self._tell(worker, "run")
            self._study(draft, analyst, officer, supervisor, progress, workers)
            self.windows.observe(draft, [Pace(**self._ask(worker, "pace")) for worker in workers])

        with (
            httpx.Client(base_url=self.house.leader_url, timeout=_PATIENCE_SECONDS) as leader,
            httpx.Client(base_url=self.house.helper_url, timeout=_PATIENCE_SECONDS) as helper,
        ):
            analyst = Analyst(leader, self.house.tokens["analyst"])
            officer = Officer(helper, self.house.officer)
            study(coverage())
            study(measurement())
            study(personas(self._popularity()))
            study(intent())
            for name in [item.study.study_id for item in self.finished]:
                self.coverages[name] = analyst.results(name)["coverage"]

    def _study(
        self,
        draft: Draft,
        analyst: Analyst,
        officer: Officer,
        supervisor: Supervisor,
        progress: Progress,
        workers: list[Process],
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        study = replace(draft, window_seconds=self.windows.window_seconds(draft)).build(self.house.parties(now_ms))
        analyst.propose(study)
        officer.decide(study, "approve", "asks little and says what it costs", now_ms)
        started = time.monotonic()
        analyst.start(study.study_id)
        task = progress.add_task(f"study {study.study_id}: rounds released", total=study.rounds)
        while True:
            supervisor.check()
            status = analyst.status(study.study_id)
            released = sum(item["state"] == "released" for item in status["rounds"])
            progress.update(task, completed=released)
            if status["state"] == "finished":
                break
            if status["state"] != "running" or time.monotonic() - started > _STUDY_SECONDS:
                raise ProcessFailed(f"study {study.study_id} is {status['state']}: {status['detail']}")
            time.sleep(_POLL_SECONDS)
        model = final_model(analyst.results(study.study_id))
        seconds = time.monotonic() - started
        self.finished.append(_Finished(study, model, released, seconds, self._report(workers)))

    def _popularity(self) -> list[float]:
        found = next(item for item in self.finished if isinstance(item.study.query, TransitionsQuery))
        assert isinstance(found.study.query, TransitionsQuery), "chosen above"
        question = measurement_question(found.study.query)
        return [float(share) for share in measuring.popularity(question, found.model.astype(np.float64))]

    def _publish(self) -> dict[str, Any]:
        found = next(item for item in self.finished if isinstance(item.study.query, PersonasQuery))
        query = found.study.query
        assert isinstance(query, PersonasQuery), "chosen above"
        centroids = centroids_of(persona_question(query), found.model)
        labels = label(centroids, query.features.names, prefix="dwell:")
        request = {
            "persona_study": "personas",
            "intent_study": "intent",
            "transitions_study": "measurement",
            "label_prefix": "dwell:",
            "segments": [segment.document() for segment in content.SEGMENTS],
            "modules": [module.document() for module in content.modules()],
            "rules": [rule.document() for rule in content.rules(labels)],
        }
        with httpx.Client(base_url=self.house.leader_url, timeout=_PATIENCE_SECONDS) as leader:
            return Analyst(leader, self.house.tokens["operator"]).publish(request)

    def _report(self, workers: list[Process]) -> FleetReport:
        return merge(FleetReport(**self._ask(worker, "report")) for worker in workers)

    def _outcome(
        self,
        report: FleetReport,
        visits: list[dict[str, Any]],
        bundle: dict[str, Any],
        central: Central,
        started: float,
    ) -> Outcome:
        befores = [None, *(item.after for item in self.finished[:-1])]
        studies = [
            self._study_outcome(item, before, central) for item, before in zip(self.finished, befores, strict=True)
        ]
        return Outcome(
            data="synthetic population (simulations.populations), planted personas and intents",
            seed=self.seed,
            devices=report.devices,
            consented=report.consented,
            refused=report.refused,
            withdrawn=report.withdrawn,
            seconds=time.monotonic() - started,
            canary_hits=self._canary_hits(),
            bundle={"version": bundle["bundle_version"], "sha256": bundle["sha256"]},
            modules_shown={**_most_shown(visits), **self.shown},
            studies=studies,
            budget=BudgetOutcome(CONTRACT.epsilon, report.spent_epsilon, CONTRACT.delta),
            bytes_by_purpose={purpose: row.get("sent_bytes", 0) for purpose, row in report.tallies.items()},
            spent_at_start=report.spent_at_start,
            notes=[*_visit_notes(visits), *_pace_notes(report)],
        )

    def _study_outcome(self, item: _Finished, before: FleetReport | None, central: Central) -> StudyOutcome:
        shown = self.coverages[item.study.study_id]
        source = next((other.study for other in self.finished if other.study.study_id == shown.get("study_id")), None)
        return study_outcome(
            item.study,
            item.rounds,
            CONTRACT,
            before,
            item.after,
            central.quality(item.study, item.model),
            item.seconds,
            covered(shown, source, item.after.counted),
        )

    def _canary_hits(self) -> int:
        """Search everything that the services received, stored or logged, in every spelling."""
        folders = (self.house.leader_folder, self.house.helper_folder)
        stored = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        heard = [self.folder / f"{role}.{kind}" for role in ("leader", "helper") for kind in ("tap", "log")]
        return count_hits([*stored, *heard], spellings(CANARY))

    def _pages(self) -> dict[str, str]:
        pages: dict[str, str] = {}
        for visitor in self.visitors:
            who = visitor.device.persona.label.lower()
            pages[f"shop, {who}"] = visitor.origin + "/"
            pages[f"own page, {who}"] = visitor.page + "/"
        return {**pages, "officer's console": self.house.helper_url + "/"}

    def _tell(self, worker: Process, command: str) -> None:
        assert worker.popen.stdin is not None, "workers are started with pipes"
        worker.popen.stdin.write(command + "\n")
        worker.popen.stdin.flush()

    def _read(self, worker: Process) -> dict[str, Any]:
        assert worker.popen.stdout is not None, "workers are started with pipes"
        line = worker.popen.stdout.readline()
        if not line:
            worker.popen.wait(5)
            worker.check()
        return dict(json.loads(line))

    def _ask(self, worker: Process, command: str) -> dict[str, Any]:
        self._tell(worker, command)
        return self._read(worker)


def _most_shown(visits: list[dict[str, Any]]) -> dict[str, str]:
    """By persona: the module that most of its devices chose."""
    counts: dict[str, dict[str, int]] = {}
    for part in visits:
        for persona, shown in part["shown"].items():
            row = counts.setdefault(persona, {})
            for module, count in shown.items():
                row[module] = row.get(module, 0) + count
    return {persona: max(row, key=lambda module: row[module]) for persona, row in sorted(counts.items())}


def _visit_notes(visits: list[dict[str, Any]]) -> list[str]:
    verified, right, assigned = (sum(part[name] for part in visits) for name in ("verified", "right", "assigned"))
    share = right / max(assigned, 1)
    return [f"{verified:,} devices verified the bundle; {share:.1%} assigned themselves the persona that was planted"]


def _pace_notes(report: FleetReport) -> list[str]:
    if not report.late:
        return []
    return [f"{report.late:,} of {report.heads:,} real answers were not ready by their slot: nulls went out instead"]


def run_demo(devices: int, seed: int, console: Console, *, once: bool, report: Path | None) -> Outcome:
    """Run the demo, print the table, and stop everything that it started: at once, or when it is interrupted.

    Args:
        devices: size of the fleet.
        seed: see ``Demo``.
        console: where progress and the table go.
        once: stop after the table; otherwise the pages stay up until Ctrl-C.
        report: where the table goes as JSON, if anywhere.
    """
    with tempfile.TemporaryDirectory(prefix="hearthside-demo-") as folder, Supervisor(Path(folder)) as supervisor:
        outcome, pages = Demo(devices, seed, console, Path(folder)).run(supervisor)
        render(outcome, pages, console)
        if report is not None:
            outcome.write(report)
        if not once:
            console.print("The pages stay up until Ctrl-C.")
            while True:
                supervisor.check()
                time.sleep(1.0)
        return outcome
