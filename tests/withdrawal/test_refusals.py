"""A leader that refuses a withdrawal: it hears it again until it has confirmed it, whatever it answers meanwhile."""

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.erasing import erase_person
from client_agent.store.refusals import due_after
from models.wire.enrolment import ReceiptResponse, ReceiptResult
from models.wire.problems import ProblemError
from tests.client_agent.world import make_store, populate

_DAY_SECONDS = 86_400


@pytest.fixture
def refusing(world):
    """A leader that refuses whatever it is sent until ``stop`` is called; what it was sent is in ``asked``."""
    return Refusing(world)


class Refusing:
    def __init__(self, world):
        self._world, self._honest, self.asked, self.code = world, world._receipts, [], "receipt-refused"
        world._receipts = self._refuse

    def _refuse(self, request):
        self.asked += [item.receipt for item in request.receipts]
        body = ProblemError(self.code, "no").body()
        return ReceiptResponse(results=tuple(ReceiptResult(problem=body) for _ in request.receipts))

    def stop(self):
        self._world._receipts = self._honest


def courier_of(world, store):
    return Courier(store, world.pins, world.clock)


def leader_holds(world):
    return [held.purpose for state in world.states.values() for held in state.granted]


@pytest.mark.parametrize("code", ["receipt-refused", "bad-signature", "unknown-device", "malformed"])
def test_a_refused_withdrawal_is_sent_again_until_it_is_confirmed(tmp_path, world, store, refusing, code):
    """Whatever the code, over a restart, at most once a minute and at least once a day, for as long as it takes."""
    (who,) = populate_with(world, store, refusing, 1)
    refusing.code = code
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    leader, _ = world.connections()
    for _ in range(3):
        assert courier_of(world, store).deliver(leader) == 0
    assert len(refusing.asked) == 1, "it is not repeated with every poll"
    store.close()
    store = make_store(tmp_path / "agent")
    for seen in range(2, 11):
        world.clock.advance(_DAY_SECONDS)
        courier_of(world, store).deliver(leader)
        assert len(refusing.asked) == seen
    assert len(set(refusing.asked)) == 1
    assert store.consents.receipts_of(who)[-1].state == "refused", "which the page shows as not signed"
    assert leader_holds(world) == ["measurement"]
    refusing.stop()
    world.clock.advance(_DAY_SECONDS)
    assert courier_of(world, store).deliver(leader) == 1
    assert leader_holds(world) == []
    assert ConsentKeeper(store, world.pins, world.clock).state_of(who).countersigned
    world.clock.advance(_DAY_SECONDS)
    assert courier_of(world, store).deliver(leader) == 0
    assert store.consents.receipts_of(who)[-1].state == "confirmed"
    store.close()


def populate_with(world, store, refusing, count):
    """People whose grants the leader took in before it began to refuse."""
    refusing.stop()
    people = populate(world, store, count)
    world._receipts = refusing._refuse
    return people


def test_the_wait_grows_from_a_minute_to_a_day():
    """Sent again soon at first, and never so often that it is a burden, nor so seldom that it is given up."""
    waits = [due_after(refusals, 1_000) - 1_000 for refusals in range(12)]
    assert waits[:4] == [60, 240, 960, 3_840]
    assert waits == sorted(waits)
    assert set(waits[6:]) == {_DAY_SECONDS}


def test_a_clock_that_was_years_ahead_puts_nothing_off(world, store, refusing):
    """A due time that is further away than any wait is none."""
    (who,) = populate_with(world, store, refusing, 1)
    leader, _ = world.connections()
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    world.clock.advance(1_000 * _DAY_SECONDS)
    courier_of(world, store).deliver(leader)
    refusing.stop()
    world.clock.advance(-1_000 * _DAY_SECONDS)
    assert courier_of(world, store).deliver(leader) == 1
    assert leader_holds(world) == []


def test_a_second_no_sends_the_first_one_again_at_once(world, store, refusing):
    """Nothing stands here any more, so the second no stays at home; what the leader may hold ends with the first."""
    (who,) = populate_with(world, store, refusing, 1)
    keeper, courier, (leader, _) = (
        ConsentKeeper(store, world.pins, world.clock),
        courier_of(world, store),
        world.connections(),
    )
    keeper.withdraw(who)
    courier.deliver(leader)
    refusing.stop()
    keeper.withdraw(who)
    assert store.consents.receipts_of(who)[-1].state == "home"
    assert courier.deliver(leader) == 1
    assert leader_holds(world) == []


def test_a_refused_grant_stays_refused(world, store, refusing):
    """Nobody loses anything by it: the person sees it, and may choose again."""
    (who,) = populate_with(world, store, refusing, 1)
    ConsentKeeper(store, world.pins, world.clock).grant(who, ["intent"])
    leader, _ = world.connections()
    courier_of(world, store).deliver(leader)
    world.clock.advance(_DAY_SECONDS)
    courier_of(world, store).deliver(leader)
    assert len(refusing.asked) == 1


def test_a_later_choice_that_is_confirmed_ends_it(world, store, refusing):
    """A yes of later says all that stands: the old no would only be refused, for its epoch."""
    (who,) = populate_with(world, store, refusing, 1)
    keeper, courier, (leader, _) = (
        ConsentKeeper(store, world.pins, world.clock),
        courier_of(world, store),
        world.connections(),
    )
    keeper.withdraw(who)
    courier.deliver(leader)
    refusing.stop()
    keeper.grant(who, ["intent"])
    assert courier.deliver(leader) == 1
    assert leader_holds(world) == ["intent"]
    assert not store.consents.refused_withdrawal(who)
    world.clock.advance(_DAY_SECONDS)
    assert courier.deliver(leader) == 0
    assert keeper.state_of(who).grant_of("intent") is not None


def test_of_several_refused_withdrawals_the_last_one_is_sent_again(world, store, refusing):
    """It lists what goes on standing, and so says all that the earlier ones said."""
    (who,) = populate_with(world, store, refusing, 1)
    keeper, courier, (leader, _) = (
        ConsentKeeper(store, world.pins, world.clock),
        courier_of(world, store),
        world.connections(),
    )
    for _ in range(3):
        keeper.withdraw(who)
        keeper.grant(who, ["measurement"])
    keeper.withdraw(who)
    courier.deliver(leader)
    refusing.asked.clear()
    world.clock.advance(_DAY_SECONDS)
    courier.deliver(leader)
    assert refusing.asked == [store.consents.receipts_of(who)[-1].jws]


def test_an_erasure_takes_a_refused_withdrawal_along(world, store, refusing):
    """The leader may hold what was granted: it is withdrawn once more, for good, and waits without the person."""
    (who,) = populate_with(world, store, refusing, 1)
    courier, (leader, _) = courier_of(world, store), world.connections()
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    courier.deliver(leader)
    erase_person(store, world.pins, "person-0", world.clock)
    assert len(store.outbox) == 1
    courier.deliver(leader)
    assert len(store.outbox) == 1, "the leader refuses that as well"
    refusing.stop()
    world.clock.advance(60)
    assert courier.deliver(leader) == 1
    assert (leader_holds(world), len(store.outbox)) == ([], 0)


def test_the_stores_own_erase_keeps_a_refused_withdrawal_too(world, store, refusing):
    """Whoever erases without withdrawing first, the leader hears of what it refused."""
    (who,) = populate_with(world, store, refusing, 1)
    courier, (leader, _) = courier_of(world, store), world.connections()
    ConsentKeeper(store, world.pins, world.clock).withdraw(who)
    courier.deliver(leader)
    store.erase(who)
    refusing.stop()
    assert courier.deliver(leader) == 1
    assert leader_holds(world) == []
