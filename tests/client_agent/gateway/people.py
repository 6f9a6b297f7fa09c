"""A visitor in memory with a real consent ledger, and a bundle that knows two personas, for the gateway's tests."""

import base64

import numpy as np

from client_agent.gateway.ports import Budget, Sent
from consent import Parties, decline, grant, observe_gpc, open_ledger, record, sign_receipt
from models.events import FeatureSpec
from models.personalisation import prepare
from models.queries.answers import named_features
from models.wire.bundle import Bundle, NetModel, PersonaModel, TransitionModel
from privacy.crypto import SigningKey
from simulations.demo.content import PERSONA_PHRASES, SEGMENTS, modules, rules
from simulations.populations.shop import CATEGORIES

SITE = "shop.example"
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

    def observe_gpc(self):
        self.state, _ = observe_gpc(self.state, self.now_ms() // 1000)

    def append_events(self, events):
        self.stored |= {event.event_id: event for event in events if event.event_id not in self.stored}

    def events(self):
        return list(self.stored.values())

    def erase_events(self):
        self.stored.clear()

    def bundle(self):
        return self.prepared

    def sent(self):
        return self.sent_rows

    def budget(self):
        return self.spent

    def receipts(self):
        return self.jws
