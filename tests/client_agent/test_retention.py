"""A no ends what was collected for it, whichever way it came; no clock that is behind and no damaged file does."""

import json
from datetime import timedelta

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.retention import SIGNAL_OF_KIND, forget_unread, kept_kinds, retire
from client_agent.visitor import StoredVisitor
from consent import PURPOSES
from models.events import Event
from tests.client_agent.world import START_MS, populate

KINDS = sorted(SIGNAL_OF_KIND)
DAY_MS = int(timedelta(days=1).total_seconds() * 1_000)


def collect(store, who, at_ms=START_MS) -> None:
    """One event of every kind that is ever stored."""
    extra = {"dwell": {"dwell_seconds": 1.0}, "scroll": {"scroll_depth": 0.5}}
    events = [Event(f"{kind}-{at_ms}", kind, at_ms, "shop.example", path="/", **extra.get(kind, {})) for kind in KINDS]
    store.insert_events(who, [(e.event_id, e.at_ms, json.dumps(e.document())) for e in events])


def kept(store, who) -> set[str]:
    return {json.loads(body)["kind"] for _, body in store.events_of(who)}


def read_by(*purposes: str) -> set[str]:
    """The kinds that some of these purposes declare."""
    signals = {signal for name in purposes for signal in PURPOSES.find(name).signals}
    return {kind for kind, signal in SIGNAL_OF_KIND.items() if signal in signals}


@pytest.mark.parametrize(
    ("granted", "declined"),
    [
        (("measurement", "personalisation"), ("personalisation",)),
        (("measurement", "churn"), ("measurement",)),
        (("next_action", "experiments"), ("next_action",)),
        (("intent",), ("intent",)),
        (("measurement",), None),
    ],
)
def test_a_no_deletes_what_no_other_purpose_reads(world, store, granted, declined):
    """What the remaining grants declare is kept, the rest goes with the choice; nothing remains of nothing."""
    (who, neighbour) = populate(world, store, 2, purposes=granted)
    for participant in (who, neighbour):
        collect(store, participant)
    ConsentKeeper(store, world.pins, world.clock).decline(who, declined)
    left = set(granted) - set(declined or granted)
    assert kept(store, who) == read_by(*left)
    assert kept(store, neighbour) == set(KINDS), "the others keep theirs"


def test_a_refusal_of_what_was_never_granted_deletes_nothing_that_is_read(world, store):
    """Saying no to one purpose leaves alone what another one, granted, reads."""
    (who,) = populate(world, store, 1, purposes=("measurement",))
    collect(store, who)
    ConsentKeeper(store, world.pins, world.clock).decline(who, ["churn"])
    assert kept(store, who) == read_by("measurement")


def test_global_privacy_control_deletes_what_it_takes_back(world, store):
    """The signal is a no to what was granted without knowing of it, and only to that."""
    (who,) = populate(world, store, 1, purposes=("measurement", "personalisation"))
    collect(store, who)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.observe_gpc(who)
    assert kept(store, who) == set()
    keeper.grant(who, ["measurement"])
    collect(store, who)
    keeper.observe_gpc(who)
    assert kept(store, who) == set(KINDS), "known already, and answered with a yes since"


def test_an_expired_grant_ends_it_at_the_next_look(world, store):
    """Nobody has said no; the grant is too old, and what was collected for it goes with the daily look."""
    (who,) = populate(world, store, 1)
    world.clock.advance(100 * 86_400)
    collect(store, who, START_MS + 100 * DAY_MS)
    retire(store, world.clock)
    assert kept(store, who) == read_by("measurement")
    world.clock.advance(90 * 86_400)
    collect(store, who, START_MS + 190 * DAY_MS)
    assert retire(store, world.clock) == len(KINDS) + len(read_by("measurement"))
    assert kept(store, who) == set()


def test_old_events_go_whoever_reads_them(world, store):
    """The retention of a granted purpose ends too."""
    (who,) = populate(world, store, 1, purposes=("personalisation",))
    collect(store, who, START_MS)
    collect(store, who, START_MS + 20 * DAY_MS)
    world.clock.advance(31 * 86_400)
    assert retire(store, world.clock) == len(KINDS)
    assert {at for at, _ in store.events_of(who)} == {START_MS + 20 * DAY_MS}


def test_a_clock_that_stands_before_the_grant_deletes_nothing(world, store):
    """A clock that is behind shuts the gates; it does not delete what a right one would have kept."""
    (who,) = populate(world, store, 1, purposes=("measurement",))
    collect(store, who)
    world.clock.ms -= 3 * 365 * DAY_MS
    retire(store, world.clock)
    assert kept(store, who) == read_by("measurement")


def test_a_ledger_that_does_not_verify_deletes_nothing(world, store):
    """A damaged row shuts every gate; the events wait, unread, for the person or the end of their retention."""
    (who,) = populate(world, store, 1, purposes=("measurement",))
    collect(store, who)
    store._database.run("UPDATE consent_rows SET body = x'00' WHERE participant_id = ?", (who,))
    state = ConsentKeeper(store, world.pins, world.clock).state_of(who)
    assert state.fault is not None
    assert forget_unread(store, who, state, START_MS // 1_000) == 0
    assert kept_kinds(state, START_MS // 1_000) == set(KINDS)


def test_an_event_that_cannot_be_read_goes_with_a_no(world, store):
    """What has no kind that a purpose declares is kept for nobody."""
    (who,) = populate(world, store, 1, purposes=("measurement", "personalisation"))
    store.insert_events(who, [("a", 1, "not json"), ("b", 2, "[]"), ("c", 3, '{"kind": "page_view"}')])
    ConsentKeeper(store, world.pins, world.clock).decline(who, ["personalisation"])
    assert [body for _, body in store.events_of(who)] == ['{"kind": "page_view"}']


def test_the_page_forgets_what_another_process_was_told_to(world, store):
    """The command line says no: the gateway's own copy of the events goes with the next look at the consent."""
    (who,) = populate(world, store, 1, purposes=("measurement", "personalisation"))
    collect(store, who)
    visitor = StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: None)
    assert {event.kind for event in visitor.events()} == set(KINDS)
    ConsentKeeper(store, world.pins, world.clock).decline(who, ["personalisation"])
    visitor.consent()
    assert {event.kind for event in visitor.events()} == read_by("measurement")


def test_a_choice_and_its_deletion_are_one(world, store, monkeypatch):
    """A crash between the two leaves neither: no refusal stands beside the events that it ended."""
    (who,) = populate(world, store, 1)
    collect(store, who)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("client_agent.store.consents.Consents.add_receipts", fail)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    with pytest.raises(KeyboardInterrupt):
        keeper.withdraw(who)
    assert kept(store, who) == set(KINDS)
    assert keeper.state_of(who).granted
