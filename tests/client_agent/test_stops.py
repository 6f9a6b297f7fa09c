"""An officer's stop: believed by its signature, whoever brings it, and asked for where nobody does."""

import json

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.federation.stops import IGNORED_STOPS
from client_agent.keys import FileKeyring
from models.wire.studies import APPROVAL_TYPE, Decision
from privacy.crypto import SigningKey, sign_document
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import federate, populate

STRANGER = SigningKey(b"x" * 32)


def queued(world, store):
    """A federation with reports that wait for their slots, and their round."""
    populate(world, store, 4)
    federation = federate(world, store)
    item = world.open_round(world.study())
    found = only_round(federation)
    federation.finalise(found, federation.reserve_all(found))
    world.clock.advance(1.5)
    return federation, item


def sent_by_the_end(world, federation) -> int:
    world.clock.advance(8)
    return federation.send_due().accepted


def test_a_stop_that_the_leader_hides_is_heard_from_the_helper(world, store):
    """The leader goes on showing the round; the helper says what the office decided, within a poll."""
    federation, item = queued(world, store)
    world.stop(item.study)
    assert federation.open_rounds() == []
    assert federation.refused == {item.study.study_hash(): "stopped"}
    assert sent_by_the_end(world, federation) == 0


def test_a_stop_is_heard_though_the_leader_hides_the_round_too(world, store):
    """What waits here of a round that is no longer shown is asked about as well, and deleted."""
    federation, item = queued(world, store)
    world.stop(item.study)
    world.publish()
    federation.open_rounds()
    assert sent_by_the_end(world, federation) == 0


def test_a_stop_is_heard_from_the_leader_while_the_helper_is_down(world, store):
    """One way is enough."""
    federation, item = queued(world, store)
    world.helper_down = True
    world.publish(item, stopped=(world.stop(item.study),))
    assert federation.open_rounds() == []
    assert sent_by_the_end(world, federation) == 0


@pytest.mark.parametrize("forger", ["stranger", "leader", "helper"])
def test_a_forged_stop_is_ignored_and_counted_once(world, store, forger):
    """Only pinned officers stop studies: another's word changes nothing, and the device's status tells of it."""
    federation, item = queued(world, store)
    signer = {"stranger": STRANGER, "leader": world.leader, "helper": world.helper}[forger]
    forged = world.stop(item.study, by=signer)
    world.publish(item, stopped=(forged,))
    for _ in range(3):
        assert [found.key for found in federation.open_rounds()] == [(item.study.study_hash(), 1)]
        world.clock.advance(0.1)
    assert store.facts.counted(IGNORED_STOPS) == 1
    assert sent_by_the_end(world, federation) == 4


def test_an_approval_in_the_list_of_stops_stops_nothing(world, store):
    """An officer's yes, replayed as a stop, is ignored like a forged one."""
    federation, item = queued(world, store)
    world.publish(item, stopped=(item.approval,))
    assert len(federation.open_rounds()) == 1
    assert store.facts.counted(IGNORED_STOPS) == 1


def test_a_stop_of_another_study_stops_that_one_only(world, store):
    """A decision is bound to the bytes that it names, and stays in force when a later poll leaves it out."""
    federation, item = queued(world, store)
    other = world.study(study_id="other")
    world.publish(item, stopped=(world.stop(other),))
    assert len(federation.open_rounds()) == 1
    world.decisions.clear()
    world.open_round(other)
    assert federation.open_rounds() == []
    assert federation.refused == {other.study_hash(): "stopped"}


def test_the_helper_is_asked_once_a_study_and_poll(world, store):
    """Neither many people nor quick polls multiply the questions; a helper that is down is left alone for a while."""
    federation, item = queued(world, store)
    name = item.study.study_hash().hex()
    world.questions.clear()
    for _ in range(5):
        federation.open_rounds()
    assert world.questions == [name]
    world.clock.advance(1)
    world.helper_down = True
    federation.open_rounds()
    world.helper_down = False
    world.clock.advance(2)
    federation.open_rounds()
    assert world.questions == [name]
    world.clock.running_seconds += 60
    federation.open_rounds()
    assert world.questions == [name, name]


@pytest.mark.parametrize("answer", ["refuse", "approve"])
def test_what_is_no_stop_stops_nothing(world, store, answer):
    """The helper's newest decision counts where it is a stop by a pinned officer."""
    federation, item = queued(world, store)
    decision = Decision(
        study_id=item.study.study_id, study_hash=item.study.study_hash().hex(), decision=answer, reason="r",
        decided_at_ms=world.clock.ms,
    )  # fmt: skip
    world.decisions[decision.study_hash] = sign_document(world.officer, APPROVAL_TYPE, decision.document())
    assert len(federation.open_rounds()) == 1
    world.stop(item.study, by=STRANGER)
    world.clock.advance(1)
    assert len(federation.open_rounds()) == 1


def test_the_status_tells_of_ignored_stops(world, store):
    """Whoever looks after the device sees that somebody made stops up."""
    populate(world, store, 1)
    with store.transaction():
        store.facts.count(IGNORED_STOPS)
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    done = CliRunner().invoke(cli.app, ["status", "--json", "--dir", str(folder), "--person", "person-0"])
    assert json.loads(done.stdout)["ignored_stops"] == 1
