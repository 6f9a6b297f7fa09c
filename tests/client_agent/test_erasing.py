"""Erasing a person: what is withdrawn is heard, nothing is sent for them any more, and nothing is paid twice."""

import json
import os
import threading
import time

import pytest
from typer.testing import CliRunner

from client_agent import cli
from client_agent.agent import Addresses, set_up
from client_agent.commands.rights import TRACES
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import enrol
from client_agent.erasing import deliver_farewells, erase_person
from client_agent.errors import NotEnrolled
from client_agent.federation.budgets import inspect
from client_agent.keys import FileKeyring
from client_agent.resident import Resident
from client_agent.store import STORE_FILE, schema
from client_agent.store.database import Database
from client_agent.store.traces import note_deletion
from consent import NO_SIGNALS, countersign, decide
from models.wire.enrolment import ReceiptResponse, ReceiptResult
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from tests.client_agent.test_federation import VECTOR, only_round, take_part
from tests.client_agent.world import START_MS, federate, make_store, populate

EVERYONE = {"sampling_rate": 1.0}


@pytest.fixture
def other(store):
    """The same store as another process has it: the command line beside the worker."""
    opened = make_store(store._database.path.parent)
    yield opened
    opened.close()


def join_again(world, store, person="person-0"):
    """The same human being enrols anew and grants the same."""
    leader, _ = world.connections()
    (record,) = enrol(
        store, leader, world.pins, [person], token="token", clock=world.clock, entropy=os.urandom
    )  # fmt: skip
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant(record.participant_id, ["measurement"])
    Courier(store, world.pins, world.clock).deliver(leader)
    return record.participant_id


def accepts(world, participant_key) -> bool:
    """Whether the leader would take a report of this device."""
    state = world.states[participant_key]
    return decide("accept", "measurement", state, NO_SIGNALS, world.clock.ms // 1_000).allowed


# The number of a change


def test_a_change_number_is_never_used_again(world, store):
    """Erasing the newest change frees its rows, not its number: the next change is a new one."""
    erased, other = populate(world, store, 2)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(erased)
    known = store.consents.last_change()
    store.erase(erased)
    assert store.consents.last_change() > known
    known = store.consents.last_change()
    keeper.withdraw(other)
    assert store.consents.last_change() > known
    assert store.consents.changed_since(known) == [other]


def test_a_withdrawal_after_an_erasure_in_another_process_is_heeded(world, store, other):
    """The worker knew the last change; another process erases its row and somebody withdraws: nothing is reserved."""
    erased, withdrawing = populate(world, store, 2)
    keeper = ConsentKeeper(other, world.pins, world.clock)
    keeper.withdraw(erased)
    Courier(other, world.pins, world.clock).deliver(world.connections()[0])
    federation = federate(world, store)
    other.erase(erased)
    keeper.withdraw(withdrawing)
    world.open_round(world.study(plan=EVERYONE))
    assert federation.reserve_all(only_round(federation)) == []
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 0


def test_an_erasure_between_making_and_storing_wins(world, store, other, monkeypatch):
    """Who is erased while the nulls are made has no report and no charge when they are stored."""
    ids = populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    make = federation._reserve

    def erased_meanwhile(*arguments):
        made = make(*arguments)
        other.erase(ids[0])
        monkeypatch.setattr(other.reports, "bar_rounds", lambda: None)
        return made

    # What bars the round for everybody would hide what is looked at here.
    monkeypatch.setattr(other.reports, "bar_rounds", lambda: None)
    monkeypatch.setattr(federation, "_reserve", erased_meanwhile)
    assert {r.participant.participant_id for r in federation.reserve_all(found)} == set(ids[1:])
    assert store.reports.answered(found.key) == set(ids[1:])
    assert store.ledgers.rows_of(store.ledgers.owner_of("person-0"), "") == []


def test_an_older_store_goes_on_counting_where_it_was(tmp_path, monkeypatch):
    """A store of version 1 keeps the number of its last change, so that no reader sees it run backwards."""
    key = os.urandom(32)
    with monkeypatch.context() as patch:
        patch.setattr("client_agent.store.database.MIGRATIONS", schema.MIGRATIONS[:1])
        older = Database(tmp_path / STORE_FILE, key)
        older.run("INSERT INTO consent_changes VALUES ('p', 41), ('q', 42)")
        older.close()
    from client_agent.store.consents import Consents

    newer = Database(tmp_path / STORE_FILE, key)
    consents = Consents(newer, FileKeyring(tmp_path))
    assert consents.last_change() == 42
    with newer.transaction():
        assert consents.note_change() == 44  # 43: no mirror vouches for what such a store grants, and that is noticed


# The withdrawal


def test_erasing_while_the_leader_is_down_does_not_lose_the_withdrawal(world, store):
    """The person and the key are gone; the withdrawal waits without them, arrives, and closes the leader's gate."""
    (who,) = populate(world, store, 1)
    device = store.participants.get(who).device_id
    leader, helper = world.connections()
    world.down = True
    erase_person(store, world.pins, "person-0", world.clock)
    left = deliver_farewells(store, world.pins, world.clock, leader, helper)
    assert left.withdrawals == 1
    assert accepts(world, device)
    world.down = False
    assert not deliver_farewells(store, world.pins, world.clock, leader, helper)
    assert not accepts(world, device)
    assert len(store.outbox) == 0


def test_what_waits_holds_no_name_and_no_key(world, store):
    """Beside the spend, an erasure while offline leaves the signed withdrawal and whom it is for, and nothing else."""
    (who,) = populate(world, store, 1)
    record = store.participants.get(who)
    store.insert_events(who, [("e1", 1, "canary")])
    world.down = True
    erase_person(store, world.pins, "person-0", world.clock)
    tables = [row[0] for row in store._database.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")]
    left = {name: store._database.fetch(f"SELECT * FROM {name}") for name in tables if not name.startswith("ledger_")}
    (farewell,) = left.pop("outbox")
    assert farewell[1:3] == (world.pins.leader_key.raw, record.device_id)
    assert all(canary not in repr(left) for canary in ("canary", "person-0", who, repr(record.seed)))
    assert repr(record.seed) not in repr(farewell)
    assert "person-0" not in repr(farewell)


def test_a_withdrawal_that_was_waiting_already_is_kept(world, store):
    """Withdrawn offline and erased later: the waiting receipt moves to the outbox, also by the store's own erase."""
    (who,) = populate(world, store, 1)
    device = store.participants.get(who).device_id
    leader, _ = world.connections()
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(who)
    store.erase(who)
    assert Courier(store, world.pins, world.clock).deliver(leader) == 1
    assert not accepts(world, device)


def test_the_residents_next_poll_delivers_what_was_left_behind(world, store, monkeypatch):
    """Nobody has to come back: the running agent sends the withdrawal when the leader answers again."""
    (who,) = populate(world, store, 1)
    device = store.participants.get(who).device_id
    monkeypatch.setattr("client_agent.agent.LeaderConnection", lambda _: world.connections()[0])
    monkeypatch.setattr("client_agent.agent.HelperConnection", lambda _: world.connections()[1])
    folder = store._database.path.parent
    agent = set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    resident = Resident(agent, world.clock, 0.02)
    world.down = True
    erase_person(store, world.pins, "person-0", world.clock)
    loop = threading.Thread(target=resident.loop)
    loop.start()
    try:
        time.sleep(0.1)
        assert accepts(world, device)
        world.down = False
        deadline = time.monotonic() + 30
        while len(store.outbox) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        resident.stop()
        loop.join()
    assert not accepts(world, device)
    assert len(store.outbox) == 0


@pytest.mark.parametrize(("down", "told"), [(True, "still to be delivered: 1 withdrawal"), (False, "")])
def test_the_visitor_is_told_what_is_still_to_be_delivered(world, store, monkeypatch, down, told):
    """The command line says at once what the leader has not heard, and the status keeps saying it."""
    populate(world, store, 1)
    monkeypatch.setattr("client_agent.agent.LeaderConnection", lambda _: world.connections()[0])
    monkeypatch.setattr("client_agent.agent.HelperConnection", lambda _: world.connections()[1])
    monkeypatch.setattr("client_agent.clocks.SystemClock", lambda: world.clock)
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))
    world.down = down
    done = CliRunner().invoke(cli.app, ["erase", "--yes", "--dir", str(folder), "--person", "person-0"])
    assert done.exit_code == 0
    assert told in done.stdout
    assert ("still to be delivered" in done.stdout) == down
    assert ("counted for everybody behind this agent" in done.stdout) == down, "whose it is is written down nowhere"
    status = CliRunner().invoke(cli.app, ["status", "--json", "--dir", str(folder)])
    assert json.loads(status.stdout)["withdrawals_of_erased_people_waiting"] == int(down)


def test_the_status_says_what_an_erasure_has_still_to_do(world, store, other):
    """In words: nothing, the file to be overwritten, and then the key to be replaced once nobody has the store open."""
    populate(world, store, 1)
    folder = store._database.path.parent
    set_up(folder, world.pins, Addresses("http://l", "http://h"), FileKeyring(folder))

    def said():
        return json.loads(CliRunner().invoke(cli.app, ["status", "--json", "--dir", str(folder)]).stdout)[
            "deleted_data"
        ]

    assert said() == "nothing deleted is left in the files"
    with store.transaction():
        note_deletion(store._database, of_person=True)
    assert said() == TRACES["pages"]
    assert store.remove_traces() == other.traces == "key"
    assert said() == TRACES["key"]


@pytest.mark.parametrize("lie", ["another key", "another receipt"])
def test_a_forged_confirmation_does_not_empty_the_outbox(world, store, lie):
    """Only the pinned leader's word about this very withdrawal counts."""
    populate(world, store, 1)
    erase_person(store, world.pins, "person-0", world.clock)

    def forge(request):
        signer = SigningKey(b"x" * 32) if lie == "another key" else world.leader
        jws = [item.receipt if lie == "another key" else "another" for item in request.receipts]
        return ReceiptResponse(
            results=tuple(ReceiptResult(countersignature=countersign(signer, text, START_MS // 1_000)) for text in jws)
        )

    world._receipts = forge
    with pytest.raises(ProblemError) as refused:
        Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert refused.value.code == "bad-signature"
    assert len(store.outbox) == 1


def test_a_leader_that_refuses_a_withdrawal_hears_it_again(world, store):
    """It is kept until it is confirmed, over a restart too; not with every poll, but later and later."""
    populate(world, store, 1)
    erase_person(store, world.pins, "person-0", world.clock)
    honest, asked = world._receipts, []

    def refuse(request):
        asked.append(request)
        return ReceiptResponse(results=(ReceiptResult(problem=ProblemError("receipt-refused").body()),))

    world._receipts = refuse
    courier = Courier(store, world.pins, world.clock)
    leader, _ = world.connections()
    assert courier.deliver(leader) == courier.deliver(leader) == 0
    assert len(asked) == 1
    world.clock.advance(60)
    courier = Courier(store, world.pins, world.clock)
    assert courier.deliver(leader) == courier.deliver(leader) == 0
    world.clock.advance(60)
    assert courier.deliver(leader) == 0
    assert (len(asked), len(store.outbox)) == (2, 1)
    world._receipts = honest
    world.clock.advance(180)
    assert courier.deliver(leader) == 1
    assert len(store.outbox) == 0


def test_reports_that_may_have_left_are_taken_back_at_the_helper(world, store):
    """Erasing keeps the tokens of the round's reports until the helper has heard of them."""
    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    federation.send_due()
    erase_person(store, world.pins, "person-0", world.clock)
    leader, helper = world.connections()
    assert not deliver_farewells(store, world.pins, world.clock, leader, helper)
    assert len(world.withdrawals) == 1


def test_a_failed_erasure_leaves_the_person_whole(world, store, monkeypatch):
    """An error at the last step undoes the first: nobody is half erased, with a ledger that still names rounds."""
    (who,) = populate(world, store, 1)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("client_agent.erasing.forget_rounds", fail)
    with pytest.raises(KeyboardInterrupt):
        erase_person(store, world.pins, "person-0", world.clock)
    assert store.participants.get(who).person == "person-0"
    assert ConsentKeeper(store, world.pins, world.clock).state_of(who).granted
    with pytest.raises(NotEnrolled):
        erase_person(store, world.pins, "nobody", world.clock)


# The round


def test_who_was_erased_has_no_second_report_in_the_round(world, store):
    """A new enrolment of the same person reserves nothing in a round that this device knew; the next one is theirs."""
    populate(world, store, 2)
    federation = federate(world, store)
    study = world.study(plan=EVERYONE)
    item = world.open_round(study)
    take_part(world, federation, only_round(federation))
    assert federation.send_due().accepted == 2
    world.clock.ms -= 9_000
    erase_person(store, world.pins, "person-0", world.clock)
    join_again(world, store)
    again = federate(world, store, seed=b"g")
    assert again.reserve_all(only_round(again)) == []
    assert world.total(item)[1] == 2
    world.clock.advance(10)
    world.open_round(study, 2)
    assert [r.payment for r in again.reserve_all(only_round(again))] == ["paid", "paid"]


def test_a_running_worker_keeps_to_it_too(world, store, other):
    """The worker that holds the round in memory reserves nothing for the new key, and writes no broken ledger after."""
    populate(world, store, 2)
    federation = federate(world, store)
    study = world.study(plan=EVERYONE)
    world.open_round(study)
    found = only_round(federation)
    take_part(world, federation, found, VECTOR)
    world.clock.ms -= 9_000
    erase_person(other, world.pins, "person-0", world.clock)
    spent = inspect(store, "person-0", world.clock).spent_epsilon
    newcomer = join_again(world, other)
    assert federation.reserve_all(only_round(federation)) == []
    world.clock.advance(10)
    world.open_round(study, 2)
    reserved = federation.reserve_all(only_round(federation))
    assert [r.payment for r in reserved] == ["paid", "paid"]
    assert newcomer in {r.participant.participant_id for r in reserved}
    after = inspect(store, "person-0", world.clock)
    assert after.intact
    assert after.charges == 2
    assert after.spent_epsilon > spent > 0
