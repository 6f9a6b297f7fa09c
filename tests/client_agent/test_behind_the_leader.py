"""A device that was restored together with its keyring finds out from the leader, and its next choice counts."""

import shutil

import pytest

from client_agent.consenting import BEHIND, ConsentKeeper
from client_agent.delivering import Courier
from client_agent.erasing import deliver_farewells, erase_person
from client_agent.keys import KEY_FILE
from client_agent.store import STORE_FILE
from consent import INTENT, MEASUREMENT, NO_SIGNALS, PERSONA, decide, verify_receipt
from consent.choices import EPOCHS_AHEAD
from models.wire.enrolment import ReceiptResult
from models.wire.problems import ProblemError
from privacy.crypto import SigningKey
from tests.client_agent.world import make_store, populate


@pytest.fixture
def device(tmp_path, world):
    """Granted, copied with its keyring, withdrawn with the leader's knowledge, and wound back."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1, (MEASUREMENT, PERSONA))
    store.close()
    shutil.copytree(folder, tmp_path / "backup")
    store = make_store(folder)
    keeper, courier = ConsentKeeper(store, world.pins, world.clock), Courier(store, world.pins, world.clock)
    for _ in range(3):
        keeper.withdraw(who)
        courier.deliver(world.connections()[0])
        keeper.grant(who, [INTENT])
        courier.deliver(world.connections()[0])
    store.close()
    for name in (STORE_FILE, f"{STORE_FILE}-wal", f"{STORE_FILE}-shm", KEY_FILE):
        (folder / name).unlink(missing_ok=True)
        if (tmp_path / "backup" / name).exists():
            shutil.copy(tmp_path / "backup" / name, folder / name)
    return Device(world, make_store(folder), who)


class Device:
    """The restored device."""

    def __init__(self, world, store, who):
        self.world, self.store, self.who = world, store, who
        self.leader, self.helper = world.connections()
        self.keeper = ConsentKeeper(store, world.pins, world.clock)
        self.courier = Courier(store, world.pins, world.clock)
        self.device_id = store.participants.get(who).device_id

    @property
    def there(self):
        return self.world.states[self.device_id]

    @property
    def here(self):
        return self.keeper.state_of(self.who)

    def allowed(self, gate="contribute", purpose=MEASUREMENT):
        state = self.here if gate == "contribute" else self.there
        return decide(gate, purpose, state, NO_SIGNALS, self.world.clock.now_ms() // 1_000).allowed


def test_a_withdrawal_of_a_restored_device_is_taken_in_at_once(device):
    """In one delivery: refused for its epoch, signed again beyond it, countersigned; nothing stands on either side."""
    assert device.there.granted
    device.keeper.decline(device.who, [MEASUREMENT])
    assert device.courier.deliver(device.leader) == 1
    assert device.there.granted == () == device.here.granted
    assert device.here.countersigned
    assert device.there.epoch == device.here.epoch
    states = [item.state for item in device.store.consents.receipts_of(device.who)]
    assert states.count("refused") == 1
    assert states[-1] == "confirmed"


def test_a_grant_of_now_counts_at_once_and_brings_nothing_old_back(device):
    """The person chose it in this process; what the copy says was granted before may have been taken back, and ends."""
    device.keeper.grant(device.who, [INTENT])
    assert device.allowed()
    assert device.courier.deliver(device.leader) == 1
    assert not device.allowed()
    assert [held.purpose for held in device.here.granted] == [INTENT] == [held.purpose for held in device.there.granted]


def test_a_grant_found_waiting_in_a_copy_is_never_signed_again(tmp_path, world):
    """It may have been taken back since: nothing counts until the person chooses again, and then the choice passes."""
    folder = tmp_path / "agent"
    store = make_store(folder)
    (who,) = populate(world, store, 1, ())
    ConsentKeeper(store, world.pins, world.clock).grant(who, [MEASUREMENT])
    store.close()
    shutil.copytree(folder, tmp_path / "backup")
    store = make_store(folder)
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    Courier(store, world.pins, world.clock).deliver(world.connections()[0])
    store.close()
    restored = Device(world, make_store(tmp_path / "backup"), who)
    assert restored.allowed()
    restored.courier.deliver(restored.leader)
    assert not restored.allowed()
    assert restored.here.fault == BEHIND
    assert not restored.there.granted
    restored.keeper.grant(who, [MEASUREMENT])
    assert restored.courier.deliver(restored.leader) == 1
    assert restored.allowed()
    assert restored.allowed("accept")


def test_the_last_withdrawal_of_somebody_erased_needs_nobody_to_sign_it_again(device):
    """It is signed so far ahead that no leader is beyond it: a restored device cannot be refused it."""
    assert device.there.granted
    erase_person(device.store, device.world.pins, "person-0", device.world.clock)
    undelivered = deliver_farewells(device.store, device.world.pins, device.world.clock, device.leader, device.helper)
    assert not undelivered
    assert not device.there.granted


def refusing(names):
    """A leader that refuses everything and names an epoch."""

    def submit(receipts):
        problem = ProblemError("receipt-refused", "no").body()
        return tuple(ReceiptResult(problem=problem, last_epoch=names(item)) for item in receipts)

    return submit


@pytest.mark.parametrize("named", [2**53 - 1, 2**40, EPOCHS_AHEAD + 100])
def test_an_absurd_epoch_is_not_followed_and_grants_nothing(device, named, monkeypatch):
    """The choice holds here, the ledger goes on counting from where it was, and an honest answer is taken as ever."""
    before = device.here.epoch
    monkeypatch.setattr(device.leader, "submit_receipts", refusing(lambda _: named))
    device.keeper.withdraw(device.who)
    assert device.courier.deliver(device.leader) == 0
    assert not device.allowed()
    assert device.here.epoch == before + 1
    monkeypatch.undo()
    device.keeper.grant(device.who, [MEASUREMENT])
    assert device.courier.deliver(device.leader) == 1
    assert device.allowed()


def test_a_leader_that_moves_on_with_every_answer_is_followed_a_few_times_only(device, monkeypatch):
    """Delivering ends; the withdrawal holds here; the numbers of epochs are not used up."""
    key = SigningKey(device.store.participants.get(device.who).seed).verify_key
    epochs = []

    def names(item):
        epochs.append(verify_receipt(item.receipt, key).epoch)
        return epochs[-1] + 5

    monkeypatch.setattr(device.leader, "submit_receipts", refusing(names))
    device.keeper.withdraw(device.who)
    assert device.courier.deliver(device.leader) == 0
    assert len(epochs) == 4
    assert device.here.granted == ()
    assert device.courier.deliver(device.leader) == 0


def test_a_refusal_for_another_reason_is_final(device, monkeypatch):
    """An epoch that the device is beyond changes nothing."""
    monkeypatch.setattr(device.leader, "submit_receipts", refusing(lambda _: 0))
    device.keeper.grant(device.who, [MEASUREMENT])
    rows = len(device.store.consents.rows_of(device.who))
    device.courier.deliver(device.leader)
    assert len(device.store.consents.rows_of(device.who)) == rows
    assert device.here.fault is None
