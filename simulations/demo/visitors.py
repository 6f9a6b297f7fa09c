"""Two people with a real agent each, in front of the demo shop: what they browse stays there, and so does the choice.

Everything goes through the agent's own HTTP doors, as a browser goes through them: saying who is here, consent through
the visitor's page, events as the collector sends them, decisions as the shop's page asks for them.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from client_agent.agent import Addresses, set_up
from client_agent.clocks import SystemClock
from client_agent.connection import LeaderConnection
from client_agent.enrolment import enrol
from client_agent.keys import open_keyring
from simulations.demo.processes import Process, ProcessFailed, Supervisor, free_port
from simulations.fleet.visits import DEFAULT_CONTENT
from simulations.house import House
from simulations.populations import ShopDevice, ShopPopulation

PERSON = "me"
PLANTED = ("sneaker_lover", "bargain_hunter")
_DAY_MS = 86_400_000
_BATCH = 256
_POPULATION = 80
_BUNDLE_SECONDS = 20.0
_POLL_SECONDS = 0.2
_HIDDEN = re.compile(r'name="(person|notice|lang)" value="([^"]+)"')


@dataclass
class Visitor:
    """One person: a home gateway with its two origins.

    Attributes:
        device: planted behaviour that is replayed.
        process: the agent.
        origin: the shop as this person's browser sees it, through the gateway.
        page: the person's own page.
        browser: keeps cookies, as the person's browser does.
    """

    device: ShopDevice
    process: Process
    origin: str
    page: str
    browser: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20.0), repr=False)

    def say_who(self) -> None:
        """Say on the agent's own page who is here, and be led past the site's door and back, as a browser is."""
        answer = self._form("/people/choose", {"name": PERSON})
        entered = self.browser.get(answer.headers["location"], headers={"referer": f"{self.page}/"})
        if entered.headers.get("location") != f"{self.page}/":
            raise ProcessFailed(f"{self.process.name} did not let the browser in: {entered.text}")

    def consent(self) -> None:
        """Say who is here, and allow everything on the person's own page, by its form."""
        self.say_who()
        self._form("/consent", {"purpose": "all", "choice": "grant", **self._hidden()})

    def browse(self) -> int:
        """Send the person's events as the collector would; returns how many the agent took in."""
        token = self._token()
        events = [_as_collected(event.document()) for event in self.device.events()]
        return sum(
            self._post("events", events[start : start + _BATCH], token)["accepted"]
            for start in range(0, len(events), _BATCH)
        )

    def shown(self, slot: str) -> tuple[str, str]:
        """Wait for the bundle, then ask as the shop's page does: (persona from the person's own page, module id).

        A persona without a rule keeps the page's default content; few devices and much noise can find such a one.
        """
        deadline = time.monotonic() + _BUNDLE_SECONDS
        while time.monotonic() < deadline:
            self.process.check()
            concluded = self.browser.get(f"{self.page}/export.json").json()["decisions"]
            persona = next((row["value"] for row in concluded if row["name"] == "persona"), None)
            if persona is not None:
                asked = {"slots": [slot], "category": "home", "path": "/"}
                slots = self._post("decide", asked, self._token())["slots"]
                return str(persona), str(slots[slot]["module"]) if slot in slots else DEFAULT_CONTENT
            time.sleep(_POLL_SECONDS)
        raise ProcessFailed(f"{self.process.name} got no bundle within {_BUNDLE_SECONDS:.0f} s")

    def _post(self, path: str, body: Any, token: str) -> Any:
        headers = {"origin": self.origin, "x-hearthside-token": token}
        response = self.browser.post(f"{self.origin}/.hearthside/{path}", json=body, headers=headers)
        if not response.is_success:
            raise ProcessFailed(f"{self.process.name} answered {response.status_code}: {response.text}")
        return response.json()

    def _token(self) -> str:
        return str(self.browser.get(f"{self.origin}/.hearthside/notice").json()["token"])

    def _hidden(self) -> dict[str, str]:
        """The hidden fields that bind a form to the person whose page it is, and to the notice that it shows."""
        return dict(_HIDDEN.findall(self.browser.get(f"{self.page}/").text))

    def _form(self, path: str, fields: dict[str, str]) -> httpx.Response:
        response = self.browser.post(f"{self.page}{path}", data=fields, headers={"origin": self.page})
        if response.status_code != httpx.codes.SEE_OTHER:
            raise ProcessFailed(f"{self.process.name} did not take the form: {response.text}")
        return response


def start_visitors(
    house: House, folder: Path, seed: int, shop: str, canary: str, supervisor: Supervisor
) -> list[Visitor]:
    """Enrol and start one agent for each planted kind of visitor; they poll the leader like any other.

    The canary stands in every page that they visit, as it does in the fleet's.
    """
    now_ms = time.time_ns() // 1_000_000
    start_ms = now_ms - 30 * _DAY_MS
    people = ShopPopulation(_POPULATION, seed, canary=lambda index: f"{canary}-visitor-{index}", start_ms=start_ms)
    return [
        _start(house, folder / name, next(d for d in people if d.persona.name == name), shop, supervisor)
        for name in PLANTED
    ]


def _start(house: House, folder: Path, device: ShopDevice, shop: str, supervisor: Supervisor) -> Visitor:
    keyring = open_keyring(folder, prefer_file=True)
    agent = set_up(folder, house.pins, Addresses(house.leader_url, house.helper_url), keyring)
    leader = LeaderConnection(house.leader_url)
    enrol(
        agent.store, leader, house.pins, [PERSON], token=house.tokens["enrol"], clock=SystemClock(), entropy=os.urandom
    )
    agent.store.close()
    leader.close()
    port, page_port = free_port(), free_port()
    arguments = ["client_agent.cli", "run", "--dir", str(folder), "--upstream", shop, "--upstream-here"]
    arguments += ["--poll", "0.5"]
    process = supervisor.start(f"agent-{folder.name}", [*arguments, "--port", str(port), "--page-port", str(page_port)])
    return Visitor(device, process, f"http://127.0.0.1:{port}", f"http://localhost:{page_port}")


def _as_collected(event: dict[str, Any]) -> dict[str, Any]:
    """The event as a page's collector forms it: the gateway adds the site itself."""
    return {name: value for name, value in event.items() if name != "site" and value is not None}
