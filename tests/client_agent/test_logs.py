"""What an agent logs, at the finest level, while everything personal passes through it: nothing about the person."""

import http.server
import logging
import threading

import httpx
import pytest

from client_agent.agent import Addresses, set_up
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.erasing import deliver_farewells, erase_person
from client_agent.exporting import json_pieces
from client_agent.federation.child import AnswerProcess
from client_agent.gateway.application import GatewaySettings, gateway_app
from client_agent.keys import FileKeyring
from client_agent.logs import TALKATIVE
from client_agent.resident import Resident
from client_agent.retention import retire
from client_agent.rights import gather
from consent import PURPOSES, notice
from tests.client_agent.gateway.people import NOW_MS, SITE, MemoryVisitor, at_home, demo_bundle
from tests.client_agent.test_erasing_for_good import CANARY, NAME, plant
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.world import federate

ORIGIN, PAGE = "http://127.0.0.1:8100", "http://127.0.0.1:8101"


@pytest.fixture(autouse=True)
def _finest(caplog):
    """Everything at DEBUG, as an operator would set it to look for a fault; libraries as they were afterwards."""
    before = {name: logging.getLogger(name).level for name in TALKATIVE}
    caplog.set_level(logging.DEBUG)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def site():
    """A web site that logs nothing itself."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("set-cookie", f"seen={CANARY}")
            self.end_headers()
            self.wfile.write(b"a page")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def browse(site: str) -> None:
    """A visit through the gateway: pages and events that carry the canary, and some that are refused."""
    visitor = MemoryVisitor(demo_bundle())
    visitor.choose({purpose.id for purpose in PURPOSES}, (), notice(SITE, "en"))
    sessions, _, cookie, token = at_home(visitor)
    app = gateway_app(sessions, GatewaySettings(site, ORIGIN, PAGE, upstream_here=True))
    cookies = httpx.Cookies()
    cookies.set("hearthside-8100", cookie, "127.0.0.1", "/.hearthside")
    headers = {"origin": ORIGIN, "x-hearthside-token": token, "sec-fetch-site": "same-origin"}
    seen = {"version": 1, "event_id": CANARY, "kind": "page_view", "at_ms": NOW_MS - 1, "path": f"/{CANARY}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url=ORIGIN, cookies=cookies, headers=headers
    ) as web:
        page = await web.get(f"/{CANARY}", params={"q": CANARY})
        assert page.status_code == 200
        taken = await web.post("/.hearthside/events", json=[seen, {**seen, "kind": CANARY}, CANARY])
        assert taken.json()["accepted"] == 1
        shown = await web.post("/.hearthside/decide", json={"slots": [CANARY], "path": f"/{CANARY}"})
        assert shown.status_code == 200
        await web.post("/.hearthside/events", content=CANARY, headers={"content-type": "application/json"})


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_gateway_logs_no_page(site, caplog):
    """Neither its own lines nor a library's quote a path, a query, a header or an event."""
    await browse(site)
    assert CANARY not in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_talkative_library_would_be_found(site, caplog, monkeypatch):
    """Positive control: left to itself, the HTTP client writes every address into the log."""
    monkeypatch.setattr("client_agent.gateway.application.quieten", lambda: None)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)
    await browse(site)
    assert CANARY in caplog.text


def test_the_resident_and_the_worker_log_nobody(world, store, caplog, capfd, monkeypatch):
    """A whole life, faults included: rounds, refusals, a damaged ledger, an export, a no, an erasure."""
    who, needles = plant(world, store, 20)
    monkeypatch.setattr("client_agent.agent.LeaderConnection", lambda _: world.connections()[0])
    monkeypatch.setattr("client_agent.agent.HelperConnection", lambda _: world.connections()[1])
    folder = store._database.path.parent
    agent = set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    resident = Resident(agent, world.clock, 1.0)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    world.down = True
    keeper.decline(who, ["measurement"])
    resident.step()
    Courier(store, world.pins, world.clock).tell_both(*world.connections())
    world.down = False
    keeper.grant(who, ["measurement"])
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    owner = store.ledgers.owner_of(NAME)
    store._database.run("UPDATE ledger_rows SET body = x'00' WHERE owner = ?", (owner,))
    world.clock.advance(11)
    federation = federate(world, store)
    world.open_round(world.study(study_id="second", window_seconds=10.0, created_at_ms=world.clock.ms))
    take_part(world, federation, only_round(federation))
    federation.send_due()
    "".join(json_pieces(gather(store, world.pins, NAME, world.clock)))
    retire(store, world.clock)
    erase_person(store, world.pins, NAME, world.clock)
    deliver_farewells(store, world.pins, world.clock, *world.connections())
    store.remove_traces()
    written = caplog.text + "".join(capfd.readouterr())
    assert "damaged and counts as spent" in written, "there are lines to look through"
    texts = {CANARY, NAME, who, owner, *(f"person-{number}" for number in range(3))}
    texts |= {needle.decode() for name, needle in needles.items() if name in {"receipts", "refusal kept at home"}}
    assert not {text for text in texts if text in written}


def test_the_child_that_computes_writes_to_no_log(capfd):
    """A traceback may quote what it was about: the child's own output goes nowhere."""
    command = ("sh", "-c", f"echo {CANARY} >&2; cat >/dev/null")
    process = AnswerProcess(lambda _: [], lambda: NOW_MS, command)
    try:
        process._running()
        process._child.stdin.close()
        process._child.wait()
    finally:
        process.close()
    assert CANARY not in "".join(capfd.readouterr())
