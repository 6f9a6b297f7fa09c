"""The encrypted store: what is on the disk, what survives, what is refused."""

import os
import shutil
import stat

import pytest

from client_agent.errors import KeyringUnreadable, StoreUnreadable, StoreVersionUnknown
from client_agent.keys import KEY_FILE, FileKeyring, KeyFileWarning, open_keyring
from client_agent.store import STORE_FILE, AgentStore, StoredReport, open_store
from client_agent.store.database import Database
from client_agent.store.schema import MIGRATIONS
from tests.client_agent.world import make_store

CANARY = "canary-7f3a"


def test_nothing_on_the_disk_is_readable(store, tmp_path):
    """Raw events are encrypted in the file and in its write-ahead log."""
    store.insert_events("p", [("e1", 1, CANARY)])
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "agent").iterdir() if path.name != KEY_FILE)
    assert CANARY.encode() not in on_disk
    assert b"SQLite format" not in on_disk


def test_the_wrong_key_is_one_clear_error(store, tmp_path):
    """A store opened with another key says so and stays as it is."""
    store.insert_events("p", [("e1", 1, "{}")])
    store.close()
    keyring = FileKeyring(tmp_path / "agent")
    with pytest.raises(StoreUnreadable, match="expected a store that opens with this key"):
        AgentStore(tmp_path / "agent" / STORE_FILE, os.urandom(32), keyring)
    assert open_store(tmp_path / "agent", keyring).events_of("p") == [(1, "{}")]


def test_a_damaged_store_is_one_clear_error(store, tmp_path):
    """A flipped page is noticed on reading, not believed."""
    store.insert_events("p", [(f"e{i}", i, "x" * 500) for i in range(200)])
    store.close()
    path = tmp_path / "agent" / STORE_FILE
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 4096):
        data[page * 4096 + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreUnreadable) as refused:
        make_store(tmp_path / "agent").events_of("p")
    assert "\n" not in str(refused.value)


def test_a_newer_store_is_left_alone(tmp_path):
    """A store of a later version is not touched."""
    key = os.urandom(32)
    newer = Database(tmp_path / "x.db", key)
    newer.run(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    with pytest.raises(StoreVersionUnknown):
        Database(tmp_path / "x.db", key)


def test_a_failed_transaction_leaves_nothing(store):
    """What was written before an error inside a transaction is gone, in nested ones too."""

    def write_and_fail():
        with store.transaction():
            store.facts.put("a", b"1")
            with store.transaction():
                store.facts.put("b", b"2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert store.facts.get("a") is None
    assert store.facts.get("b") is None


def test_an_event_that_comes_twice_is_stored_once(store):
    """Pages retry; an id that is there is skipped."""
    store.insert_events("p", [("e1", 1, "first"), ("e2", 2, "second")])
    store.insert_events("p", [("e1", 1, "again")])
    assert store.events_of("p") == [(1, "first"), (2, "second")]
    assert store.events_of("p", since_ms=2) == [(2, "second")]


def test_erasing_removes_everything_personal_but_the_spend(store):
    """An erased participant leaves no events; another one's stay."""
    store.insert_events("p", [("e1", 1, "x")])
    store.insert_events("q", [("e1", 1, "y")])
    store.erase("p")
    assert store.events_of("p") == []
    assert store.events_of("q") == [(1, "y")]


def test_a_final_report_is_never_replaced(store):
    """Once fixed, a report's bytes stay, whatever is written over it."""
    key = (b"s" * 32, 1)
    null = StoredReport(*key, "p", b"i" * 32, b"t" * 32, "reserved", 5, b"null")
    store.reports.open_round(key, b"o", "measurement", 100)
    store.reports.reserve([null])
    store.reports.fix(key, ["p"])
    store.reports.replace([StoredReport(*key, "p", b"j" * 32, b"u" * 32, "reserved", 5, b"real")])
    assert [item.frame for item in store.reports.due(10, 256)] == [b"null"]


def test_the_key_file_is_readable_by_its_owner_only(tmp_path):
    """Without a system keyring the key lies in a 0600 file, and a warning says so."""
    with pytest.warns(KeyFileWarning, match="readable by its owner only"):
        keyring = open_keyring(tmp_path / "agent")
    keyring.write("name", b"secret")
    mode = stat.S_IMODE((tmp_path / "agent" / KEY_FILE).stat().st_mode)
    assert mode == 0o600
    assert open_keyring(tmp_path / "agent").read("name") == b"secret"


def test_a_damaged_key_file_is_one_clear_error(tmp_path):
    """Keys that do not parse are not guessed."""
    (tmp_path / KEY_FILE).write_text("{ not json")
    with pytest.raises(KeyringUnreadable, match="damaged"):
        FileKeyring(tmp_path).read("name")


def test_a_copied_store_without_its_keys_does_not_open(store, tmp_path):
    """The store alone, as a thief of a disk image has it, opens nowhere."""
    store.insert_events("p", [("e1", 1, "x")])
    store.close()
    (tmp_path / "stolen").mkdir()
    shutil.copy(tmp_path / "agent" / STORE_FILE, tmp_path / "stolen" / STORE_FILE)
    with pytest.raises(StoreUnreadable):
        make_store(tmp_path / "stolen")
