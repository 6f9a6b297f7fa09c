"""After an erasure nothing is left in the files: looked for with the key in hand, in every page, live or not."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.erasing import erase_person
from client_agent.errors import StoreUnreadable
from client_agent.federation.budgets import inspect
from client_agent.keys import KEY_FILE, FileKeyring
from client_agent.store import STORE_FILE, AgentStore
from client_agent.store.database import Database
from client_agent.store.ledgers import Ledgers
from client_agent.store.people import BrowserRecord, PersonRecord
from client_agent.store.traces import NEXT_KEY, STORE_KEY, note_deletion
from consent import verify_receipt
from models.events import Event
from privacy.crypto import SigningKey
from tests.client_agent.pages import decrypted
from tests.client_agent.test_app import train_study
from tests.client_agent.test_federation import VECTOR, only_round, take_part
from tests.client_agent.world import START_MS, federate, make_store, populate

ROOT = Path(__file__).resolve().parents[2]
NAME = "person-0"
CANARY = "canary-4be7"


def plant(world, store, count=300):
    """A person among others, with something of theirs in every personal table; what must be gone, by what it is."""
    ids = populate(world, store, 3)
    who = ids[0]
    store.people.put(PersonRecord(NAME, "adult", b"salt of the PIN", b"digest of the PIN"))
    store.browsers.put(BrowserRecord(b"page" * 8, b"site" * 8, NAME, True, START_MS, START_MS, START_MS, b"seal" * 8))
    draw = random.Random(5)
    for _ in range(count):  # in small commits, ids in no order, some deleted: rows move between pages and leave copies
        index = draw.randrange(3)
        rows = [event(draw, CANARY if index == 0 else "other") for _ in range(8)]
        store.insert_events(ids[index], rows)
        if draw.random() < 0.03:
            store.events.erase(draw.choice(ids), before_ms=START_MS - draw.randrange(10**9))
    federation = federate(world, store)
    world.open_round(world.study(plan={"sampling_rate": 1.0}))
    take_part(world, federation, only_round(federation), VECTOR)
    federation.send_due()
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.decline(who, ["experiments"])
    record = store.participants.get(who)
    receipts = store.consents.receipts_of(who)
    withdrawn = {
        "events": f"{CANARY}-e".encode(),
        "name": NAME.encode(),
        "pseudonym": who.encode(),
        "secret key": record.seed,
        "receipts": receipts[0].jws.encode()[-60:],
        "refusal kept at home": receipts[-1].jws.encode()[-60:],
        "PIN": b"digest of the PIN",
        "browser": b"page" * 8,
    }
    return who, withdrawn


def event(draw: random.Random, canary: str) -> tuple[str, int, str]:
    name, at_ms = f"{canary}-e{draw.randrange(10**9)}", START_MS - draw.randrange(10**9)
    known = Event(name, "page_view", at_ms, "shop.example", path=f"/{canary}", title="x" * draw.randrange(1, 300))
    return known.event_id, known.at_ms, json.dumps(known.document())


def found(store: AgentStore, needles: dict[str, bytes], *keys: bytes) -> set[str]:
    """Which of the needles are in the files: in any page that any of the keys opens, and in the raw bytes of all."""
    path = store._database.path
    plain = [page for key in keys for page in decrypted(path, key)]
    plain += [file.read_bytes() for file in path.parent.rglob("*") if file.is_file()]
    return {name for name, needle in needles.items() if any(needle in part for part in plain)}


def key_of(store: AgentStore, name: str = STORE_KEY) -> bytes:
    return FileKeyring(store._database.path.parent).read(name) or b""


@pytest.fixture
def other(store):
    """The same store as another process has it."""
    opened = make_store(store._database.path.parent)
    yield opened
    opened.close()


# Nothing recoverable


def test_nothing_of_an_erased_person_is_left_in_the_files(world, store):
    """Events, name, pseudonym, key and receipts: in no page of file or log under either key, in no other file."""
    _, needles = plant(world, store)
    old = key_of(store)
    verify_key = SigningKey(needles["secret key"]).verify_key
    (neighbour,) = store.participants.of_person("person-1")
    kept = store.events_of(neighbour.participant_id)
    assert found(store, needles, old) == set(needles), "everything that is looked for is there before"
    erase_person(store, world.pins, NAME, world.clock)
    (farewell,) = store.outbox.waiting(world.pins.leader_key.raw, world.clock.ms // 1_000)
    assert store.remove_traces() is None
    assert found(store, needles, old, key_of(store)) == set()
    assert verify_receipt(farewell.jws, verify_key).kind == "withdrawal", "which alone waits, for the leader"
    assert len(store.participants.all()) == 2
    assert store.events_of(neighbour.participant_id) == kept


@pytest.mark.parametrize("careless", ["without overwriting", "with overwriting alone", "with the log left"])
def test_less_than_all_of_it_leaves_traces(world, store, careless):
    """Positive control: without secure_delete, with only that, and with the log not emptied, canaries are found."""
    _, needles = plant(world, store)
    if careless == "without overwriting":
        store._database.run("PRAGMA secure_delete = OFF")
    erase_person(store, world.pins, NAME, world.clock)
    if careless != "with the log left":
        store._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
    assert "events" in found(store, needles, key_of(store))


def test_deleting_events_alone_leaves_no_trace_of_them(world, store):
    """A no, and the end of the retention, are erasures too: the pages are overwritten, the key may stay."""
    who, needles = plant(world, store)
    key = key_of(store)
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    assert store.traces == "pages"
    assert store.remove_traces() is None
    assert "events" not in found(store, needles, key)
    assert key_of(store) == key


# The key


def test_an_older_copy_of_the_store_opens_with_no_key_that_is_kept(world, store, tmp_path):
    """The key is replaced: a back-up of before the erasure does not open with what the keyring holds."""
    plant(world, store, 8)
    folder = store._database.path.parent
    store._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(folder / STORE_FILE, tmp_path / "backup.db")
    old = key_of(store)
    erase_person(store, world.pins, NAME, world.clock)
    assert store.remove_traces() is None
    assert key_of(store) != old
    assert old.hex() not in (folder / KEY_FILE).read_text()
    with pytest.raises(StoreUnreadable):
        Database(tmp_path / "backup.db", key_of(store))
    Database(tmp_path / "backup.db", old).close()  # the control: it is the key that keeps it shut
    store.close()
    assert len(make_store(folder).participants.all()) == 2


def test_with_another_process_there_the_pages_are_clean_and_the_key_waits(world, store, other):
    """Nobody's open file is pulled away: the key is replaced at the first attempt at which nobody else has it open."""
    _, needles = plant(world, store, 40)
    old = key_of(store)
    erase_person(store, world.pins, NAME, world.clock)
    assert store.remove_traces() == "key"
    assert found(store, needles, old) == set()
    assert other.traces == "key"
    assert len(other.participants.all()) == 2
    other.close()
    assert store.remove_traces() is None
    assert key_of(store) != old


def test_a_reader_puts_the_emptying_of_the_log_off(world, store, other):
    """While another process reads an old state, that state stays in the file; afterwards it goes."""
    _, needles = plant(world, store, 40)
    other._database.run("BEGIN")
    other._database.fetch("SELECT count(*) FROM events")
    erase_person(store, world.pins, NAME, world.clock)
    assert store.remove_traces() == "pages"
    other._database.run("COMMIT")
    assert store.remove_traces() == "key"
    assert found(store, needles, key_of(store)) == set()


def test_a_reader_that_came_with_the_old_key_finds_the_new_one(world, store, monkeypatch):
    """Between reading the key and opening the file the key changed: the keyring is asked again."""
    plant(world, store, 8)
    folder = store._database.path.parent
    stale, asked = key_of(store), []
    erase_person(store, world.pins, NAME, world.clock)
    assert store.remove_traces() is None
    store.close()
    read = FileKeyring.read

    def late(self, name):
        asked.append(name)
        return stale if asked.count(STORE_KEY) <= 2 and name == STORE_KEY else read(self, name)

    monkeypatch.setattr(FileKeyring, "read", late)
    assert len(make_store(folder).participants.all()) == 2


KILLED = """
import sys, time
from pathlib import Path
from tests.client_agent.world import make_store
from client_agent.store.traces import note_deletion
store = make_store(Path(sys.argv[1]))
with store.transaction():
    note_deletion(store._database, of_person=True)
print("ready", flush=True)
store.remove_traces()
print("done", flush=True)
time.sleep(30)
"""


@pytest.mark.parametrize("after_seconds", [0.0, 0.02, 0.06, 0.12, 0.25])
def test_a_kill_at_any_moment_leaves_a_store_that_opens(world, store, after_seconds):
    """Writing the file anew and replacing its key are killed: the store opens, whole, and the work is done later."""
    ids, draw = populate(world, store, 1), random.Random(7)
    store.insert_events(ids[0], [event(draw, "x" * 40) for _ in range(8_000)])
    folder = store._database.path.parent
    store.close()
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(after_seconds)
        child.kill()
    opened = make_store(folder)
    assert len(opened.events_of(ids[0])) == 8_000
    assert opened.remove_traces() is None
    assert not key_of(opened, NEXT_KEY)
    opened.close()
    assert len(make_store(folder).events_of(ids[0])) == 8_000
    assert {path.name for path in folder.iterdir()} <= {STORE_FILE, KEY_FILE, f"{STORE_FILE}-wal", f"{STORE_FILE}-shm"}


def test_a_crash_before_the_keyring_is_told_is_noticed_at_the_next_start(world, store):
    """The file has the new key, the keyring calls the old one its key: the next start takes the new one, for good."""
    populate(world, store, 1)
    folder, new = store._database.path.parent, os.urandom(32)
    FileKeyring(folder).write(NEXT_KEY, new)
    assert store._database.change_key(lambda: new)
    store.close()
    opened = make_store(folder)
    assert key_of(opened) == new
    assert not key_of(opened, NEXT_KEY)


OPENS = """
import sys
from pathlib import Path
from tests.client_agent.world import make_store
store = make_store(Path(sys.argv[1]))
store.facts.put("pins", b"written by the other process")
store.close()
"""


def test_who_waits_to_open_the_file_gets_the_new_one(world, store, monkeypatch):
    """A process that came to the old file while it was locked does not go on in a file without a name."""
    populate(world, store, 1)
    folder, waiting = store._database.path.parent, []
    copy = Database._copy

    def slowly(self, key):
        waiting.append(subprocess.Popen([sys.executable, "-c", OPENS, str(folder)], cwd=ROOT))
        time.sleep(2.5)
        assert waiting[0].poll() is None, "it waits for the lock"
        return copy(self, key)

    monkeypatch.setattr(Database, "_copy", slowly)
    with store.transaction():
        note_deletion(store._database, of_person=True)
    assert store.remove_traces() is None
    assert waiting[0].wait(20) == 0
    assert store.facts.get("pins") == b"written by the other process"


@pytest.mark.parametrize("step", ["log", "copy", "name"])
def test_a_full_disk_leaves_the_store_as_it_was(world, store, monkeypatch, step):
    """Where the copy cannot be written, or not put in place, nothing is lost and the work is done later."""
    ids, draw = populate(world, store, 1), random.Random(7)
    store.insert_events(ids[0], [event(draw, "x" * 40) for _ in range(3_000)])
    folder, old = store._database.path.parent, key_of(store)
    with store.transaction():
        note_deletion(store._database, of_person=True)
    with monkeypatch.context() as patch:
        if step != "name":
            if step == "copy":
                store._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
            size = max(path.stat().st_size for path in folder.glob(f"{STORE_FILE}*"))
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
            try:
                assert store.remove_traces() is not None
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                signal.signal(signal.SIGXFSZ, ignored)
        else:
            patch.setattr("client_agent.store.database.sync_folder", _fail)
            assert store.remove_traces() == "key"
    assert len(store.events_of(ids[0])) == 3_000
    assert store.remove_traces() is None
    assert len(store.events_of(ids[0])) == 3_000
    store.close()
    assert len(make_store(folder).events_of(ids[0])) == 3_000
    assert key_of(store) != old


def _fail(_: Path) -> None:
    raise OSError("the disk is full")


# The name in the ledgers


def test_who_comes_back_finds_the_spend_under_no_name(world, store):
    """The counter stays and the name does not; the same name finds the same counter, another finds none."""
    plant(world, store, 8)
    spent = inspect(store, NAME, world.clock).spent_epsilon
    erase_person(store, world.pins, NAME, world.clock)
    assert inspect(store, NAME, world.clock).spent_epsilon == pytest.approx(spent)
    assert inspect(store, NAME, world.clock).intact
    assert inspect(store, "person-00", world.clock).spent_epsilon == 0
    owners = {owner for owner, _ in store.ledgers.heads()}
    assert owners == {store.ledgers.owner_of(f"person-{number}") for number in range(3)}
    assert all(len(bytes.fromhex(owner)) == 16 for owner in owners), "pseudonyms, not names"


def test_ledgers_of_an_older_agent_are_carried_over_to_pseudonyms(world, store):
    """Named ledgers, the local layer's too, become pseudonymous at the worker's start; the spend is the same."""
    populate(world, store, 1, purposes=("intent",))
    study, model = train_study(world, noise=2.0)
    with pytest.MonkeyPatch.context() as patch:  # as the agent before kept them
        patch.setattr(Ledgers, "hide_owners", lambda _: None)
        federation = federate(world, store)
        world.open_round(study, model=model)
        federation.finalise(verified := only_round(federation), federation.reserve_all(verified))
        before = inspect(store, NAME, world.clock)
        assert {owner for owner, _ in store.ledgers.heads()} == {NAME}
    world.clock.advance(11)
    again = federate(world, store)
    after = inspect(store, NAME, world.clock)
    assert NAME not in {owner for owner, _ in store.ledgers.heads()}
    assert after.spent_epsilon == pytest.approx(before.spent_epsilon)
    assert after.local_epsilon == pytest.approx(before.local_epsilon)
    assert after.local_epsilon > 0
    assert after.intact
    world.open_round(study, 2, model)
    assert {r.payment for r in again.reserve_all(only_round(again))} == {"paid"}


def test_local_ledgers_of_unknown_terms_count_as_spent(world, store):
    """Rows that nobody can read are moved as they are, and pay for nothing any more."""
    populate(world, store, 1, purposes=("intent",))
    study, model = train_study(world, noise=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledgers, "hide_owners", lambda _: None)
        federation = federate(world, store)
        world.open_round(study, model=model)
        federation.finalise(verified := only_round(federation), federation.reserve_all(verified))
    store.facts.remove("local-contracts")
    world.clock.advance(11)
    again = federate(world, store)
    assert NAME not in {owner for owner, _ in store.ledgers.heads()}
    world.open_round(study, 2, model)
    assert {r.payment for r in again.reserve_all(only_round(again))} == {"over_local_budget"}
