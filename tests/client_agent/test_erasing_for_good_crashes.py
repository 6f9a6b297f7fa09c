"""A key that is being replaced when the power goes: whatever lies around afterwards opens with no key that is kept."""

import base64
import json
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from client_agent.erasing import erase_person
from client_agent.keys import KEY_FILE, FileKeyring, SystemKeyring
from client_agent.resident import Resident
from client_agent.store import STORE_FILE, AgentStore, database, open_store, traces
from client_agent.store.database import Database, fresh_path
from client_agent.store.traces import NEXT_KEY, STORE_KEY, note_deletion
from tests.client_agent.pages import decrypted
from tests.client_agent.world import START_MS, make_store, populate

ERASED, LATER = b"canary-erased-91c4", b"canary-later-5e02"
LEFT_OVER = f"{fresh_path(Path(STORE_FILE))}*"


def plant(world, store) -> tuple[str, str, str]:
    """Three people; the first two have events that are to be gone, one after the other."""
    ids = populate(world, store, 3)
    for who, canary in zip(ids, (ERASED, LATER, b"stays"), strict=True):
        store.insert_events(who, [(f"{at}", START_MS + at, f'"{canary.decode()}"') for at in range(40)])
    return ids


def opened_by(path: Path, canary: bytes, *keys: bytes) -> bool:
    """Whether a canary is in a page of this file that one of these keys opens."""
    return any(canary in page for key in keys if key for page in decrypted(path, key))


def kept_keys(folder: Path) -> set[bytes]:
    """Every key of the store that any file of the folder keeps, a draft that a crash left among them."""
    texts = [path.read_text() for path in (folder / KEY_FILE, folder / "keys.new") if path.exists()]
    entries = [json.loads(text) for text in texts if text]
    found = (base64.b64decode(entry[name]) for entry in entries for name in (STORE_KEY, NEXT_KEY) if name in entry)
    return {key for key in found if key}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in {".db", ".new"} and path.name != "keys.new"]


STEPS = {
    code.co_qualname: code
    for code in (
        *(getattr(Database, name).__code__ for name in ("change_key", "_copy", "_replace", "_connect")),
        *(getattr(database, name).__code__ for name in ("clear_copies", "_overwrite", "sync_folder")),
        *(
            getattr(traces, name).__code__
            for name in ("remove_traces", "_replace_key", "_draw", "settle_key", "_settle")
        ),
        FileKeyring.write_all.__code__,
    )
}
"""Where the power goes: before each line of these."""


def killed_at(folder: Path, line: int) -> bool:
    """Replace the key in a process of its own that dies before so many lines; False if there are not so many."""
    child = os.fork()
    if child == 0:
        store, left = make_store(folder), [line]

        def at_line(_, event, __):
            if event == "line":
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
            return at_line

        sys.settrace(lambda frame, *_: at_line if frame.f_code in STEPS.values() else None)
        store.remove_traces()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def crash_points(folder: Path, copies: Path) -> Iterator[Path]:
    """A copy of the folder for every line before which the change of the key can die, as that left it."""
    for line in range(1_000):
        copy = copies / str(line)
        shutil.copytree(folder, copy)
        if not killed_at(copy, line):
            return
        yield copy


@pytest.fixture
def erased(world, store) -> Path:
    """A closed store in which the first person has been erased, and the key has yet to be replaced."""
    plant(world, store)
    store._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
    erase_person(store, world.pins, "person-0", world.clock)
    folder = store._database.path.parent
    store.close()
    return folder


def test_a_kill_before_any_line_leaves_nothing_that_a_kept_key_opens(world, erased, tmp_path):
    """Dead at every step; then a start, and a second erasure beside another process, and alone.

    After the start no copy lies around and there is one key. After the second erasure nothing of the first is opened by
    it, and after the other process has ended nothing of the second either: not the files as they are, not those that
    the crash left, whose blocks a disk may still have.
    """
    abandoned = 0
    for number, folder in enumerate(crash_points(erased, tmp_path / "copies")):
        blocks = tmp_path / "blocks" / str(number)
        shutil.copytree(folder, blocks)
        abandoned += any(opened_by(path, LATER, *kept_keys(blocks)) for path in blocks.glob("agent.new"))
        store, other = make_store(folder), make_store(folder)
        assert not list(folder.glob(LEFT_OVER))
        assert not FileKeyring(folder).read(NEXT_KEY)
        erase_person(store, world.pins, "person-1", world.clock)
        assert store.remove_traces() == "key"
        for path in files(folder):
            assert not any(opened_by(path, canary, *kept_keys(folder)) for canary in (ERASED, LATER))
        assert not list(folder.glob(LEFT_OVER))
        other.close()
        assert store.remove_traces() is None
        (key,) = kept_keys(folder)
        for path in [*files(folder), *files(blocks)]:
            assert not any(opened_by(path, canary, key) for canary in (ERASED, LATER, b"person-1"))
        assert [record.person for record in store.participants.all()] == ["person-2"]
        store.close()
    assert number > 40, "so many steps were looked at"
    assert abandoned, "the control: at some of them a whole copy lay there with its key beside it"


def test_what_an_older_agent_left_is_overwritten_at_the_start(world, store):
    """A copy and its journal from a crash of long ago: gone, and their blocks hold zeros."""
    plant(world, store)
    folder, whole = store._database.path.parent, store._database.path.read_bytes()
    store.close()
    held = []
    for name in ("agent.new", "agent.new-journal"):
        (folder / name).write_bytes(whole)
        held.append(os.open(folder / name, os.O_RDONLY))
    make_store(folder).close()
    assert not list(folder.glob(LEFT_OVER))
    for handle in held:
        assert os.read(handle, len(whole)) == bytes(len(whole))
        os.close(handle)


def test_an_attempt_while_another_process_is_there_leaves_the_keyring_alone(world, store):
    """What is tried at every poll makes no copy and draws no key before the store is nobody else's."""
    plant(world, store)
    folder = store._database.path.parent
    other = make_store(folder)
    erase_person(store, world.pins, "person-0", world.clock)
    before = (folder / KEY_FILE).stat().st_mtime_ns
    keys = kept_keys(folder)
    assert store.remove_traces() == store.remove_traces() == "key"
    assert (kept_keys(folder), (folder / KEY_FILE).stat().st_mtime_ns) == (keys, before)
    assert not list(folder.glob(LEFT_OVER))
    other.close()


def test_no_two_attempts_have_the_same_key(world, store, monkeypatch):
    """A copy that could not be put in place is overwritten, its key is forgotten, and the next has another."""
    plant(world, store)
    folder, drawn, copies = store._database.path.parent, [], []
    draw, copy = traces._draw, Database._copy
    monkeypatch.setattr(traces, "_draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])

    def give_up(self, key):
        assert copy(self, key)
        copies.append(fresh_path(self.path).read_bytes())
        return False

    erase_person(store, world.pins, "person-0", world.clock)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "_copy", give_up)
        assert [store.remove_traces() for _ in range(3)] == ["key"] * 3
        assert not list(folder.glob(LEFT_OVER))
        assert kept_keys(folder) == {store._database.key}
    assert store.remove_traces() is None
    assert (len(set(drawn)), len(set(copies))) == (4, 3)
    (folder.parent / "blocks").write_bytes(copies[-1])
    assert opened_by(folder.parent / "blocks", LATER, drawn[-2]), "the control"
    assert not opened_by(folder.parent / "blocks", LATER, *kept_keys(folder))


def test_a_full_disk_keeps_no_key_of_what_it_left(world, store):
    """There is room for the keyring and not for the copy: nothing of it stays, and one key is kept."""
    plant(world, store)
    folder = store._database.path.parent
    erase_person(store, world.pins, "person-0", world.clock)
    store._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        assert store.remove_traces() is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(folder.glob(LEFT_OVER))
    assert kept_keys(folder) == {store._database.key}
    assert store.remove_traces() is None
    store.close()
    assert len(make_store(folder).participants.all()) == 2


def test_a_key_that_could_not_be_kept_is_used_for_nothing(world, store, monkeypatch):
    """There is room for the copy and not for the keyring: no draft stays, and no copy is begun."""
    plant(world, store)
    folder, begun = store._database.path.parent, []
    erase_person(store, world.pins, "person-0", world.clock)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "_copy", lambda *_: begun.append(1))
        patch.setattr("client_agent.keys.json.dumps", _full)
        assert store.remove_traces() == "key"
    assert not [*begun, *folder.glob(LEFT_OVER), *folder.glob("keys.new")]
    assert kept_keys(folder) == {store._database.key}
    assert store.remove_traces() is None


def _full(*_) -> None:
    raise OSError("the disk is full")


class Failing(keyring.backend.KeyringBackend):
    """A system's keyring in memory; it fails, or its process dies, before the write of a number."""

    priority = -2
    """Below every other: whoever asks for the system's keyring in the same process is never given this one."""

    def __init__(self):
        super().__init__()
        self.held, self.writes, self.fails_at = {}, 0, None

    def get_password(self, service, username):
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        self.writes += 1
        if self.writes == self.fails_at:
            raise keyring.errors.PasswordSetError("locked")
        self.held[service, username] = password


@pytest.fixture
def system():
    former, backend = keyring.get_keyring(), Failing()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(former)


def test_a_keyring_that_fails_between_two_writes_never_gives_a_key_twice(world, system, tmp_path):
    """Each write of the change fails once: then a start, and a second erasure. No key was the store's twice."""
    for step in range(1, 6):
        folder = tmp_path / str(step)
        folder.mkdir()
        store = open_store(folder, SystemKeyring(folder))
        first = store._database.key
        plant(world, store)
        erase_person(store, world.pins, "person-0", world.clock)
        system.writes, system.fails_at = 0, step
        left = store.remove_traces()
        assert (left is None) == (system.writes < step)
        system.fails_at = None
        second = store._database.key
        if step == 4:  # the store has its new key, and the keyring calls it both
            assert system.held[_entry(folder, STORE_KEY)] == system.held[_entry(folder, NEXT_KEY)]
        store.close()
        again = open_store(folder, SystemKeyring(folder))
        assert not SystemKeyring(folder).read(NEXT_KEY)
        erase_person(again, world.pins, "person-1", world.clock)
        assert again.remove_traces() is None
        assert again._database.key == SystemKeyring(folder).read(STORE_KEY)
        assert again._database.key not in {first, second}
        again.close()
        if left is None:
            break
    assert step == 5, "four writes, each of which failed once"


def _entry(folder: Path, name: str) -> tuple[str, str]:
    return "hearthside-agent", f"{folder.resolve()}:{name}"


# How long others wait


def test_a_large_store_is_not_written_anew_under_others(world, store, monkeypatch):
    """Beyond the bound the pages wait until nobody else has the store; then a copy takes its place, by one key more."""
    ids = plant(world, store)
    store._database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
    other = make_store(store._database.path.parent)
    monkeypatch.setattr(database, "SCRUBBED_BYTES_MAXIMUM", 4_096)
    former = store._database.key
    with store.transaction():
        note_deletion(store._database)
        store.events.erase(ids[0])
    assert store.remove_traces() == "pages"
    other.close()
    assert store.remove_traces() is None
    assert store._database.key != former
    assert not opened_by(store._database.path, ERASED, former, store._database.key)


def test_who_opens_waits_longer_than_who_writes(store):
    """While a key is replaced the store opens for nobody: who starts meanwhile waits, and is quick afterwards."""
    assert database._OPENING_MS > database._BUSY_MS
    assert store._database.fetch("PRAGMA busy_timeout") == [(database._BUSY_MS,)]


def test_the_key_is_replaced_between_two_workers(world, store, monkeypatch):
    """Rounds back to back: before the next worker starts the store is the resident's alone, and the key goes."""
    plant(world, store)
    monkeypatch.setattr("client_agent.resident.subprocess.Popen", lambda _: worker)
    resident = object.__new__(Resident)
    resident._agent = type("Agent", (), {"store": store, "folder": store._database.path.parent})()
    resident._worker, resident._poll_seconds, resident._worker_options = None, 1.0, ()
    worker = type("Worker", (), {"poll": lambda _: None if running.is_set() else 0})()
    running = threading.Event()
    erase_person(store, world.pins, "person-0", world.clock)
    resident._start_worker()
    assert store.traces is None
    running.set()
    with store.transaction():
        note_deletion(store._database, of_person=True)
    resident._start_worker()
    assert store.traces == "pages", "a worker that runs is left alone"


def test_a_store_has_the_key_it_was_opened_with(world, store):
    """The control of all above: a store opens with the key that it says, and with no other."""
    plant(world, store)
    key, folder = store._database.key, store._database.path.parent
    store.close()
    AgentStore(folder / STORE_FILE, key, FileKeyring(folder)).close()
    with pytest.raises(Exception, match="opens with this key"):
        AgentStore(folder / STORE_FILE, bytes(32), FileKeyring(folder))
