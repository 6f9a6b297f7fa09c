"""One process of the demo's fleet: ``python -m simulations.fleet.worker CONFIG``; commands on stdin, answers on stdout.

Commands, one a line: ``enrol``, ``run`` (takes part until the next command), ``pace``, ``personalise``, ``report``,
``stop``. Each answer but that of ``run`` and ``stop`` is one JSON object on one line.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.enrolment import Pins
from client_agent.federation.contribution import Slots
from client_agent.policy import INSTALLED_QUOTAS
from models.learning.steps import first_parameters, local_plan_of, net_of
from models.wire.problems import ProblemError
from models.wire.studies import TrainQuery
from privacy.accounting import rdp, read_terms
from privacy.crypto import SealPrivateKey, SigningKey
from privacy.mechanisms import RandomStream
from privacy.secure_sum import SumContext, make_report
from simulations.demo.plans import Parties, intent
from simulations.fleet.data import ShopData
from simulations.fleet.fleet import Device, Fleet
from simulations.fleet.visits import personalise
from simulations.populations import ShopPopulation

_POLL_SECONDS = 0.08


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is told. ``part`` of ``parts``: which devices of the population are its own."""

    folder: str
    leader: str
    helper: str
    pins: str
    root: str
    token: str
    devices: int
    seed: int
    part: int
    parts: int
    contract: str
    """Its terms, in hexadecimal."""
    canary: str
    site: str
    slot: str
    study_rounds: dict[str, int]

    def canary_of(self, index: int) -> str:
        """The string planted in all raw events of a device."""
        return f"{self.canary}-{index}"


class Worker:
    """A fleet with its loop."""

    def __init__(self, config: WorkerConfig) -> None:
        population = ShopPopulation(
            config.devices,
            config.seed,
            canary=config.canary_of,
            study_rounds=config.study_rounds,
            light_users_refuse=True,  # so that there is a consent bias, which the coverage study has to find
        )
        mine = [population[index] for index in range(config.part, config.devices, config.parts)]
        self._config = config
        self._now_ms = population.end_ms
        self._planted = {f"device-{device.index}": device for device in mine}
        devices = [Device(name, ShopData(device), device.choice) for name, device in self._planted.items()]
        self.fleet = Fleet(
            Path(config.folder),
            devices,
            LeaderConnection(config.leader),
            HelperConnection(config.helper),
            Pins.parse(config.pins.encode()),
            read_terms(bytes.fromhex(config.contract)),
            SystemClock(),
            Slots(earliest=0.4, latest=0.85),
            INSTALLED_QUOTAS,
        )

    def warm_up(self) -> dict[str, float]:
        """Load what training needs and compute features; returns how long things take here, for the whole fleet.

        The figures set the length of the demo's report windows, so that a slow machine gets longer ones.

        Returns:
            ``nulls_seconds``: a report from everybody; ``training_seconds``: a training step for everybody;
            ``load_seconds``: loading what training and accounting need.
        """
        study = intent().build(Parties("00" * 32, "00" * 32, 1))
        query, parameters = study.query, study.plan.parameters()
        assert isinstance(query, TrainQuery), "the intent study trains"
        everybody = list(self.fleet.devices.values())
        rows = [device.data.rows(query.features) for device in everybody]
        net, plan, start = net_of(query), local_plan_of(query), first_parameters(query)
        from models.learning.local_training import train

        def turn(index: int) -> None:
            train(net, plan, start, *rows[index % len(rows)], RandomStream(os.urandom(32)))

        def null(_: int) -> None:
            secret = os.urandom(32)
            values = np.zeros(parameters.dimension, dtype=np.int64)
            make_report(
                values, parameters, context, key, seed=secret, withdrawal_token=secret, expires_at=1, signer=signer
            )

        context, signer = SumContext(bytes(32), 1, bytes(32), bytes(32), bytes(32), bytes(32)), SigningKey.generate()
        key = SealPrivateKey.generate().public
        started = time.perf_counter()
        turn(0)
        rdp(study.plan.event(), 2)  # loads dp-accounting
        load_seconds = time.perf_counter() - started
        return {
            "nulls_seconds": len(everybody) * _seconds_each(null),
            "training_seconds": len(everybody) * _seconds_each(turn),
            "load_seconds": load_seconds,
        }

    def run(self, commands: queue.Queue[str]) -> None:
        """Take part until the next command arrives."""
        while commands.empty():
            try:
                busy = self.fleet.step()
            except ProblemError as problem:
                print(f"{problem}", file=sys.stderr)
                busy = False
            if not busy:
                time.sleep(_POLL_SECONDS)

    def personalise(self) -> dict[str, Any]:
        """Let every device decide about its own content."""
        self.fleet.federation.roster.refresh()
        outcome = personalise(
            self.fleet.federation,
            self._planted,
            Path(self._config.folder) / "tuf",
            self._config.leader,
            bytes.fromhex(self._config.root),
            self._config.site,
            self._now_ms,
            self._config.slot,
            dt.datetime.now(dt.UTC),
        )
        return asdict(outcome)


def main() -> None:
    """Serve commands until ``stop`` or the end of input."""
    config = WorkerConfig(**json.loads(Path(sys.argv[1]).read_text()))
    commands: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(commands,), daemon=True).start()
    worker = Worker(config)
    _answer({"ready": len(worker.fleet.devices)})
    while (command := commands.get()) != "stop":
        if command == "enrol":
            worker.fleet.enrol(config.token)
            _answer({"enrolled": len(worker.fleet.devices), **worker.warm_up()})
        elif command == "run":
            worker.run(commands)
        elif command == "pace":
            _answer(asdict(worker.fleet.pace()))
        elif command == "personalise":
            _answer(worker.personalise())
        elif command == "report":
            _answer(asdict(worker.fleet.report()))
    worker.fleet.close()


def _seconds_each(work: Callable[[int], None], repeats: int = 40) -> float:
    started = time.perf_counter()
    for index in range(repeats):
        work(index)
    return (time.perf_counter() - started) / repeats


def _read(commands: queue.Queue[str]) -> None:
    for line in sys.stdin:
        commands.put(line.strip())
    commands.put("stop")


def _answer(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
