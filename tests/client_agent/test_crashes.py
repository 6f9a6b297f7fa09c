"""A process that dies at the worst moment, and a store that comes back from a back-up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from client_agent.federation.budgets import LEDGER_LOST, inspect
from client_agent.keys import FileKeyring
from client_agent.store import STORE_FILE
from client_agent.store.ledgers import MIRROR
from privacy.accounting import spent
from privacy.crypto import SigningKey
from tests.client_agent.test_federation import VECTOR, only_round, take_part
from tests.client_agent.world import START_MS, World, federate, make_store, populate

DYING = """
import os, pickle, sys
from pathlib import Path
import numpy as np
from client_agent.keys import FileKeyring
from client_agent.store import open_store
from privacy.crypto import SigningKey
from models.wire.rounds import Work
from tests.client_agent import world as w

folder, moment, seeds, work = Path(sys.argv[1]), sys.argv[2], bytes.fromhex(sys.argv[3]), Path(sys.argv[4])
scene = w.World(leader=SigningKey(seeds[:32]), helper=SigningKey(seeds[32:64]), officer=SigningKey(seeds[64:]))
scene.work = Work.model_validate_json(work.read_bytes())
federation = w.federate(scene, open_store(folder, FileKeyring(folder)), seed=b"d")
(found,) = federation.open_rounds()
reserved = federation.reserve_all(found)
if moment == "reserved":
    os._exit(9)
for head in federation.flip_all(reserved):
    federation.answer(head, federation.encode_answer(found, np.array([0.5, 0.25, 0.0, 0.5])))
if moment == "flipped":
    os._exit(9)
federation.finalise(found, reserved)
os._exit(9)
"""
SEEDS = os.urandom(96)


def scene() -> World:
    return World(
        leader=SigningKey(SEEDS[:32]), helper=SigningKey(SEEDS[32:64]), officer=SigningKey(SEEDS[64:])
    )  # fmt: skip


def die(world: World, folder: Path, moment: str) -> None:
    """Take part in another process and have it die at a moment."""
    work = folder.parent / "work.json"
    work.write_text(world.work.model_dump_json())
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", DYING, str(folder), moment, SEEDS.hex(), str(work)]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 9, done.stderr.decode()


def stored_frames(store) -> dict[str, bytes]:
    rows = store._database.fetch("SELECT participant_id, frame FROM reports")
    return dict(rows)


@pytest.mark.parametrize("moment", ["reserved", "flipped", "finalised"])
def test_a_killed_process_costs_one_charge_and_sends_the_bytes_it_stored(tmp_path, moment):
    """Killed after the commit, after the coin, or after fixing: the same bytes leave later, once; one charge each."""
    world, folder = scene(), tmp_path / "agent"
    store = make_store(folder)
    populate(world, store, 6)
    store.close()
    item = world.open_round(world.study(plan={"sampling_rate": 1.0}))
    die(world, folder, moment)
    store = make_store(folder)
    before = stored_frames(store)
    assert len(before) == 6
    federation = federate(world, store, seed=b"z")
    found = only_round(federation)
    assert federation.reserve_all(found) == []
    assert all(member.budget.contract.length == 1 for member in federation.roster)
    assert stored_frames(store) == before
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 6
    assert all(any(frame in body for body in world.bodies) for frame in before.values())
    total, reports = world.total(item)
    assert reports == 6
    # A coin that was not made durable is never flipped again: before fixing, what is sent is the null.
    assert total.any() == (moment == "finalised")


def test_a_crash_while_sending_sends_the_same_bytes_again(world, store):
    """The leader took them in but the answer was lost: the retry is byte for byte the same, and is accepted."""
    populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    real = world._take

    def take_and_lose(frame):
        real(frame)
        world.down = True
        return "internal"

    world._take = take_and_lose
    assert federation.send_due().accepted == 0
    world._take, world.down = real, False
    assert federation.send_due().accepted == 3
    assert world.bodies[-1] == world.bodies[-2]


def restore(tmp_path, world, *, copy_keys=False):
    """Take part once, then put back the store as it was before."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study(study_id="first"))
    take_part(world, federation, only_round(federation))
    store.close()
    backup = tmp_path / "backup"
    shutil.copytree(folder, backup)
    store = make_store(folder)
    federation = federate(world, store, seed=b"f")
    world.clock.advance(1)
    world.open_round(world.study(study_id="second"))
    take_part(world, federation, only_round(federation))
    store.close()
    for path in folder.glob(f"{STORE_FILE}*"):
        path.unlink()
    for path in backup.glob("*" if copy_keys else f"{STORE_FILE}*"):
        shutil.copy(path, folder / path.name)
    return make_store(folder)


def test_a_restored_backup_has_no_budget(tmp_path, world):
    """A ledger that is not the one the keyring remembers is spent: nulls only, for everybody, also after a restart."""
    store = restore(tmp_path, world)
    world.clock.advance(1)
    federation = federate(world, store, seed=b"g")
    world.open_round(world.study(study_id="third"))
    reserved = federation.reserve_all(only_round(federation))
    assert [reservation.payment for reservation in reserved] == ["over_budget"] * 3
    assert not inspect(store, "person-0", world.clock).intact
    store.close()
    again = federate(world, make_store(tmp_path / "agent"), seed=b"h")
    assert all(member.budget.contract.active[-1].purpose == LEDGER_LOST for member in again.roster)
    assert all(member.budget.contract.length == 2 for member in again.roster)


def test_a_crash_while_a_loss_is_recorded_does_not_whitewash_it(tmp_path):
    """Killed after all was written and before the commit: the restored ledger is still not the mirror's."""
    store = make_store(tmp_path / "agent")
    FileKeyring(tmp_path / "agent").write(MIRROR, bytes(32))

    def die_before_the_commit():
        with store.transaction():
            assert not store.ledgers.intact()
            store.ledgers.announce()
            store.ledgers.before_commit()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_before_the_commit()
    store.close()
    again = make_store(tmp_path / "agent")
    with again.transaction():
        assert not again.ledgers.intact()
    again.close()


def test_somebody_new_gets_no_fresh_budget_after_a_loss(tmp_path, world):
    """A new name behind a restored agent does not mint budget."""
    store = restore(tmp_path, world)
    federation = federate(world, store, seed=b"g")
    populate(world, store, 4)
    world.clock.advance(1)
    world.open_round(world.study(study_id="third"))
    reserved = federation.reserve_all(only_round(federation))
    assert [reservation.payment for reservation in reserved] == ["over_budget"] * 4


def test_a_store_that_lost_its_ledger_is_spent(tmp_path, world):
    """Deleting the store while the keyring remembers a ledger does not give a fresh one."""
    restore(tmp_path, world).close()
    for path in (tmp_path / "agent").glob(f"{STORE_FILE}*"):
        path.unlink()
    world.clock.advance(1)
    store = make_store(tmp_path / "agent")
    populate(world, store, 1)
    federation = federate(world, store, seed=b"i")
    world.open_round(world.study(study_id="fourth"))
    (reservation,) = federation.reserve_all(only_round(federation))
    assert reservation.payment == "over_budget"


def test_erasing_keeps_the_spend_and_forgets_the_rounds(world, store):
    """After an erasure the ledger names no study any more, and exactly as much is spent."""
    (who,) = populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation), VECTOR)
    before = inspect(store, "person-0", world.clock)
    federation.budgets.forget_rounds("person-0")
    store.erase(who)
    after = inspect(store, "person-0", world.clock)
    assert after.spent_epsilon == pytest.approx(before.spent_epsilon)
    assert after.lifetime_epsilon == pytest.approx(before.lifetime_epsilon)
    assert after.intact
    study = world.study().study_hash().hex().encode()
    assert all(study not in body for bodies in store.ledgers.rows().values() for body in bodies)
    assert federation.open_rounds()
    assert len(federation.roster) == 0


def test_turning_one_clock_gives_no_budget_back(world, store):
    """40 days by the helper's time alone free nothing; when the machine has run that long too, the charge expires."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    (member,) = federation.roster
    days_seconds = 40 * 86_400
    later = federation.budgets.read_times(START_MS // 1_000 + days_seconds)
    assert spent(member.budget.contract, later) > (0,)
    world.clock.running_seconds += days_seconds
    assert spent(member.budget.contract, federation.budgets.read_times()) == (0,)
