"""The four gates as one property: nothing passes that the latest choice forbids, and a fresh yes opens what it grants.

The machine turns the registry, the clock, the signals and who is there, restarts, loses and restores the ledger, and
lets receipts arrive late, twice or never. The model beside it knows what was said last, in which version, when and
knowing what; it knows no ledger, no epoch and no signature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consent import (
    INTENT,
    MEASUREMENT,
    NO_SIGNALS,
    PERSONA,
    PERSONALISATION,
    PURPOSES,
    Accepted,
    ConsentError,
    Registry,
    Signals,
    accept,
    decide,
    grant,
    observe_gpc,
    record,
    replay,
    restart,
)
from consent.choices import beyond, notice_for
from consent.receipts import verify_receipt
from consent.signals import SUBJECTS
from tests.consent.scenes import DAY, DEVICE, LEADER, PARTIES, Scene, next_version

ASKED = (INTENT, PERSONA, MEASUREMENT, PERSONALISATION)
CHOICES = st.sets(st.sampled_from(ASKED), min_size=1)
SKEW = 300


@dataclass
class Said:
    """What the person said last about one purpose."""

    yes: bool = False
    version: int = 0
    at: int = 0
    knowing: bool = False
    signal_since: bool = False


class GatesMachine(RuleBasedStateMachine):
    """One device and its leader."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.said = {purpose: Said() for purpose in ASKED}
        self.signals = NO_SIGNALS
        self.older: list[Registry] = [PURPOSES]
        self.sent: list[str] = []
        self.delivered = 0

    @rule(purposes=CHOICES)
    def grant(self, purposes) -> None:
        scene = self.scene
        self._mend()
        shown = notice_for(scene.device, self.signals, registry=scene.registry)
        receipt = grant(scene.device, purposes, notice=shown, issued_at=scene.clock, registry=scene.registry)
        self.sent.append(scene._record(receipt))
        for purpose in purposes:
            self.said[purpose] = Said(True, self._version(purpose), scene.clock, shown.gpc)
        self._opens(purposes)

    @rule(purposes=CHOICES)
    def decline(self, purposes) -> None:
        self._mend()
        self.sent.append(self.scene.decline(*purposes))
        for purpose in purposes:
            self.said[purpose].yes = False

    @rule(gpc=st.booleans(), subject=st.sampled_from(SUBJECTS))
    def browse(self, gpc, subject) -> None:
        self.signals = Signals(gpc, subject)
        if gpc and self.scene.device.fault is None:
            self.scene.device, row = observe_gpc(self.scene.device, self.scene.clock)
            self.scene.rows += [row] if row else []
        for said in self.said.values():
            said.signal_since |= gpc and not said.knowing

    @rule(purpose=st.sampled_from(ASKED))
    def change_a_purpose(self, purpose) -> None:
        self.scene.registry = next_version(self.scene.registry, purpose)
        self.older.append(self.scene.registry)

    @rule(data=st.data())
    def change_the_registry_back(self, data) -> None:
        self.scene.registry = data.draw(st.sampled_from(self.older))

    @rule(days=st.integers(-400, 400), seconds=st.integers(-600, 600))
    def turn_the_clock(self, days, seconds) -> None:
        self.scene.clock = max(0, self.scene.clock + days * DAY + seconds)

    @rule()
    def restart(self) -> None:
        before = self.scene.device
        if before.fault is None:
            self.scene.device = replay(PARTIES, [row.body() for row in self.scene.rows], before.mirror)
            assert self.scene.device == before

    @precondition(lambda self: self.scene.rows)
    @rule(data=st.data())
    def put_an_older_ledger_back(self, data) -> None:
        kept = data.draw(st.integers(0, len(self.scene.rows) - 1))
        self.scene.device = replay(PARTIES, self.scene.rows[:kept], self.scene.device.mirror)
        self.scene.rows = self.scene.rows[:kept]

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_receipt_arrives(self, data) -> None:
        self._deliver(data.draw(st.sampled_from(self.sent)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def an_old_receipt_is_put_into_the_ledger(self, data) -> None:
        scene, jws = self.scene, data.draw(st.sampled_from(self.sent))
        try:
            scene.device, row = record(scene.device, jws, scene.clock, scene.registry)
        except ConsentError:
            return
        scene.rows.append(row)

    @invariant()
    def no_gate_opens_against_the_latest_choice(self) -> None:
        for purpose in ASKED:
            for gate in ("collect", "use", "contribute"):
                asked = decide(gate, purpose, self.scene.device, self.signals, self.scene.clock, self.scene.registry)
                assert not asked.allowed or self._may(gate, purpose), asked.explain()
                assert asked.receipt or not asked.allowed
            device = decide("contribute", purpose, self.scene.device, NO_SIGNALS, self.scene.clock, self.scene.registry)
            leader = decide("accept", purpose, self.scene.leader, NO_SIGNALS, self.scene.clock, self.scene.registry)
            same = self.scene.device.epoch == self.scene.leader.epoch
            if device.allowed and leader.allowed and same:
                assert self._may("accept", purpose, NO_SIGNALS)

    def _may(self, gate: str, purpose: str, signals: Signals | None = None) -> bool:
        said, signals = self.said[purpose], signals or self.signals
        leaves = purpose != PERSONALISATION or gate in {"collect", "use"}
        current = said.version == self._version(purpose) and -SKEW <= self.scene.clock - said.at < 180 * DAY
        silent = said.knowing or not (signals.gpc or said.signal_since)
        return said.yes and leaves and current and silent and signals.subject == "known"

    def _opens(self, purposes: set[str]) -> None:
        """Liveness: at once on the device, and at the leader once it has heard, however far it was ahead."""
        scene = self.scene
        here = replace(self.signals, subject="known")
        for purpose in purposes:
            assert decide("use", purpose, scene.device, here, scene.clock, scene.registry).allowed
        answer = self._deliver(self.sent[-1])
        if not isinstance(answer, Accepted):
            assert answer.code == "epoch_not_after"
            again = beyond(verify_receipt(self.sent[-1], DEVICE.verify_key), answer.last_epoch)
            self.sent[-1] = scene._record(again)
            answer = self._deliver(self.sent[-1])
        assert isinstance(answer, Accepted)
        for purpose in purposes - {PERSONALISATION}:
            assert decide("accept", purpose, scene.leader, NO_SIGNALS, scene.clock, scene.registry).allowed
            assert scene.leader.epoch == scene.device.epoch

    def _deliver(self, jws: str):
        scene = self.scene
        answer = accept(scene.leader, jws, LEADER, scene.clock, scene.registry)
        if isinstance(answer, Accepted):
            scene.leader = answer.state
        return answer

    def _mend(self) -> None:
        """The next choice restarts a ledger that does not verify."""
        if self.scene.device.fault is not None:
            self.scene.device, row = restart(self.scene.device, self.scene.clock)
            self.scene.rows.append(row)

    def _version(self, purpose: str) -> int:
        return self.scene.registry.find(purpose).version


TestGatesMachine = GatesMachine.TestCase
TestGatesMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


class LongGatesMachine(GatesMachine):
    """The same for longer."""


TestLongGatesMachine = pytest.mark.soak(LongGatesMachine.TestCase)
TestLongGatesMachine.settings = settings(max_examples=3_000, stateful_step_count=50, deadline=None)
