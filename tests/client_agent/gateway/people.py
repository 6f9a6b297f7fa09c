"""A household in memory, visitors with a real consent ledger, and a bundle that knows two personas, for the gateway."""

import base64
import contextlib
import re
from dataclasses import replace

import httpx
import numpy as np

from client_agent.errors import PersonRefused, PinRefused
from client_agent.gateway.application import GatewaySettings, page_app
from client_agent.gateway.cookies import cookie_name
from client_agent.gateway.ports import Budget, Member, Sent
from client_agent.gateway.seals import issue_pass
from client_agent.gateway.sessions import Sessions
from client_agent.rights import Column, Export, Section
from client_agent.store import PersonRecord
from consent import Parties, decline, grant, observe_gpc, open_ledger, record, sign_receipt
from models.events import FeatureSpec
from models.personalisation import prepare
from models.queries.answers import named_features
from models.wire.bundle import Bundle, NetModel, PersonaModel, TransitionModel
from privacy.crypto import SigningKey
from simulations.demo.content import PERSONA_PHRASES, SEGMENTS, modules, rules
from simulations.populations.shop import CATEGORIES

SITE = "shop.example"
PAGE_ORIGIN = "http://127.0.0.1:8101"
DEVICE, LEADER = SigningKey(b"d" * 32), SigningKey(b"l" * 32)
NOW_MS = 1_772_366_400_000  # 2026-03-01, a Sunday, noon UTC


def demo_bundle() -> Bundle:
    """Two personas (sneakers, sale), a net that sees nothing but its bias, and the demo's content."""
    profile, session = FeatureSpec("profile", CATEGORIES), FeatureSpec("session", CATEGORIES)
    centroids = []
    for category in ("sneakers", "sale"):
        centroid = np.full(profile.dimension, 0.05)
        centroid[profile.names.index(f"dwell:{category}")] = 0.8
        centroids.append(tuple(float(x) for x in centroid))
    parameters = np.zeros(session.dimension + 1, dtype="<f4")
    parameters[-1] = -1.0
    labels = (PERSONA_PHRASES["sneakers"], PERSONA_PHRASES["sale"])
    count = len(CATEGORIES)
    return Bundle(
        site=SITE,
        bundle_version=7,
        published_at_ms=NOW_MS,
        personas=PersonaModel(
            features=named_features(profile), centroids=tuple(centroids), labels=labels, study_id="personas-1"
        ),
        intent=NetModel(
            task="intent",
            features=named_features(session),
            hidden=0,
            parameters=base64.b64encode(parameters.tobytes()).decode(),
            study_id="intent-1",
        ),
        transitions=TransitionModel(
            categories=CATEGORIES, rows=tuple((1 / count,) * count for _ in range(count)), study_id="transitions-1"
        ),
        segments=SEGMENTS,
        modules=modules(),
        rules=rules(labels),
        provenance=(),
    )


class MemoryVisitor:
    """The agent's side of the port, without a store."""

    site = SITE

    def __init__(self, bundle: Bundle | None = None, now_ms=lambda: NOW_MS):
        self._now_ms = now_ms
        self.state = open_ledger(Parties(DEVICE.verify_key, LEADER.verify_key, SITE, "p1"))
        self.stored = {}
        self.jws = []
        self.prepared = prepare(bundle) if bundle else None
        self.sent_rows: list[Sent] = []
        self.spent: Budget | None = None
        self.log_held = True
        self.recorded, self.contributed, self.erased = [], [], False
        self.withheld = []

    def now_ms(self):
        return self._now_ms()

    def consent(self):
        return self.state

    def choose(self, granted, declined, notice):
        now = self.now_ms() // 1000
        for act, purposes in ((grant, granted), (decline, declined)):
            if purposes:
                jws = sign_receipt(DEVICE, act(self.state, purposes, notice=notice, issued_at=now))
                self.state, _ = record(self.state, jws, now)
                self.jws.append(jws)

    def note_withheld(self, gate, purposes):
        self.withheld += [(gate, purpose) for purpose in purposes]

    def observe_gpc(self):
        self.state, _ = observe_gpc(self.state, self.now_ms() // 1000)

    def append_events(self, events, under=None):
        if under is not None and under.head != self.state.head:
            return False
        self.stored |= {event.event_id: event for event in events if event.event_id not in self.stored}
        return True

    def events(self):
        return list(self.stored.values())

    def erase_events(self):
        self.stored.clear()

    def bundle(self):
        return self.prepared

    def sent(self):
        return self.sent_rows

    def log_holds(self):
        return self.log_held

    def budget(self):
        return self.spent

    def receipts(self):
        return self.jws

    def history(self):
        return self.recorded

    def contributions(self):
        return self.contributed

    def consent_record(self):
        return b"{}"

    def everything(self, signals):
        del signals
        rows = [(event.at_ms, event.kind) for event in self.events()]
        columns = (Column("at_ms", "when"), Column("kind", "what happened"))
        return Export("me", self.now_ms(), (Section("events", "Collected.", columns, lambda: iter(rows)),))

    def erase_everything(self):
        self.erased = True


class MemoryBrowsers:
    """The port's browsers, without a store."""

    def __init__(self):
        self.rows = {}

    def by_page(self, page):
        return self.rows.get(page)

    def by_site(self, site):
        return next((row for row in self.rows.values() if row.site == site), None)

    def of(self, person):
        return sorted((row for row in self.rows.values() if row.person == person), key=lambda row: -row.used_at_ms)

    def put(self, record):
        self.rows[record.page] = record

    def meet(self, page, site):
        if page in self.rows:
            self.rows[page] = replace(self.rows[page], site=site)
        return page in self.rows

    def touch(self, page, used_at_ms, opened_at_ms):
        if page in self.rows:
            self.rows[page] = replace(self.rows[page], used_at_ms=used_at_ms, opened_at_ms=opened_at_ms)

    def end(self, pages):
        for page in pages:
            self.rows.pop(page, None)

    def end_unused(self, lasting_before_ms, others_before_ms):
        over = [r for r in self.rows.values() if r.used_at_ms < (lasting_before_ms if r.lasting else others_before_ms)]
        self.end([row.page for row in over])


class MemoryHousehold:
    """The port's household, without a store: visitors by name, None for somebody who has no profile."""

    def __init__(self, visitors, children=(), pins=None, now_ms=lambda: NOW_MS):
        self.visitors = dict(visitors)
        self.children = set(children)
        self.pins = pins or {}
        self.browsers = MemoryBrowsers()
        self._now_ms = now_ms
        self.site = SITE

    def now_ms(self):
        return self._now_ms()

    def members(self):
        return [self.member(name) for name in sorted(self.visitors)]

    def member(self, name):
        if name not in self.visitors:
            return None
        return Member(name, "child" if name in self.children else "adult", name in self.pins)

    def visitor(self, name):
        return None if name in self.children else self.visitors.get(name)

    def person(self, name):
        return MemoryVisitor() if self.visitor(name) is None else None

    def together(self):
        return contextlib.nullcontext()

    def stands(self, checked):
        return self._record(checked.name) == checked

    def check_pin(self, name, pin):
        if name not in self.visitors:
            raise PersonRefused("expected somebody of this household")
        if self.pins.get(name, pin) != pin:
            raise PinRefused("expected this person's PIN, got another", 30)
        return self._record(name)

    def _record(self, name):
        pin = self.pins.get(name)
        return PersonRecord(name, "child" if name in self.children else "adult", None, pin.encode() if pin else None)


def same_token(count):
    """Entropy that always gives the same, for tests in which one browser is one person's throughout."""
    return b"e" * count


def known(sessions, name="me", pin="", *, lasting=False):
    """A browser of somebody who said who they are: (token on the page's origin, token on the site's)."""
    page = sessions.begin([], name, pin, lasting=lasting)
    site, _ = sessions.redeem(sessions.mint([page]))
    return page, site


def at_home(visitor):
    """Sessions of one visitor, with a browser that is theirs: (sessions, page's token, site's token, a pass)."""
    sessions = Sessions(MemoryHousehold({"me": visitor}, now_ms=visitor.now_ms), same_token)
    page, site = known(sessions)
    here = sessions.at_site([site])
    return sessions, page, site, issue_pass(here.secret, here.epoch, visitor.now_ms(), same_token)


def page_browser(visitor):
    """The browser of somebody who said who they are, on the agent's own page."""
    sessions, page, _, _ = at_home(visitor)
    cookies = httpx.Cookies()
    cookies.set(cookie_name(PAGE_ORIGIN, "page"), page, "127.0.0.1", "/")
    settings = GatewaySettings("http://shop.internal", "http://127.0.0.1:8100", PAGE_ORIGIN)
    app, options = page_app(sessions, settings), {"base_url": PAGE_ORIGIN, "follow_redirects": True, "cookies": cookies}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), **options)


async def hidden_fields(web, headers=None, lang="en"):
    """What binds this person's forms to their page, and a yes to the notice on it."""
    answer = await web.get(f"/?lang={lang}", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(re.findall(r'name="(person|notice|lang)" value="([^"]*)"', answer.text))
