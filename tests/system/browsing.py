"""A household on real sockets, a browser that is one person's, and the checks that every page passes."""

import contextlib
import os
import time
from dataclasses import dataclass

from axe_playwright_python.sync_playwright import Axe

from client_agent.gateway.application import GatewaySettings, gateway_app, page_app
from client_agent.gateway.cookies import cookie_name
from client_agent.gateway.ports import Budget, Sent
from client_agent.gateway.sessions import Sessions
from consent import PURPOSES, notice
from models.events import Event
from simulations.demo.shop.application import shop_app
from tests.client_agent.gateway.people import SITE, MemoryHousehold, MemoryVisitor, demo_bundle, known
from tests.system.accessible import faults
from tests.system.house import free_socket, serve

LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
EVERYTHING = {purpose.id for purpose in PURPOSES}
UNFOLD = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


def now_ms():
    return time.time_ns() // 1_000_000


def person(*loves):
    """A visitor who allowed everything and looked at one kind of thing, or somebody new."""
    visitor = MemoryVisitor(demo_bundle(), now_ms)
    if loves:
        visitor.choose(EVERYTHING, (), notice(SITE, "en"))
        looks = [
            Event(f"{category}{i}", "dwell", now_ms() - 60_000 + i, SITE, category=category, dwell_seconds=30.0)
            for category in loves
            for i in range(4)
        ]
        visitor.append_events(looks)
        visitor.sent_rows = [Sent("persona", 5, 8_505), Sent("intent", 3, 4_302)]
        visitor.spent = Budget(0.75, 2.0, 1e-5, 30.0, 1.25, local_epsilon=11.5)
    return visitor


@dataclass(frozen=True)
class Home:
    """One person's gateway and page, and the cookies of a browser that is theirs."""

    visitor: MemoryVisitor
    settings: GatewaySettings
    sessions: Sessions
    cookies: tuple[dict[str, str], ...]

    @property
    def page(self):
        return self.settings.page_origin

    @property
    def site(self):
        return self.settings.origin


def at_home(sessions, settings, name="me"):
    """Cookies of a browser in which a person said who they are."""
    page, site = known(sessions, name)
    return (
        {"name": cookie_name(settings.page_origin, "page"), "value": page, "url": settings.page_origin},
        {"name": cookie_name(settings.origin, "site"), "value": site, "url": settings.origin + "/.hearthside/"},
    )


@contextlib.contextmanager
def household(*visitors, **settings):
    """A shop, and for each visitor a gateway and an own page; yields their homes."""
    with contextlib.ExitStack() as running:
        shop, built = free_socket(), []
        running.enter_context(serve(shop, shop_app()))
        for visitor in visitors:
            listeners = free_socket(), free_socket()
            site, page = (listener.getsockname()[1] for listener in listeners)
            upstream = f"http://127.0.0.1:{shop.getsockname()[1]}"
            origins = f"http://127.0.0.1:{site}", f"http://localhost:{page}"
            found = GatewaySettings(upstream, *origins, upstream_here=True, **settings)
            sessions = Sessions(MemoryHousehold({"me": visitor}, now_ms=visitor.now_ms), os.urandom)
            running.enter_context(serve(listeners[0], gateway_app(sessions, found)))
            running.enter_context(serve(listeners[1], page_app(sessions, found)))
            built.append(Home(visitor, found, sessions, at_home(sessions, found)))
        yield built


@contextlib.contextmanager
def viewing(chromium, address, home=None, *, width=1280, scheme="light", **options):
    """A fresh browser profile on one page; an error of script or policy fails the test, a refused request does not."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
    if home is not None:
        context.add_cookies(list(home.cookies))
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert [text for text in said if not text.startswith("Failed to load resource")] == []


def axe_findings(page):
    """What axe-core finds, of any impact: one line each."""
    found = Axe().run(page).response["violations"]
    return [f"{one['impact']} {one['id']}: {one['nodes'][0]['html'][:160]}" for one in found]


def assert_accessible(chromium, address, home=None, looks=LOOKS, **options):
    """No fault in any look, folded in and folded out; axe-core agrees."""
    for width, scheme in looks:
        with viewing(chromium, address, home, width=width, scheme=scheme, **options) as page:
            assert faults(page) == [], (width, scheme)
            page.evaluate(UNFOLD)
            assert faults(page) == [], (width, scheme, "unfolded")
            assert axe_findings(page) == [], (width, scheme, "axe")
