"""A consent ledger that is not the one the keyring remembers: nothing counts until the person chooses again."""

import shutil
from dataclasses import replace

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.errors import ConsentOvertaken
from client_agent.keys import KEY_FILE, FileKeyring
from client_agent.store import STORE_FILE, AgentStore
from client_agent.store.consents import RESTORED, ConsentRow
from client_agent.store.database import Database
from client_agent.store.heads import CONSENT_MIRROR, StoredMirror
from client_agent.store.schema import MIGRATIONS
from client_agent.visitor import StoredVisitor
from consent import GATES, MEASUREMENT, NO_SIGNALS, PERSONALISATION, Row, decide
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import federate, make_store, populate
from tests.crash_points import Steps, deaths

PEOPLE = 3


def copy_store(folder, to, *, with_keys=False):
    """What a backup of the store alone, or of the whole folder, would hold."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for path in folder.glob("*" if with_keys else f"{STORE_FILE}*"):
        if path.is_file():
            shutil.copy(path, to / path.name)


def put_back(backup, folder):
    """The files of a backup in the place of those that are there."""
    for path in folder.glob(f"{STORE_FILE}*"):
        path.unlink()
    for path in backup.iterdir():
        shutil.copy(path, folder / path.name)


def keeper_of(world, store):
    return ConsentKeeper(store, world.pins, world.clock)


def opened(world, store, who, purpose=MEASUREMENT):
    """Which gates of the device are open for a purpose."""
    state, now = keeper_of(world, store).state_of(who), world.clock.now_ms() // 1_000
    return {gate for gate in GATES if decide(gate, purpose, state, NO_SIGNALS, now).allowed}


@pytest.fixture
def restored(tmp_path, world):
    """A store of people who granted, withdrew, and were put back to the time before."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    people = populate(world, store, PEOPLE)
    store.close()
    copy_store(folder, tmp_path / "backup")
    store = make_store(folder)
    keeper_of(world, store).withdraw(people[0])
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    store.close()
    put_back(tmp_path / "backup", folder)
    return folder, people


def test_a_restored_store_grants_nothing_at_any_gate_to_anybody(world, restored):
    """The person who withdrew, and everybody else of that store: page, resident and worker read the same."""
    folder, people = restored
    store = make_store(folder)
    for who in people:
        assert not opened(world, store, who)
        assert keeper_of(world, store).state_of(who).fault == RESTORED
        visitor = StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: None)
        assert visitor.consent().fault == RESTORED
    federation = federate(world, store)
    world.open_round(world.study())
    assert not federation.reserve_all(only_round(federation))
    store.close()
    again = make_store(folder)
    assert not opened(world, again, people[1])


def test_a_restored_store_sends_nothing_that_was_waiting_in_it(tmp_path, world):
    """Reports that the copy still holds are taken back, and the helper is told."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    people = populate(world, store, PEOPLE)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    federation.finalise(found, federation.reserve_all(found))
    store.close()
    copy_store(folder, tmp_path / "backup")
    store = make_store(folder)
    keeper_of(world, store).withdraw(people[0])
    store.close()
    put_back(tmp_path / "backup", folder)
    store = make_store(folder)
    world.clock.advance(9)
    assert federate(world, store, seed=b"z").send_due().accepted == 0
    assert not world.reports
    assert len(store.reports.taken_back()) == PEOPLE


def test_the_next_choice_counts_and_is_taken_in_by_the_leader(world, restored):
    """The keyring's epoch outlives the copy: a grant and a withdrawal are signed beyond all that the leader holds."""
    folder, people = restored
    store, (leader, _) = make_store(folder), world.connections()
    keeper, courier = keeper_of(world, store), Courier(store, world.pins, world.clock)
    keeper.grant(people[0], [PERSONALISATION, MEASUREMENT])
    assert opened(world, store, people[0]) == {"collect", "use", "contribute", "accept"}
    assert courier.deliver(leader) == 1
    device = store.participants.get(people[0]).device_id
    assert world.states[device].grant_of(MEASUREMENT)
    assert opened(world, store, people[1]) == set()
    keeper.withdraw(people[0])
    assert courier.deliver(leader) == 1
    assert not world.states[device].granted


def test_a_no_after_a_loss_is_a_withdrawal_that_the_leader_hears(world, restored):
    """Nothing stands here, but the leader may hold a grant: saying no to one purpose ends all of them there."""
    folder, people = restored
    store, (leader, _) = make_store(folder), world.connections()
    device = store.participants.get(people[1]).device_id
    assert world.states[device].granted
    keeper_of(world, store).decline(people[1], [MEASUREMENT])
    assert Courier(store, world.pins, world.clock).deliver(leader) == 1
    assert not world.states[device].granted


def test_the_page_s_script_gets_no_data_back_by_a_choice_after_a_loss(world, restored):
    """A new yes restarts the ledger with everything else off, and the restart stands in the chain with its reason."""
    folder, people = restored
    store = make_store(folder)
    keeper_of(world, store).grant(people[1], [PERSONALISATION])
    state = keeper_of(world, store).state_of(people[1])
    assert [held.purpose for held in state.granted] == [PERSONALISATION]
    kinds = [Row.parse(body).kind for body in store.consents.rows_of(people[1])]
    assert kinds == ["receipt", "countersignature", "restart", "receipt"]
    assert RESTORED in Row.parse(store.consents.rows_of(people[1])[2]).content


def tamper(folder, statement, *values):
    """Write into a closed store with its own key, behind its mirror's back."""
    keyring = FileKeyring(folder)
    database = Database(folder / STORE_FILE, keyring.read("store-key"))
    assert database.run(statement, values)
    database.close()


EDITS = {
    "edited": (
        "UPDATE consent_rows SET body = CAST(replace(body, '\"at\":1', '\"at\":2') AS BLOB) WHERE participant_id = ?",
        True,
    ),
    "no body": ("UPDATE consent_rows SET body = position WHERE participant_id = ?", True),
    "truncated": ("DELETE FROM consent_rows WHERE participant_id = ? AND position = 1", True),
    "first row dropped": ("DELETE FROM consent_rows WHERE participant_id = ? AND position = 0", True),
    "reordered": ("UPDATE consent_rows SET position = 1 - position - 10 WHERE participant_id = ?", True),
    "all rows dropped": ("DELETE FROM consent_rows WHERE participant_id = ?", True),
    "head dropped": ("DELETE FROM consent_heads WHERE participant_id = ?", True),
    "head edited": ("UPDATE consent_heads SET epoch = 7 WHERE participant_id = ?", True),
    "bucket dropped": ("DELETE FROM consent_buckets WHERE ? <> ''", False),
    "change number edited": ("UPDATE facts SET value = 1 WHERE name = 'consents-change' AND ? <> ''", False),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_store_edited_behind_the_mirror_grants_nothing_and_loses_nothing(tmp_path, world, edit):
    """Whoever's rows they are count for nothing; what does not verify is kept as evidence; the next yes counts."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    people = populate(world, store, PEOPLE)
    store.close()
    statement, one_person = EDITS[edit]
    tamper(folder, statement, people[0])
    store = make_store(folder)
    before = store.consents.rows_of(people[0])
    assert not opened(world, store, people[0])
    assert bool(opened(world, store, people[1])) is one_person
    keeper = keeper_of(world, store)
    keeper.grant(people[0], [MEASUREMENT])
    assert opened(world, store, people[0])
    after = [*store.consents.rows_of(people[0]), *store.consents.evidence_of(people[0])]
    assert set(before) <= set(after)
    assert Courier(store, world.pins, world.clock).deliver(world.connections()[0]) == 1
    store.close()
    assert opened(world, make_store(folder), people[0])


def test_head_and_rows_dropped_together_are_noticed(tmp_path, world):
    """Taking a withdrawal out with its head, bucket and all: the root is not the mirror's."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    rows, head = store.consents.rows_of(who), store.consents.heads.of(who)
    bucket = store._database.fetch("SELECT digest FROM consent_buckets")[0][0]
    keeper_of(world, store).withdraw(who)
    store.close()
    tamper(folder, "DELETE FROM consent_rows WHERE position >= ?", len(rows))
    tamper(folder, "UPDATE consent_heads SET head = ?, length = ?, epoch = ?", head.head, head.length, head.epoch)
    tamper(folder, "UPDATE consent_buckets SET digest = ?", bucket)
    assert not opened(world, make_store(folder), who)


@pytest.mark.parametrize("left", [b"", b"x", bytes(32), bytes(47)])
def test_a_mirror_that_is_missing_or_damaged_beside_a_ledger_is_a_loss(tmp_path, world, left):
    """Without the keyring's entry nobody can say whether this is the newest copy."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    store.close()
    FileKeyring(folder).write(CONSENT_MIRROR, left)
    store = make_store(folder)
    assert not opened(world, store, who)
    keeper_of(world, store).grant(who, [MEASUREMENT])
    assert opened(world, store, who)


SINCE = (
    "browsers DROP COLUMN secret",
    "contributions DROP COLUMN size_bytes",
    "receipts DROP COLUMN refusals",
    "receipts DROP COLUMN due_at",
    "outbox DROP COLUMN refusals",
    "outbox DROP COLUMN due_at",
)
"""What later versions added to a store, to be taken away again."""


def test_a_store_from_before_the_mirror_is_not_adopted(tmp_path, world):
    """Nothing says that it is the newest copy: everybody is asked once more, and the old rows stay."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    rows = store.consents.rows_of(who)
    for table in ("consent_heads", "consent_buckets", "consent_evidence", "clock_marks", "gpc_applications"):
        store._database.run(f"DROP TABLE {table}")
    for column in ("receipts DROP COLUMN clock_segment", *SINCE):
        store._database.run(f"ALTER TABLE {column}")
    mirrored = next(i for i, block in enumerate(MIGRATIONS) if "consent_heads" in block)
    store._database.run(f"PRAGMA user_version = {mirrored}")
    store.close()
    keys = (folder / KEY_FILE).read_text("ascii").replace(CONSENT_MIRROR, "unknown")
    (folder / KEY_FILE).write_text(keys, "ascii")
    if len(MIGRATIONS) > mirrored + 4:
        pytest.skip("later migrations cannot be undone here")
    store = make_store(folder)
    assert not opened(world, store, who)
    assert store.consents.rows_of(who) == rows
    keeper_of(world, store).grant(who, [MEASUREMENT])
    assert store.consents.rows_of(who)[: len(rows)] == rows


def test_erasing_somebody_moves_the_mirror_with_it(tmp_path, world):
    """Nobody else loses anything, and the copy from before the erasure counts for nothing."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    people = populate(world, store, PEOPLE)
    store.close()
    copy_store(folder, tmp_path / "backup")
    store = make_store(folder)
    store.erase(people[0])
    assert opened(world, store, people[1])
    store.close()
    store = make_store(folder)
    assert opened(world, store, people[1])
    store.close()
    put_back(tmp_path / "backup", folder)
    store = make_store(folder)
    assert not opened(world, store, people[0])
    assert not opened(world, store, people[1])


def test_one_process_that_notices_is_enough(world, restored):
    """The loss is written into the store: a process that read consent before reads it again, and finds none."""
    folder, people = restored
    worker = AgentStore(folder / STORE_FILE, FileKeyring(folder).read("store-key"), FileKeyring(folder))
    resident = make_store(folder)
    visitor = StoredVisitor(resident, world.pins, people[1], world.clock, lambda: None, lambda: None)
    keeper_of(world, worker).grant(people[1], [MEASUREMENT])
    assert visitor.consent().granted
    worker.consents.distrust(people[1], "noticed elsewhere", 0)
    assert not visitor.consent().granted
    assert visitor.consent().fault == "noticed elsewhere"


def test_a_process_with_the_newer_file_open_notices_at_its_next_look(tmp_path, world):
    """The restored file is another file: whoever has the old one open finds that the mirror has moved on."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    copy_store(folder, tmp_path / "backup")
    keeper_of(world, store).withdraw(who)
    put_back(tmp_path / "backup", folder)
    other = make_store(folder)
    keeper_of(world, other).grant(who, [MEASUREMENT])
    store.consents.look(world.clock.now_ms() // 1_000, 1.0)
    assert keeper_of(world, store).state_of(who).fault == RESTORED


def test_two_processes_that_choose_in_turn_agree(tmp_path, world):
    """Neither takes the other's choices for a loss, and a row on what no longer stands is refused."""
    folder = tmp_path / "agent"
    here = make_store(folder)
    (who,) = populate(world, here, 1)
    there = AgentStore(folder / STORE_FILE, FileKeyring(folder).read("store-key"), FileKeyring(folder))
    for turn in range(3):
        keeper_of(world, (here, there)[turn % 2]).grant(who, [PERSONALISATION])
    stale = keeper_of(world, here).state_of(who)
    keeper_of(world, there).withdraw(who)
    row = Row(stale.length, stale.head, "gpc", "", 1)
    with pytest.raises(ConsentOvertaken), here.transaction():
        here.consents.append([ConsentRow(who, row, stale.epoch)])
    assert not keeper_of(world, here).state_of(who).granted
    assert keeper_of(world, here).state_of(who).fault is None


def test_a_choice_killed_at_any_step_is_whole_or_not_there_and_never_a_loss(tmp_path, world):
    """At each statement, commit and write of the keyring's file: the store opens intact, with the old or the new."""
    origin = tmp_path / "origin"
    store = make_store(origin)
    (who,) = populate(world, store, 1)
    store.close()

    def prepare(attempt):
        shutil.rmtree(origin.with_name(f"attempt-{attempt - 1}"), ignore_errors=True)
        return shutil.copytree(origin, origin.with_name(f"attempt-{attempt}"))

    def work(folder, steps: Steps):
        store = make_store(folder)
        for name in ("run", "run_many"):
            steps.around(Database, name)
        steps.around(FileKeyring, "write_all")
        keeper_of(world, store).withdraw(who)

    for _, folder in deaths(prepare, work):
        store = make_store(folder)
        keeper = keeper_of(world, store)
        assert keeper.state_of(who).fault is None
        keeper.grant(who, [MEASUREMENT])
        assert keeper.state_of(who).granted
        store.close()


def test_a_killed_choice_costs_no_protection(tmp_path, world):
    """Killed between commit and keyring: the store is one ahead, and an older copy is still found out."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    store.close()
    copy_store(folder, tmp_path / "backup")
    store = make_store(folder)
    keeper_of(world, store).grant(who, [PERSONALISATION])
    before = (folder / KEY_FILE).read_bytes()
    keeper_of(world, store).withdraw(who)
    (folder / KEY_FILE).write_bytes(before)
    assert make_store(folder).consents.heads.standing() != "lost"
    store.close()
    put_back(tmp_path / "backup", folder)
    assert not opened(world, make_store(folder), who)


class Killed(BaseException):
    """The process is gone."""


def die():
    raise Killed


ONGOING = {
    "a restart": lambda _, folder, __: make_store(folder).close(),
    "a poll of another process": lambda world, _, other: other.consents.look(world.clock.now_ms() // 1_000, 1.0),
    "a look at the page": lambda world, _, other: StoredVisitor(
        other, world.pins, other.participants.all()[0].participant_id, world.clock, lambda: None, lambda: None
    ).consent(),
}


@pytest.mark.parametrize("going_on", ONGOING)
def test_a_withdrawal_that_died_before_the_keyring_heard_of_it_is_not_undone_by_a_copy(tmp_path, world, going_on):
    """Grant, copy, withdraw, die after the commit, go on, put the copy back: the copy counts for nothing."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    store.close()
    copy_store(folder, tmp_path / "backup")
    store, other = make_store(folder), make_store(folder)
    store._database.after_commit = die
    with pytest.raises(Killed):
        keeper_of(world, store).withdraw(who)
    store.close()
    assert other.consents.heads.standing() == "ahead"
    ONGOING[going_on](world, folder, other)
    assert other.consents.heads.standing() == "present"
    assert not opened(world, other, who)
    assert keeper_of(world, other).state_of(who).fault is None
    reached = other.consents.heads.of(who).epoch
    other.close()
    put_back(tmp_path / "backup", folder)
    store = make_store(folder)
    assert not opened(world, store, who)
    assert keeper_of(world, store).state_of(who).fault == RESTORED
    assert store.consents.heads.floor(world.leader.verify_key.raw) == reached


def test_a_keyring_that_lags_is_told_once_and_not_at_each_poll(tmp_path, world, monkeypatch):
    """Where the mirror is the present one, a look writes nothing."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    monkeypatch.setattr(store._database, "after_commit", lambda: None)
    keeper_of(world, store).withdraw(who)
    store.close()
    store, writes, inner = make_store(folder), [], FileKeyring.write_all
    monkeypatch.setattr(FileKeyring, "write_all", lambda self, found: (writes.append(set(found)), inner(self, found)))
    for running in range(3):
        store.consents.look(world.clock.now_ms() // 1_000, float(running))
    assert writes == []


def test_the_mirror_reads_back_and_remembers_the_largest_epoch_by_leader():
    """Root and floors both ways; a floor of one leader says nothing to another."""
    mirror = StoredMirror(b"r" * 32, {b"a" * 32: 3, b"b" * 32: 2**40})
    assert StoredMirror.from_bytes(mirror.to_bytes()) == mirror
    assert StoredMirror.from_bytes(replace(mirror, floors={}).to_bytes()).floors == {}


def test_the_keyring_is_written_once_for_a_choice_of_everybody(tmp_path, world, monkeypatch):
    """One write a transaction, however many people chose in it."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    people = populate(world, store, 20)
    writes = []
    inner = FileKeyring.write_all
    monkeypatch.setattr(
        FileKeyring, "write_all", lambda self, entries: (writes.append(set(entries)), inner(self, entries))
    )
    keeper_of(world, store).grant_many({who: [PERSONALISATION, MEASUREMENT] for who in people})
    assert writes == [{CONSENT_MIRROR}]
