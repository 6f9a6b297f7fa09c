"""A shop, a gateway and the agent's own pages on real sockets, over a real encrypted store; no leader anywhere."""

import contextlib
import os
import secrets
import socket
import threading
import time

import uvicorn

from client_agent.clocks import SystemClock
from client_agent.enrolment import Pins
from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.gateway.sessions import Sessions
from client_agent.household import StoredHousehold
from client_agent.keys import open_keyring
from client_agent.people import PeopleKeeper
from client_agent.store import ParticipantRecord, open_store
from models.personalisation import prepare, publishable_bundle
from privacy.crypto import SigningKey
from simulations.demo.shop.application import shop_app
from tests.client_agent.gateway.people import SITE, demo_bundle


def free_socket():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@contextlib.contextmanager
def serve(listener, app):
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def say_who(page, page_origin, name="me", pin="", *, lasting=False):
    """In a real browser: say on the agent's own page who is here; ends on that person's own page."""
    page.goto(f"{page_origin}/people?lang=en")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))
    if pin:
        card.get_by_label("PIN").fill(pin)
    card.get_by_role("checkbox").set_checked(lasting)
    card.get_by_role("button", name="This is me").click()
    page.wait_for_url(f"{page_origin}/?lang=en")


class House:
    """Everything beside one or several people; ``visitor`` is the first of them."""

    def __init__(self, folder, names=("me",)):
        store = open_store(folder, open_keyring(folder, prefer_file=True))
        leader, helper = SigningKey.generate(), SigningKey.generate()
        pins = Pins(leader.verify_key, helper.verify_key, (), SITE)
        with store.transaction():
            store.participants.add(
                ParticipantRecord(
                    secrets.token_hex(8), name, SITE, leader.verify_key.raw, secrets.token_bytes(32), None
                )
                for name in names
            )
        bundle = prepare(publishable_bundle(demo_bundle()))
        self.store = store
        self.keeper = PeopleKeeper(store, pins, SystemClock(), os.urandom)
        self.household = StoredHousehold(store, pins, SystemClock(), lambda: bundle, lambda: None)
        self.sessions = Sessions(self.household, os.urandom)
        self.visitor = self.household.visitor(names[0])
        self.listeners = [free_socket() for _ in range(3)]
        shop, site, page = (listener.getsockname()[1] for listener in self.listeners)
        hosts = f"http://127.0.0.1:{shop}", f"http://127.0.0.1:{site}", f"http://localhost:{page}"
        self.settings = GatewaySettings(*hosts, upstream_here=True)


@contextlib.contextmanager
def house(folder, names=("me",)):
    """Run a house; yields it."""
    built = House(folder, names)
    shop, site, page = built.listeners
    with contextlib.ExitStack() as running:
        running.enter_context(serve(shop, shop_app()))
        running.enter_context(serve(site, gateway_app(built.sessions, built.settings)))
        running.enter_context(serve(page, page_app(built.sessions, built.settings)))
        yield built
    built.store.close()
