"""A visitor over the real encrypted store: durable, deduplicated, and up to date with other processes."""

import secrets

import pytest

from client_agent.clocks import SystemClock
from client_agent.enrolment import Pins
from client_agent.keys import open_keyring
from client_agent.store import ParticipantRecord, open_store
from client_agent.visitor import StoredVisitor
from consent import PERSONA, PERSONALISATION, notice
from models.events import Event
from tests.client_agent.gateway.people import DEVICE, LEADER, SITE

DAY_MS = 86_400_000


class Clock(SystemClock):
    def __init__(self):
        self.later_ms = 0

    def now_ms(self):
        return super().now_ms() + self.later_ms


@pytest.fixture
def agent(tmp_path):
    stores, clock = [], Clock()
    participant = secrets.token_hex(8)

    def start(heard=None):
        store = open_store(tmp_path / "agent", open_keyring(tmp_path / "agent", prefer_file=True))
        stores.append(store)
        if not store.participants.all():
            with store.transaction():
                store.participants.add(
                    [ParticipantRecord(participant, "me", SITE, LEADER.verify_key.raw, DEVICE.seed(), None)]
                )
        pins = Pins(LEADER.verify_key, LEADER.verify_key, (), SITE)
        return StoredVisitor(store, pins, participant, clock, lambda: None, heard or (lambda: None))

    start.clock = clock
    yield start
    for store in stores:
        store.close()


def event(number, at_ms):
    return Event(f"e{number}", "page_view", at_ms, SITE, category="sale")


def test_events_and_consent_survive_a_restart(agent):
    """What was accepted before is there afterwards, once, however often it was sent."""
    visitor = agent()
    visitor.choose({PERSONALISATION}, (), notice(SITE, "en"))
    now_ms = visitor.now_ms()
    visitor.append_events([event(1, now_ms), event(2, now_ms), event(1, now_ms)])
    visitor.append_events([event(2, now_ms)])
    again = agent()
    assert [kept.event_id for kept in again.events()] == ["e1", "e2"]
    assert again.consent().grant_of(PERSONALISATION)
    assert len(again.receipts()) == 1


def test_a_choice_made_in_another_process_is_in_force_at_once(agent):
    """The command line withdraws while the gateway runs: the gateway's next question sees it."""
    gateway, command_line = agent(), agent()
    gateway.choose({PERSONA}, (), notice(SITE, "en"))
    assert command_line.consent().grant_of(PERSONA)
    command_line.choose((), {PERSONA}, notice(SITE, "en"))
    assert gateway.consent().grant_of(PERSONA) is None


def test_each_choice_is_handed_on_without_waiting(agent):
    """The shell hears of every choice, so that it can deliver receipts and tell the helper."""
    heard = []
    visitor = agent(lambda: heard.append("chosen"))
    visitor.choose({PERSONA}, (), notice(SITE, "en"))
    visitor.choose((), {PERSONA}, notice(SITE, "en"))
    visitor.observe_gpc()
    assert heard == ["chosen", "chosen", "chosen"]


def test_events_leave_after_their_retention(agent):
    """After 30 days they no longer count, and the next start deletes them."""
    visitor = agent()
    visitor.append_events([event(1, visitor.now_ms())])
    agent.clock.later_ms = 31 * DAY_MS
    assert list(visitor.events()) == []
    assert agent()._events == {}


def test_nothing_is_spent_and_nothing_left_before_anything_was_asked(agent):
    """A fresh device has sent nothing, and has no budget to show yet."""
    visitor = agent()
    assert list(visitor.sent()) == []
    assert visitor.budget() is None
