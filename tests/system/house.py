"""A shop, a gateway and a visitor's page on real sockets, over a real encrypted store; no leader anywhere."""

import contextlib
import secrets
import socket
import threading
import time

import uvicorn

from client_agent.clocks import SystemClock
from client_agent.enrolment import Pins
from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.keys import open_keyring
from client_agent.store import ParticipantRecord, open_store
from client_agent.visitor import StoredVisitor
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


class House:
    """Everything beside one visitor."""

    def __init__(self, folder):
        store = open_store(folder, open_keyring(folder, prefer_file=True))
        leader, helper = SigningKey.generate(), SigningKey.generate()
        pins = Pins(leader.verify_key, helper.verify_key, (), SITE)
        record = ParticipantRecord(
            secrets.token_hex(8), "me", SITE, leader.verify_key.raw, secrets.token_bytes(32), None
        )
        with store.transaction():
            store.participants.add([record])
        bundle = prepare(publishable_bundle(demo_bundle()))
        self.store = store
        self.visitor = StoredVisitor(store, pins, record.participant_id, SystemClock(), lambda: bundle, lambda: None)
        self.listeners = [free_socket() for _ in range(3)]
        shop, site, page = (f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in self.listeners)
        self.settings = GatewaySettings(shop, site, page)


@contextlib.contextmanager
def house(folder):
    """Run a house; yields it."""
    built = House(folder)
    shop, site, page = built.listeners
    with contextlib.ExitStack() as running:
        running.enter_context(serve(shop, shop_app()))
        running.enter_context(serve(site, gateway_app(built.visitor, built.settings)))
        running.enter_context(serve(page, page_app(built.visitor, built.settings)))
        yield built
    built.store.close()
