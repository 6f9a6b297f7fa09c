"""The one property that everything here serves: the latest choice wins, whatever happens around it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from consent import (
    INTENT,
    MEASUREMENT,
    NO_SIGNALS,
    PERSONA,
    PURPOSES,
    Accepted,
    Mirror,
    ReceiptInvalid,
    Registry,
    Row,
    Signals,
    accept,
    decide,
    observe_gpc,
    open_ledger,
    record,
    replay,
    restart,
)
from tests.consent.scenes import DAY, LEADER, PARTIES, Scene, next_version

_PURPOSES = (INTENT, PERSONA, MEASUREMENT)
_CLOCK = st.integers(-400, 400)
_ACTS = st.one_of(
    st.tuples(st.just("grant"), st.sets(st.sampled_from(_PURPOSES), min_size=1)),
    st.tuples(st.just("decline"), st.sets(st.sampled_from(_PURPOSES), min_size=1)),
    st.tuples(st.just("gpc"), st.none()),
    st.tuples(st.just("notice_change"), st.sampled_from(_PURPOSES)),
    st.tuples(st.just("clock_days"), _CLOCK),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("restore"), st.integers(0, 10)),
    st.tuples(st.just("deliver"), st.integers(0, 10)),
    st.tuples(st.just("put_back"), st.integers(0, 10)),
)


@dataclass
class Wish:
    """What the person last said about one purpose, kept apart from the code under test."""

    yes: bool = False
    version: int = 0
    said_at: int = 0
    gpc_since: bool = False


@dataclass
class Life:
    """A device's life, and the person's wishes beside it."""

    scene: Scene = field(default_factory=Scene)
    wishes: dict[str, Wish] = field(default_factory=lambda: {p: Wish() for p in _PURPOSES})
    sent: list[tuple[str, dict[str, bool]]] = field(default_factory=list)
    mirror: Mirror = field(default_factory=lambda: open_ledger(PARTIES).mirror)

    def play(self, act: str, what) -> None:
        getattr(self, act)(what)
        self.mirror = self.scene.device.mirror

    def grant(self, purposes: set[str]) -> None:
        jws = self.scene.grant(*purposes)
        for purpose in purposes:
            version = _version(self.scene.registry, purpose)
            self.wishes[purpose] = Wish(yes=True, version=version, said_at=self.scene.clock)
        self.sent.append((jws, self._standing()))

    def decline(self, purposes: set[str]) -> None:
        jws = self.scene.decline(*purposes)
        for purpose in purposes:
            self.wishes[purpose].yes = False
        self.sent.append((jws, self._standing()))

    def gpc(self, _: None) -> None:
        # The signal binds what was said before it was known; once known, every later notice speaks of it.
        self.scene.device, row = observe_gpc(self.scene.device, self.scene.clock)
        if row:
            self.scene.rows.append(row)
            for wish in self.wishes.values():
                wish.gpc_since = True

    def notice_change(self, purpose: str) -> None:
        self.scene.registry = next_version(self.scene.registry, purpose)

    def clock_days(self, days: int) -> None:
        self.scene.clock = max(0, self.scene.clock + days * DAY)

    def restart(self, _: None) -> None:
        before = self.scene.device
        self.scene.device = replay(PARTIES, [row.body() for row in self.scene.rows], self.mirror)
        assert self.scene.device == before

    def restore(self, kept: int) -> None:
        """An older copy of the ledger is put back; the mirror in the keyring is not."""
        rows: list[Row] = self.scene.rows[:kept]
        state = replay(PARTIES, rows, self.mirror)
        if len(rows) == len(self.scene.rows):
            return
        assert state.fault
        for purpose in _PURPOSES:
            assert not decide("contribute", purpose, state, NO_SIGNALS, self.scene.clock, self.scene.registry).allowed
        self.scene.device, row = restart(state, self.scene.clock)
        self.scene.rows = [*rows, row]

    def put_back(self, index: int) -> None:
        """Someone puts a receipt of the past into the device's own ledger again."""
        if index >= len(self.sent):
            return
        scene = self.scene
        try:
            scene.device, row = record(scene.device, self.sent[index][0], scene.clock, scene.registry)
        except ReceiptInvalid:
            return
        scene.rows.append(row)

    def deliver(self, index: int) -> None:
        """Any receipt of the past arrives at the leader, in any order, any number of times."""
        if index >= len(self.sent):
            return
        scene = self.scene
        jws, standing = self.sent[index]
        answer = accept(scene.leader, jws, LEADER, scene.clock, scene.registry)
        if isinstance(answer, Accepted):
            scene.leader = answer.state
            for purpose in _PURPOSES:
                held = decide("accept", purpose, scene.leader, NO_SIGNALS, scene.clock, scene.registry).allowed
                assert standing[purpose] or not held

    def check(self) -> None:
        scene = self.scene
        for purpose, wish in self.wishes.items():
            held = decide("contribute", purpose, scene.device, NO_SIGNALS, scene.clock, scene.registry).allowed
            assert not held or self._wished(purpose, wish)
            loud = decide("contribute", purpose, scene.device, Signals(gpc=True), scene.clock, scene.registry).allowed
            assert held or not loud

    def _wished(self, purpose: str, wish: Wish) -> bool:
        age = self.scene.clock - wish.said_at
        current = wish.version == _version(self.scene.registry, purpose)
        return wish.yes and current and not wish.gpc_since and -300 <= age < 180 * DAY

    def _standing(self) -> dict[str, bool]:
        return {purpose: wish.yes for purpose, wish in self.wishes.items()}


def _version(registry: Registry, purpose: str) -> int:
    found = registry.find(purpose)
    assert found
    return found.version


@settings(max_examples=150)
@given(st.lists(_ACTS, max_size=14))
def test_no_sequence_lets_a_contribution_through_against_the_latest_choice(acts):
    """Grants, refusals, withdrawals, changed notices, clocks, signals, restarts, restored copies, late deliveries."""
    life = Life()
    for act, what in acts:
        life.play(act, what)
        life.check()


@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(_PURPOSES), min_size=1)), max_size=10))
def test_without_disturbance_the_policy_says_exactly_what_was_chosen(choices):
    """The other half: a yes is honoured too, at once and on both sides, and old grants are not lost."""
    scene, wished = Scene(), dict.fromkeys(_PURPOSES, False)
    for yes, purposes in choices:
        jws = scene.grant(*purposes) if yes else scene.decline(*purposes)
        wished.update(dict.fromkeys(purposes, yes))
        scene.leader = accept_if_sent(scene, jws)
        for purpose in _PURPOSES:
            assert decide("contribute", purpose, scene.device, NO_SIGNALS, scene.clock).allowed is wished[purpose]
            assert decide("accept", purpose, scene.leader, NO_SIGNALS, scene.clock).allowed is wished[purpose]
        assert scene.leader.epoch == scene.device.epoch


def accept_if_sent(scene: Scene, jws: str):
    """A refusal stays at home; anything else is delivered."""
    answer = accept(scene.leader, jws, LEADER, scene.clock, PURPOSES)
    if isinstance(answer, Accepted):
        return answer.state
    assert answer.code == "refusal_stays_home"
    return scene.leader
