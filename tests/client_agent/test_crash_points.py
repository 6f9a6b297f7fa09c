"""The device's ledger, killed at every statement, commit, mirror write and request."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from client_agent.federation.budgets import LEDGER_LOST
from client_agent.keys import FileKeyring
from client_agent.store import CONTRACT, STORE_FILE
from client_agent.store.database import Database
from client_agent.store.ledgers import MIRROR
from models.wire.frames import decode_batch
from privacy.accounting import Contract, spent, spent_epsilon
from tests.client_agent.test_federation import VECTOR, only_round, take_part
from tests.client_agent.world import CONTRACT as TERMS
from tests.client_agent.world import World, federate, make_store, populate
from tests.crash_points import Steps, deaths, note, noted

SENT = "sent.txt"
PEOPLE = 2


@pytest.fixture
def scene(tmp_path) -> tuple[World, Path]:
    """People who consented, with a closed store to start each attempt from."""
    world, store = World(), make_store(tmp_path / "origin")
    populate(world, store, PEOPLE)
    store.close()
    return world, tmp_path / "origin"


def copies(origin: Path):
    """Each attempt on a fresh copy of the same folder."""

    def prepare(attempt: int) -> Path:
        shutil.rmtree(origin.with_name(f"attempt-{attempt - 1}"), ignore_errors=True)
        return Path(shutil.copytree(origin, origin.with_name(f"attempt-{attempt}")))

    return prepare


def watch(steps: Steps) -> None:
    """Make a point around each statement and commit, and around and within each write of the mirror's file."""
    for name in ("run", "run_many"):
        steps.around(Database, name)
    steps.around(FileKeyring, "write_all")
    steps.around(os, "fsync")


def watch_sending(world: World, folder: Path, steps: Steps) -> None:
    """Make a point before a batch leaves and one after the leader has it; what left is noted for ever."""
    inner = world._take

    def take(frame):
        steps.reach()
        note(folder / SENT, hashlib.sha256(frame.report.seal + frame.report.masked).hexdigest() + frame.device_id.hex())
        answer = inner(frame)
        steps.reach()
        return answer

    world._take = take


def one_round(world: World):
    """A whole round: charge, null, coin, real answer, fixing, sending."""

    def work(folder: Path, steps: Steps) -> None:
        store = make_store(folder)
        watch(steps)
        watch_sending(world, folder, steps)
        federation = federate(world, store)
        take_part(world, federation, only_round(federation), VECTOR)
        world.clock.advance(9.5)
        federation.send_due()

    return work


def sent_again(world: World) -> set[str]:
    """What the leader got from the process that came after, spelled as the dead one's notes are."""
    frames = [frame for body in world.bodies if body[:1] != b"{" for frame in frames_of(body)]
    return {hashlib.sha256(f.report.seal + f.report.masked).hexdigest() + f.device_id.hex() for f in frames}


def frames_of(body: bytes):
    """The frames of a request, none if it is another kind of request."""
    try:
        return decode_batch(body) if body else []
    except ValueError:
        return []


def test_no_crash_point_releases_without_a_charge_or_reopens_budget(scene):
    """Wherever it dies: the ledger is whole, each report that left has its row, charged and sent once; life goes on."""
    world, origin = scene
    item = world.open_round(world.study(plan={"sampling_rate": 1.0}))
    moment, released, charges = vars(world.clock).copy(), set(), set()
    for step, folder in deaths(copies(origin), one_round(world)):
        left = noted(folder / SENT)
        store = make_store(folder)
        with store.transaction():
            assert store.ledgers.intact(), step
        world.bodies.clear()
        world.reports.clear()
        federation = federate(world, store, seed=b"z")
        states = {member.device_id.hex(): member.budget.contract for member in federation.roster}
        assert all(active.purpose != LEDGER_LOST for state in states.values() for active in state.active), step
        assert all(states[line[64:]].length == 1 for line in left), step
        charges.add(sum(state.length for state in states.values()))
        found = only_round(federation)
        federation.finalise(found, federation.reserve_all(found))
        world.clock.advance(9.5)
        federation.send_due()
        assert {member.budget.contract.length for member in federation.roster} == {1}, step
        again = sent_again(world)
        assert len(set(left) | again) == PEOPLE, f"step {step}: a second report of one round left"
        released.add(len(left))
        world.clock.advance(1)
        world.open_round(world.study(study_id="next"))
        reserved = federation.reserve_all(only_round(federation))
        assert [reservation.payment for reservation in reserved] == ["paid"] * PEOPLE, step
        store.close()
        vars(world.clock).update(moment)
        world.publish(item)  # for the next one to die
    assert step > 40
    assert charges == {0, PEOPLE}, "one transaction charges everybody: all or nobody"
    assert {0, 1, PEOPLE} <= released


def test_no_crash_point_of_an_erasure_or_a_new_contract_gives_budget_back(scene):
    """While the ledger is rewritten the spend never falls."""
    world, origin = scene
    store = make_store(origin)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    before = spent_epsilon(federation.budgets.of("person-0").contract, federation.budgets.read_times())
    store.close()
    lower = Contract(TERMS.epsilon / 2, TERMS.delta, TERMS.order)

    def rewrite(folder: Path, steps: Steps) -> None:
        store = make_store(folder)
        watch(steps)
        federate(world, store, contract=lower).budgets.forget_rounds("person-0")

    for step, folder in deaths(copies(origin), rewrite):
        store = make_store(folder)
        with store.transaction():
            assert store.ledgers.intact(), step
        budgets = federate(world, store, contract=lower).budgets
        state = budgets.of("person-0").contract
        assert all(active.purpose != LEDGER_LOST for active in state.active), step
        figure = state.contract.epsilon_of(spent(state, budgets.read_times()))
        assert figure >= before * (1 - 1e-12), step
        store.close()
    assert step > 20


def test_no_crash_point_whitewashes_a_restored_ledger(scene):
    """However often it dies while the loss is recorded, the budget stays spent."""
    world, origin = scene
    store = make_store(origin)
    federation = federate(world, store)
    world.open_round(world.study(study_id="first"))
    take_part(world, federation, only_round(federation))
    store.close()
    FileKeyring(origin).write(MIRROR, bytes(32))  # what the keyring remembers is a later ledger than the store's
    world.clock.advance(1)
    world.open_round(world.study(study_id="second"))

    def notice(folder: Path, steps: Steps) -> None:
        store = make_store(folder)
        watch(steps)
        federate(world, store).reserve_all(only_round(federate(world, store)))

    for step, folder in deaths(copies(origin), notice):
        store = make_store(folder)
        federation = federate(world, store, seed=b"y")
        assert all(
            any(active.purpose == LEDGER_LOST for active in member.budget.contract.active)
            for member in federation.roster
        ), step
        (world_round,) = [found for found in federation.open_rounds() if found.study.study_id == "second"]
        payments = {reservation.payment for reservation in federation.reserve_all(world_round)}
        assert payments <= {"over_budget"}, step
        store.close()
    assert step > 20


def test_a_ledger_whose_rows_are_gone_is_spent(scene, caplog):
    """Rows deleted and the heads kept: nobody gets a fresh budget, and the log names what is wrong."""
    world, origin = scene
    store = make_store(origin)
    federation = federate(world, store)
    world.open_round(world.study(study_id="first"))
    take_part(world, federation, only_round(federation))
    owner = store.ledgers.owner_of("person-0")
    store._database.run("DELETE FROM ledger_rows WHERE owner = ? AND filter = ?", (owner, CONTRACT))
    store.close()
    assert (origin / STORE_FILE).exists()
    store = make_store(origin)
    budgets = federate(world, store).budgets
    assert spent_epsilon(budgets.of("person-0").contract, budgets.read_times()) >= TERMS.epsilon * (1 - 1e-12)
    assert spent_epsilon(budgets.of("person-1").contract, budgets.read_times()) < TERMS.epsilon / 2
    assert "ledger row 0: expected rows, got none" in caplog.text


def test_a_changed_byte_is_named_in_the_log(scene, caplog):
    """The operator's line says which row and which byte; the budget counts as spent."""
    world, origin = scene
    store = make_store(origin)
    federation = federate(world, store)
    world.open_round(world.study(study_id="first"))
    take_part(world, federation, only_round(federation))
    owner = store.ledgers.owner_of("person-0")
    ((body,),) = store._database.fetch("SELECT body FROM ledger_rows WHERE owner = ?", (owner,))
    changed = bytes([*body[:45], body[45] ^ 4, *body[46:]])
    store._database.run("UPDATE ledger_rows SET body = ? WHERE owner = ?", (changed, owner))
    store.close()
    store = make_store(origin)
    budgets = federate(world, store).budgets
    assert spent_epsilon(budgets.of("person-0").contract, budgets.read_times()) >= TERMS.epsilon * (1 - 1e-12)
    assert "ledger row 0, byte 45 (signed time): was changed" in caplog.text
