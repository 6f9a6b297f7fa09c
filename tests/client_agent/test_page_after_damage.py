"""The visitor's page over a store that was damaged, edited or restored: a person can always choose, and keep proof."""

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.erasing import erase_person
from client_agent.visitor import StoredVisitor
from consent import MEASUREMENT, verify_record
from tests.client_agent.gateway.people import PAGE_ORIGIN, hidden_fields, page_browser
from tests.client_agent.test_restored_consent import EDITS, copy_store, put_back, tamper
from tests.client_agent.world import make_store, populate

pytestmark = pytest.mark.anyio

ROTS = {
    **{name: statement for name, (statement, _) in EDITS.items()},
    "no JSON": "UPDATE consent_rows SET body = X'00FF' WHERE participant_id = ? AND position = 1",
    "text": "UPDATE consent_rows SET body = CAST('rotten' AS BLOB) WHERE participant_id = ?",
    "another spelling": "UPDATE consent_rows SET body = CAST(body || ' ' AS BLOB) WHERE participant_id = ?",
    "nested": "UPDATE consent_rows SET body = CAST('{\"content\":[[]]}' AS BLOB) WHERE participant_id = ?",
    "a confirmation": "UPDATE receipts SET countersignature = 'rotten' WHERE participant_id = ?",
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def choose(web, choice, purpose="all"):
    """What the buttons of the page send."""
    hidden = await hidden_fields(web)
    answer = await web.post(
        "/consent", data={**hidden, "purpose": purpose, "choice": choice}, headers={"origin": PAGE_ORIGIN}
    )
    assert answer.status_code == 200, answer.text
    return answer.text


async def record(web, world):
    """The consent record as the page hands it out, and what a stranger reads in it."""
    answer = await web.get("/consent-record.json")
    assert answer.status_code == 200
    return verify_record(answer.content, world.leader.verify_key.fingerprint)


async def rights_work(web):
    """Everything can be seen and taken along, in both forms."""
    answers = [await web.get(path) for path in ("/everything", "/export.json", "/export.zip")]
    return [answer.status_code for answer in answers] == [200] * 3 and answers[1].json()["format"]


def confirmed_yes_and_no(world, folder):
    """A store in which somebody granted and withdrew, and the leader confirmed both."""
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    world.clock.advance(5)
    ConsentKeeper(store, world.pins, world.clock).withdraw(who, [MEASUREMENT])
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    store.close()
    return who


def opened(world, folder, who):
    return StoredVisitor(make_store(folder), world.pins, who, world.clock, lambda: None, lambda: None)


@pytest.mark.parametrize("choice", ["grant", "decline"])
@pytest.mark.parametrize("rot", ROTS)
async def test_a_person_can_choose_over_a_damaged_ledger_and_the_record_verifies_after_it(tmp_path, world, rot, choice):
    """The page opens, says what stands, takes the choice and hands out the record, before and after; nothing hides."""
    who = confirmed_yes_and_no(world, tmp_path / "agent")
    tamper(tmp_path / "agent", ROTS[rot], who)
    visitor = opened(world, tmp_path / "agent", who)
    world.clock.advance(5)
    async with page_browser(visitor) as web:
        before = await record(web, world)
        assert not before.standing
        assert await rights_work(web)
        await choose(web, choice)
        after = await record(web, world)
        assert await rights_work(web)
    assert after.holds, after.fault
    assert bool(visitor.consent().granted) is (choice == "grant")
    kinds = [item.receipt.kind for item in (*after.receipts, *after.found)]
    assert kinds.count("withdrawal") == 1 + (choice == "decline" and bool(after.restarts))
    withdrawals = [item for item in (*after.receipts, *after.found) if item.receipt.kind == "withdrawal"]
    assert rot == "a confirmation" or any(item.confirmed_at is not None for item in withdrawals)
    assert after.unseen_epochs == () or rot == "head edited"


@pytest.mark.parametrize("choice", ["grant", "decline"])
async def test_a_person_can_choose_over_a_restored_store(tmp_path, world, choice):
    """The copy's rows verify and stay; the restart says why nothing counted, and the epochs that are gone are named."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1)
    store.close()
    copy_store(folder, tmp_path / "backup")
    store = make_store(folder)
    ConsentKeeper(store, world.pins, world.clock).withdraw(who, [MEASUREMENT])
    store.close()
    put_back(tmp_path / "backup", folder)
    visitor = opened(world, folder, who)
    async with page_browser(visitor) as web:
        await record(web, world)
        await choose(web, choice)
        after = await record(web, world)
    assert after.holds, after.fault
    assert [restart.row for restart in after.restarts] == [2]
    assert after.unseen_epochs == ((2, 2),)
    assert bool(visitor.consent().granted) is (choice == "grant")


@pytest.mark.parametrize("state", ["waiting", "refused"])
async def test_a_damaged_receipt_on_its_way_holds_no_erasure_up(tmp_path, world, state):
    """A receipt that was edited while it waited says nothing any more; the person's last withdrawal still goes out."""
    folder = tmp_path / "agent"
    who = confirmed_yes_and_no(world, folder)
    tamper(folder, f"UPDATE receipts SET jws = 'rotten', state = '{state}', due_at = 0 WHERE participant_id = ?", who)
    store = make_store(folder)
    person = store.participants.get(who).person
    erase_person(store, world.pins, person, world.clock)
    assert store.people.get(person) is None
    assert len(store.outbox) == 1
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    assert not len(store.outbox)
    store.close()
