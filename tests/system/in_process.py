"""Real leader and helper in this process, each behind a tap, and a fleet of real agents whose events lie in a store."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from aggregator.helper.app import create_app as helper_app
from aggregator.leader.app import create_app as leader_app
from aggregator.settings import HelperSettings, LeaderSettings
from client_agent.clocks import SystemClock
from client_agent.connection import HelperConnection, LeaderConnection
from client_agent.profiles import EventData, stored_events
from consent.purposes import PURPOSES
from models.wire.studies import Study
from privacy.accounting import Contract
from simulations.demo.parties import Analyst, Officer
from simulations.demo.plans import Draft
from simulations.demo.tap import Tap
from simulations.fleet.fleet import Device, Fleet
from simulations.house import House, build_house
from simulations.populations import SITE, ShopPopulation
from simulations.populations.choices import Choice
from simulations.transport import InProcessServices, LoopTransport

CONTRACT = Contract(epsilon=40.0, delta=1e-5, order=4)
"""Wide, so that small cohorts can run several studies; what is under test is not the budget's size."""
EVERYTHING = Choice(tuple(purpose.id for purpose in PURPOSES), None, budget_spent=False)
STUDY_SECONDS = 60


class Line(httpx.ASGITransport):
    """The leader's line to the helper, which a test may cut."""

    down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("the helper is down")
        return await super().handle_async_request(request)


class TappedServices:
    """Leader and helper with a tap on everything they receive, the leader's calls to the helper included."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self._taps: dict[str, Tap] = {}
        self._files = {role: folder / f"{role}.tap" for role in ("leader", "helper")}
        self.services = InProcessServices(self._build)

    def _build(self):
        helper = helper_app(HelperSettings.read(self.house.helper_folder))
        self._taps["helper"] = Tap(helper, self._files["helper"])
        self.line = Line(self._taps["helper"])
        leader = leader_app(
            LeaderSettings.read(self.house.leader_folder, helper_retry_seconds=0.1),
            helper_transport=self.line,
        )
        self._taps["leader"] = Tap(leader, self._files["leader"])
        return {"helper": helper, "leader": leader}

    def transport(self, role: str) -> LoopTransport:
        """The synchronous way to a service, through its tap."""
        return LoopTransport(self.services._loop, self._taps[role])

    def client(self, role: str) -> httpx.Client:
        """A client of a service."""
        url = self.house.leader_url if role == "leader" else self.house.helper_url
        return httpx.Client(base_url=url, transport=self.transport(role))

    def received(self) -> list[Path]:
        """Files with every byte that was received so far."""
        for tap in self._taps.values():
            tap.flush()
        return list(self._files.values())

    def close(self) -> None:
        """Close the files; the services have stopped."""
        for tap in self._taps.values():
            tap.close()

    def stored(self) -> list[Path]:
        """Every file of both services."""
        folders = (self.house.leader_folder, self.house.helper_folder)
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


class FromStore:
    """A device's data, read from the raw events in the fleet's store once they are there."""

    def __init__(self) -> None:
        self.inner: EventData

    def __getattr__(self, name):
        return getattr(self.inner, name)


@dataclass
class Town:
    """The services, a fleet with a past, and the two people who decide."""

    tapped: TappedServices
    fleet: Fleet
    analyst: Analyst
    officer: Officer

    def study(self, draft: Draft, **changes) -> Study:
        """A draft as a study of this house that a small cohort can answer at once."""
        small = {"minimum_cohort": 4, "epsilon_cap": 40.0, "window_seconds": 120.0, **changes}
        return replace(draft, **small).build(self.tapped.house.parties(time.time_ns() // 1_000_000))

    def propose(self, study: Study) -> None:
        """Propose, approve and start."""
        self.analyst.propose(study)
        self.officer.decide(study, "approve", "asks little", time.time_ns() // 1_000_000)
        self.analyst.start(study.study_id)

    def run(self, study: Study) -> dict:
        """The study's account once it is finished."""
        self.propose(study)
        return self.finish(study)

    def finish(self, study: Study, seconds: float = STUDY_SECONDS) -> dict:
        """Take part until the study is over."""
        deadline = time.monotonic() + seconds
        while (account := self.analyst.status(study.study_id))["state"] == "running":
            assert time.monotonic() < deadline, account
            if not self.fleet.step(wait=False):
                time.sleep(0.01)
        assert account["state"] == "finished", account
        return account


@contextlib.contextmanager
def town(folder: Path, people: int, *, canary=None, events: bool = True, choices=None, slots=None) -> Iterator[Town]:
    """Everything up and everybody enrolled; with ``events`` their raw events lie in the agent's store.

    Everybody grants everything, but for those that ``choices`` names by number.
    """
    house = build_house(folder / "house", SITE, CONTRACT, 8801, 8802, dt.datetime.now(dt.UTC))
    now_ms = time.time_ns() // 1_000_000
    population = ShopPopulation(people, 7, canary=canary, start_ms=now_ms - 30 * 86_400_000)
    tapped = TappedServices(house, folder)
    with contextlib.ExitStack() as ending:
        ending.callback(tapped.close)
        ending.enter_context(tapped.services)
        fleet = Fleet(
            folder / "fleet",
            [Device(f"device-{i}", FromStore(), (choices or {}).get(i, EVERYTHING)) for i in range(people)],
            LeaderConnection(house.leader_url, tapped.transport("leader")),
            HelperConnection(house.helper_url, tapped.transport("helper")),
            house.pins,
            CONTRACT,
            SystemClock(),
            slots,
        )
        ending.callback(fleet.close)
        fleet.enrol(house.tokens["enrol"])
        for record in fleet.store.participants.all():
            device = population[int(record.person.rsplit("-", 1)[1])]
            rows = (
                [(event.event_id, event.at_ms, json.dumps(event.document())) for event in device.events()]
                if events
                else []
            )
            with fleet.store.transaction():
                fleet.store.insert_events(record.participant_id, rows)
            stored = stored_events(fleet.store, record.participant_id, now_ms)
            fleet.devices[record.person].data.inner = EventData(stored, now_ms)
        analyst = Analyst(tapped.client("leader"), house.tokens["analyst"])
        yield Town(tapped, fleet, analyst, Officer(tapped.client("helper"), house.officer))
