"""A leader that shrinks, forks, freezes or splits its log gets nothing from a device, and leaves evidence."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.errors import AgentError
from client_agent.federation.log_view import standing
from client_agent.keys import FileKeyring
from models.wire.log import FRESH_SECONDS
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, Work
from privacy.crypto import MerkleTree, SigningKey, sign_document, verify_document
from privacy.crypto.tiles import edge_tiles
from tests.client_agent.test_federation import take_part
from tests.client_agent.world import World, federate, make_store, populate

EVERYONE = {"sampling_rate": 1.0}


def signed(world: World, tree: MerkleTree, at_ms: int | None = None, key: SigningKey | None = None) -> str:
    """A checkpoint of a tree, by the leader unless said."""
    at_ms = world.clock.now_ms() if at_ms is None else at_ms
    statement = Checkpoint(size=len(tree), root=tree.root().hex(), at_ms=at_ms)
    return sign_document(key or world.leader, CHECKPOINT_TYPE, statement.document())


def show(world: World, checkpoint: str | None, *items) -> None:
    """What every poll gets from now on."""
    world.work = Work(rounds=items or world.work.rounds, stopped=(), checkpoint=checkpoint, bundle_version=0)


def another(size: int) -> MerkleTree:
    """A history of the leader's own making: its first entry is another one."""
    return MerkleTree([b"rewritten", *(b"entry %d" % index for index in range(size - 1))])


def grow(world: World, count: int) -> None:
    for index in range(count):
        world.log.append(b"more %d" % index)


@pytest.fixture
def federation(world, store):
    populate(world, store, 2)
    return federate(world, store)


def test_growth_is_followed_and_kept(world, store, federation):
    """Poll after poll of a growing log; the last checkpoint that held outlives the process."""
    for number in range(1, 4):
        grow(world, 200)
        item = world.open_round(world.study(plan=EVERYONE), number)
        assert [found.round for found in federation.open_rounds()] == [number]
        assert standing(store)["checkpoint"] == world.work.checkpoint
        assert item.opening == federation.open_rounds()[0].source[0]
    again = federate(world, store)
    assert again.log.fault is None
    world.log = another(len(world.log) + 5)
    show(world, signed(world, world.log))
    assert again.open_rounds() == []
    assert standing(store)["fault"]["code"] == "forked"


def test_two_logs_of_one_size_are_a_fork_for_good(world, store, federation):
    """The leader's two signatures prove it: nothing is contributed, not even when it shows the first log again."""
    item = world.open_round(world.study(plan=EVERYONE))
    assert federation.open_rounds()
    honest, forged = world.work.checkpoint, signed(world, another(len(world.log)))
    show(world, forged)
    assert federation.open_rounds() == []
    assert federation.refused == {item.study.study_hash(): "log"}
    show(world, honest)
    assert federation.open_rounds() == []
    (evidence,) = standing(store)["evidence"]
    assert (evidence["kept"], evidence["shown"], evidence["lasting"]) == (honest, forged, True)
    roots = {verify_document(jws, CHECKPOINT_TYPE, (world.leader.verify_key,))["root"] for jws in (honest, forged)}
    assert len(roots) == 2


def test_a_rewritten_history_stops_what_was_waiting_to_be_sent(world, store, federation):
    """Reports that are ready stay here while the log does not hold, and leave once it does; the evidence stays."""
    item = world.open_round(world.study(plan=EVERYONE))
    (found,) = federation.open_rounds()
    take_part(world, federation, found)
    honest = world.work.checkpoint
    show(world, signed(world, another(len(world.log) + 3)))
    world.log, genuine = another(len(world.log) + 3), world.log
    assert federation.open_rounds() == []
    assert federation.send_due().accepted == 0
    assert world.reports == {}
    world.log = genuine
    show(world, honest, item)
    assert len(federation.open_rounds()) == 1
    assert federation.send_due().accepted == 2
    assert [evidence["code"] for evidence in standing(store)["evidence"]] == ["forked"]


def test_an_older_view_of_the_same_log_is_no_fault(world, store, federation):
    """One worker of the leader lags behind another: it shows the beginning of what is known, and that is shown."""
    older = signed(world, world.log)
    item = world.open_round(world.study(plan=EVERYONE))
    assert federation.open_rounds()
    newest = standing(store)["checkpoint"]
    grow(world, 3)
    show(world, older, item)
    federation.open_rounds()
    assert (federation.log.fault, standing(store)["checkpoint"]) == (None, newest)


def test_a_log_that_lost_entries_is_not_believed(world, store, federation):
    """Fewer entries than before, and no proof that they are the beginning: nothing; seen twice, it is evidence."""
    grow(world, 20)
    world.open_round(world.study(plan=EVERYONE))
    assert federation.open_rounds()
    world.log = MerkleTree([b"first entry", b"second entry"])
    show(world, signed(world, world.log))
    for polls in (0, 1):
        assert federation.open_rounds() == []
        assert standing(store)["fault"]["code"] == "shrunk"
        assert len(standing(store)["evidence"]) == polls


@pytest.mark.parametrize("seconds", [-FRESH_SECONDS - 1, 600])
def test_a_frozen_log_is_not_believed(world, store, federation, seconds):
    """A checkpoint of an hour ago, or of the future, says nothing about now."""
    world.open_round(world.study(plan=EVERYONE))
    show(world, signed(world, world.log, world.clock.now_ms() + seconds * 1_000))
    assert federation.open_rounds() == []
    assert standing(store)["fault"]["code"] == "frozen"
    show(world, signed(world, world.log))
    assert len(federation.open_rounds()) == 1
    assert standing(store)["fault"] is None


def test_work_without_the_leaders_checkpoint_gets_nothing(world, store, federation):
    """Left out, or signed by somebody else."""
    world.open_round(world.study(plan=EVERYONE))
    for checkpoint in (None, signed(world, world.log, key=world.helper)):
        show(world, checkpoint)
        assert federation.open_rounds() == []
        assert standing(store)["fault"]["code"] == "unsigned"


def test_growth_that_the_leader_does_not_prove_is_not_believed(world, store, federation):
    """No tiles, no contribution; with them the same checkpoint is fine, and no evidence was made of it."""
    world.open_round(world.study(plan=EVERYONE))
    assert federation.open_rounds()
    hidden = world.log
    grow(world, 5)
    show(world, signed(world, hidden))
    world.log = MerkleTree()
    assert federation.open_rounds() == []
    assert standing(store)["fault"]["code"] == "unproven"
    world.log = hidden
    assert len(federation.open_rounds()) == 1
    assert standing(store)["evidence"] == []


def test_a_leader_that_shows_helper_and_device_different_logs_is_caught(world, tmp_path, federation):
    """Two devices, two logs with one key: the helper's opening fits one of them, and the other notices at once."""
    other_store = make_store(tmp_path / "other")
    populate(world, other_store, 1)
    other = federate(world, other_store)
    show(world, signed(world, world.log))
    federation.open_rounds()
    genuine, forged = world.log, another(len(world.log))
    world.log = forged
    show(world, signed(world, forged))
    other.open_rounds()
    assert federation.log.fault is None
    assert other.log.fault is None, "nobody has compared anything yet"
    world.log = genuine
    item = world.open_round(world.study(plan=EVERYONE))
    assert len(federation.open_rounds()) == 1, "who sees what the helper saw takes part"
    world.log = forged
    grow(world, 3)
    show(world, signed(world, forged), item)
    assert other.open_rounds() == []
    (evidence,) = standing(other_store)["evidence"]
    assert (evidence["code"], evidence["shown"]) == ("forked", item.opening)
    assert verify_document(evidence["kept"], CHECKPOINT_TYPE, (world.leader.verify_key,))["size"] == len(forged)
    other_store.close()


def test_the_leader_does_not_hear_what_was_seen_last(world, tmp_path):
    """Devices that looked last at different sizes (one needs no leaf for its proof) send the very same requests."""
    asked = []
    for name, growth in (("a", 254), ("b", 44), ("c", 100)):
        store = make_store(tmp_path / name)
        populate(world, store, 1)
        asked.append((store, federate(world, store)))
        grow(world, growth)
        show(world, signed(world, world.log))
        asked[-1][1].open_rounds()
    grow(world, 111)
    item = world.open_round(world.study(plan=EVERYONE))
    show(world, signed(world, world.log), item)
    requests = []
    for store, federation in asked:
        world.tiles.clear()
        assert len(federation.open_rounds()) == 1
        requests.append(list(world.tiles))
        store.close()
    assert requests == [list(edge_tiles(len(world.log)))] * 3


def test_a_person_looks_into_it_and_begins_anew(world, store, federation):
    """``log show`` exports both signatures, ``status`` says the fault, ``log accept`` needs a yes and ends it."""
    world.open_round(world.study(plan=EVERYONE))
    federation.open_rounds()
    honest, forged = world.work.checkpoint, signed(world, another(len(world.log)))
    show(world, forged)
    federation.open_rounds()
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))

    def command(*words: str) -> str:
        done = CliRunner().invoke(cli.app, [*words, "--dir", str(folder)], catch_exceptions=False)
        return done.stdout

    status = json.loads(command("status", "--json", "--person", "person-0"))
    assert "contradict" in status["log_fault"]
    seen = json.loads(command("log", "show", "--json"))
    assert (seen["evidence"][0]["kept"], seen["evidence"][0]["shown"]) == (honest, forged)
    assert "NOTHING IS CONTRIBUTED" in command("log", "show")
    with pytest.raises(AgentError, match="--yes"):
        command("log", "accept")
    assert federation.log.fault is not None
    command("log", "accept", "--yes")
    world.log = another(len(world.log))
    show(world, forged)
    federation.open_rounds()
    assert standing(store)["checkpoint"] == forged
    assert standing(store)["fault"] is None
    assert len(standing(store)["evidence"]) == 1
