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
from models.wire.log import FRESH_SECONDS, LAG_SECONDS
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, Work
from privacy.crypto import (
    HistoryContradicted,
    MerkleTree,
    SigningKey,
    sign_document,
    verify_consistency,
    verify_document,
)
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


def honest_entries(size: int) -> MerkleTree:
    """The first entries of one history."""
    return MerkleTree(b"entry %d" % index for index in range(size))


def grow(world: World, count: int) -> None:
    for index in range(count):
        world.log.append(b"more %d" % index)


def grow_away(world: World, count: int) -> None:
    """Grow, in a tree of its own: who holds the old one still has it as it was."""
    size = len(world.log)
    grown = MerkleTree()
    grown.extend(world.log.node(0, index) for index in range(size))
    world.log = grown
    grow(world, count)


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


def test_an_older_view_is_no_news_and_no_fault_for_a_moment(world, store, federation):
    """One worker of the leader lags behind another: nothing is taken from that poll, and the next one goes on."""
    older = signed(world, world.log)
    item = world.open_round(world.study(plan=EVERYONE))
    (found,) = federation.open_rounds()
    newest = standing(store)["checkpoint"]
    show(world, older, item)
    assert federation.open_rounds() == []
    assert (federation.log.fault, standing(store)["checkpoint"]) == (None, newest)
    assert federation.refused == {found.study_hash: "checkpoint"}
    show(world, newest, item)
    assert len(federation.open_rounds()) == 1, "the round was not closed meanwhile"
    take_part(world, federation, found)
    assert federation.send_due().accepted == 2


def test_an_old_tree_with_a_new_time_is_believed_for_minutes_at_most(world, store, federation):
    """Hourly polls of a tree that is stamped anew while the log grew: the second is a fault, in a fresh process too."""
    old = world.log
    grow_away(world, 20)
    show(world, signed(world, world.log))
    federation.open_rounds()
    newest = standing(store)["checkpoint"]
    for evidence in range(3):
        world.clock.advance(FRESH_SECONDS)
        world.open_round(world.study(plan=EVERYONE), 1 + evidence)
        show(world, signed(world, old))
        assert federate(world, store).open_rounds() == []
        fault = standing(store)["fault"]
        assert (None if fault is None else fault["code"]) == ("shrunk" if evidence else None)
        assert len(standing(store)["evidence"]) == max(0, evidence - 1)
    assert standing(store)["evidence"][0]["kept"] == newest
    world.open_round(world.study(plan=EVERYONE), 4)
    assert len(federate(world, store).open_rounds()) == 1
    assert standing(store)["fault"] is None


def test_a_device_that_is_held_back_takes_part_in_nothing_that_the_helper_opened_since(world, federation):
    """It never saw more than the old tree; the helper did, and says so in the opening."""
    old = world.log
    show(world, signed(world, old))
    federation.open_rounds()
    grow_away(world, 20)
    item = world.open_round(world.study(plan=EVERYONE))
    show(world, signed(world, old), item)
    assert federation.open_rounds() == []
    assert federation.refused == {item.study.study_hash(): "checkpoint"}


def test_a_log_that_lost_entries_is_not_believed(world, store, federation):
    """Fewer entries than before: nothing at once, a fault after minutes; seen twice, it is evidence."""
    grow(world, 20)
    world.open_round(world.study(plan=EVERYONE))
    assert federation.open_rounds()
    world.log = MerkleTree([b"first entry", b"second entry"])
    show(world, signed(world, world.log))
    assert federation.open_rounds() == []
    world.clock.advance(LAG_SECONDS + 1)
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


@pytest.mark.parametrize("size", [32, 37])
def test_wrong_tiles_are_no_evidence_against_an_honest_log(world, store, federation, size):
    """However often they come, nothing is kept of them: the contradiction that comes later has its place."""
    world.log = honest_entries(size)
    show(world, signed(world, world.log))
    federation.open_rounds()
    for more in range(1, 10):
        world.log = another(size + more)
        show(world, signed(world, honest_entries(size + more)))
        federation.open_rounds()
        assert standing(store)["fault"]["code"] == "unproven"
    assert standing(store)["evidence"] == []
    forged = signed(world, another(size))
    show(world, forged)
    federation.open_rounds()
    assert [item["shown"] for item in standing(store)["evidence"]] == [forged]


@pytest.mark.parametrize("size", [32, 37])
def test_the_evidence_of_a_fork_is_a_proof(world, store, federation, size):
    """Whoever has it shows that the newer tree, which the leader signed, begins with another one than it signed."""
    world.log = honest_entries(size)
    show(world, signed(world, world.log))
    federation.open_rounds()
    world.log = another(size + 9)
    show(world, signed(world, world.log))
    federation.open_rounds()
    (item,) = standing(store)["evidence"]
    (kept, shown) = (
        verify_document(item[side], CHECKPOINT_TYPE, (world.leader.verify_key,)) for side in ("kept", "shown")
    )
    path, beginning = [bytes.fromhex(node) for node in item["proof"]["path"]], bytes.fromhex(item["proof"]["beginning"])
    assert (item["proof"]["size"], kept["size"]) == (size, size)
    verify_consistency(size, beginning, shown["size"], bytes.fromhex(shown["root"]), path)
    assert beginning.hex() != kept["root"]
    if size == 37:
        with pytest.raises(HistoryContradicted):
            verify_consistency(size, bytes.fromhex(kept["root"]), shown["size"], bytes.fromhex(shown["root"]), path)


def test_two_logs_of_one_size_have_a_place_among_the_evidence_whatever_came_before(world, store, federation):
    """Of many forks the first stay; the contradiction that needs no proof displaces the last of the others."""
    world.log = honest_entries(20)
    show(world, signed(world, world.log))
    federation.open_rounds()
    for more in range(1, 11):
        world.log = another(20 + more)
        show(world, signed(world, world.log))
        federation.open_rounds()
    before = standing(store)["evidence"]
    forged = signed(world, another(20))
    show(world, forged)
    federation.open_rounds()
    after = standing(store)["evidence"]
    assert after[:-1] == before[:-1]
    assert (after[-1]["shown"], after[-1]["lasting"], len(after)) == (forged, True, 8)


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


def test_a_leader_and_a_helper_that_state_two_logs_of_one_size_leave_evidence(world, store, federation):
    """The round is refused, and the helper's opening and the leader's checkpoint are kept side by side."""
    item = world.open_round(world.study(plan=EVERYONE))
    forged = signed(world, another(len(world.log)))
    show(world, forged, item)
    assert federation.open_rounds() == []
    (evidence,) = standing(store)["evidence"]
    assert (evidence["code"], evidence["kept"], evidence["shown"]) == ("forked", forged, item.opening)


@pytest.mark.parametrize(
    ("served", "shown"),
    [
        *((honest_entries(510), size) for size in (300, 503, 504, 510)),
        (MerkleTree(), 504),
        (another(510), 504),
    ],
    ids=["less", "as-the-first", "as-the-second", "more", "no-tiles", "other-tiles"],
)
def test_no_checkpoint_makes_a_device_tell_what_it_saw_last(world, tmp_path, served, shown):
    """Devices that were shown sizes of their own are shown less, the same or more: a fresh process asks the same.

    So it does where the leader serves no tiles, or other ones: what fails is not asked for once more by some.
    """
    requests = []
    for size in (503, 504, 505):
        store = make_store(tmp_path / str(size))
        populate(world, store, 1)
        world.log = honest_entries(size)
        show(world, signed(world, world.log))
        federate(world, store).open_rounds()
        world.log = served
        show(world, signed(world, honest_entries(shown)))
        world.tiles.clear()
        fresh = federate(world, store)
        for _ in range(2):
            fresh.open_rounds()
        requests.append(list(world.tiles))
        store.close()
    assert requests[0] == requests[1] == requests[2]
    assert set(requests[0]) <= set(edge_tiles(shown))
    assert requests[0], "the edge was asked for"


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
