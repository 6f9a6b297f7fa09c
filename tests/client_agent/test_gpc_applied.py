"""Global Privacy Control on the device: what it takes back, what overrides it, and what the person is shown of it."""

import pytest

from client_agent.consenting import ConsentKeeper
from consent import MEASUREMENT, NO_SIGNALS, PERSONALISATION, ChoiceInvalid, Row, Signals, decide, notice
from consent.choices import notice_for
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import SITE, federate, populate


@pytest.fixture
def keeper(world, store):
    """Choices on the store."""
    return ConsentKeeper(store, world.pins, world.clock)


def allowed(world, keeper, who, purpose=MEASUREMENT, signals=NO_SIGNALS):
    return decide("use", purpose, keeper.state_of(who), signals, world.clock.now_ms() // 1_000).allowed


def test_a_yes_without_knowledge_of_the_signal_cannot_be_signed_by_accident(world, store, keeper):
    """Once the signal was seen, a notice that does not tell of it is refused; the keeper's own always tells."""
    (who,) = populate(world, store, 1)
    keeper.observe_gpc(who)
    assert not allowed(world, keeper, who)
    with pytest.raises(ChoiceInvalid, match="Global Privacy Control"):
        keeper.grant(who, [MEASUREMENT], notice(SITE, "en"))
    assert keeper.notice(who).gpc
    keeper.grant(who, [MEASUREMENT])  # as the command line does: no header there, and no notice given
    assert allowed(world, keeper, who)
    assert allowed(world, keeper, who, signals=Signals(gpc=True))


def test_a_no_needs_no_notice_of_the_signal(world, store, keeper):
    """Taking back is never refused for a notice."""
    (who,) = populate(world, store, 1)
    keeper.observe_gpc(who)
    keeper.withdraw(who, None, notice(SITE, "en"))
    assert not keeper.state_of(who).granted


def test_the_notice_tells_of_a_signal_that_is_sent_or_was_seen(world, store, keeper):
    """And of none otherwise."""
    (who,) = populate(world, store, 1, ())
    state = keeper.state_of(who)
    assert not notice_for(state).gpc
    assert notice_for(state, Signals(gpc=True)).gpc
    assert notice_for(state, language="de", mode="gateway") == notice(SITE, "de", mode="gateway")
    keeper.observe_gpc(who)
    assert notice_for(keeper.state_of(who)).gpc


def test_taking_something_back_is_a_row_of_the_ledger(world, store, keeper):
    """Recorded once, when it happens, and for good."""
    (who,) = populate(world, store, 1)
    keeper.observe_gpc(who)
    keeper.observe_gpc(who)
    kinds = [Row.parse(body).kind for body in store.consents.rows_of(who)]
    assert kinds == ["receipt", "countersignature", "gpc"]


def test_a_round_that_the_signal_keeps_somebody_out_of_is_counted_once(world, store, keeper):
    """By day, gate and purpose, for the person to see; whoever chose otherwise since takes part and is not counted."""
    people = populate(world, store, 2)
    for who in people:
        keeper.observe_gpc(who)
    keeper.grant(people[1], [MEASUREMENT])
    federation = federate(world, store)
    world.open_round(world.study())
    for _ in range(3):
        federation.reserve_all(only_round(federation))
    day = world.clock.now_ms() // 86_400_000
    assert [(a.day, a.gate, a.purpose, a.withheld) for a in store.gpc.of(people[0])] == [
        (day, "contribute", MEASUREMENT, 1)
    ]
    assert store.gpc.of(people[1]) == []


def test_what_was_withheld_goes_with_an_erasure(world, store):
    """It is about the person."""
    (who,) = populate(world, store, 1)
    store.gpc.add([(who, "use", PERSONALISATION)] * 2, 86_400 * 7)
    assert [(a.day, a.withheld) for a in store.gpc.of(who)] == [(7, 2)]
    store.erase(who)
    assert store.gpc.of(who) == []
