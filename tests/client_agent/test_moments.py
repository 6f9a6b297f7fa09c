"""Time at the gates of the device: a clock turned back prolongs no grant; one that was far ahead ends none for good."""

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.store.moments import STEP_SECONDS
from client_agent.visitor import StoredVisitor
from consent import MEASUREMENT, NO_SIGNALS, PERSONA, PERSONALISATION, decide
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import federate, make_store, populate

DAY = 86_400


class Clocked:
    """One person who granted, and a clock that is turned."""

    def __init__(self, world, store):
        self.world, self.store = world, store
        (self.who,) = populate(world, store, 1, (MEASUREMENT, PERSONALISATION))

    def look(self):
        self.store.consents.look(self.now, self.world.clock.monotonic_seconds())

    @property
    def now(self):
        return self.world.clock.now_ms() // 1_000

    def turn(self, days):
        self.world.clock.ms += int(days * DAY * 1_000)

    def rule(self, purpose=PERSONALISATION, gate="use"):
        state = ConsentKeeper(self.store, self.world.pins, self.world.clock).state_of(self.who)
        return decide(gate, purpose, state, NO_SIGNALS, self.now).rule

    def grant(self, *purposes):
        ConsentKeeper(self.store, self.world.pins, self.world.clock).grant(self.who, purposes)


@pytest.fixture
def clocked(world, store):
    """A device with a grant of today."""
    return Clocked(world, store)


def test_a_grant_that_ended_does_not_begin_again_when_the_clock_is_turned_back(clocked, world, tmp_path):
    """At every gate of the device, in this process and in one that starts afterwards."""
    clocked.turn(181)
    clocked.look()
    clocked.turn(-100)
    for gate, purpose in (("collect", PERSONALISATION), ("use", PERSONALISATION), ("contribute", MEASUREMENT)):
        assert clocked.rule(purpose, gate) == "expired"
    clocked.store.close()
    clocked.store = make_store(tmp_path / "agent")
    assert clocked.rule() == "expired"
    federation = federate(world, clocked.store)
    world.open_round(world.study(expires_at_ms=world.clock.ms + 10**9))
    assert not federation.reserve_all(only_round(federation))


def test_a_grant_ages_by_running_time_while_the_clock_stands_in_the_past(clocked, world):
    """Turned back once and left there: the grant ends after 180 days of running time all the same."""
    clocked.turn(100)
    clocked.look()
    clocked.turn(-90)
    clocked.look()
    for _ in range(80):
        assert clocked.rule() == "granted"
        world.clock.running_seconds += DAY
        clocked.look()
    assert clocked.rule() == "expired"


def test_a_page_that_is_open_notices_the_turned_clock(clocked, world):
    """The state that a process holds is read again as soon as the clock is seen to have been turned."""
    visitor = StoredVisitor(clocked.store, world.pins, clocked.who, world.clock, lambda: None, lambda: None)
    visitor.consent()
    clocked.turn(181)
    clocked.look()
    clocked.turn(-100)
    clocked.look()
    assert decide("collect", PERSONALISATION, visitor.consent(), NO_SIGNALS, clocked.now).rule == "expired"


def test_a_clock_that_was_far_ahead_for_a_moment_does_not_shut_the_gates_for_ever(clocked):
    """What stood before has ended, as far as anybody can know; a fresh yes counts at once, and ages from now."""
    clocked.turn(20_000)
    clocked.look()
    clocked.turn(-20_000)
    assert clocked.rule() == "expired"
    clocked.grant(PERSONALISATION)
    assert clocked.rule() == "granted"
    clocked.turn(100)
    clocked.look()
    assert clocked.rule() == "granted"
    clocked.turn(81)
    clocked.look()
    clocked.turn(-150)
    assert clocked.rule() == "expired"


def test_another_choice_does_not_carry_an_ended_grant_over(clocked):
    """The receipt of a later yes lists only what had not ended by the latest time that is known."""
    clocked.turn(181)
    clocked.look()
    clocked.turn(-100)
    clocked.grant(PERSONA)
    assert clocked.rule(PERSONA) == "granted"
    assert clocked.rule() == "not_granted"


def test_a_no_is_recorded_whatever_the_clock_says(clocked):
    """Turned a century back after a century ahead: the withdrawal is in force at once."""
    clocked.turn(36_500)
    clocked.look()
    clocked.turn(-50_000)
    ConsentKeeper(clocked.store, clocked.world.pins, clocked.world.clock).withdraw(clocked.who)
    assert clocked.rule() == "declined"


def test_time_is_written_down_by_the_step_not_by_the_look(clocked, monkeypatch):
    """A poll each second does not write each second."""
    written = []
    keep = clocked.store.consents.moments._keep
    monkeypatch.setattr(clocked.store.consents.moments, "_keep", lambda *mark: (written.append(mark), keep(*mark)))
    for _ in range(STEP_SECONDS + 1):
        clocked.world.clock.advance(1)
        clocked.look()
    assert len(written) == 1
