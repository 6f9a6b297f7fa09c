"""Clocks that are wrong: the device's by years, or the helper's word. Nothing is minted, nobody shut out for ever."""

import pytest

from client_agent.federation.trust import CLOCK_SKEW_MS
from models.wire.rounds import OPENING_TYPE, Opening
from privacy.accounting import spent
from privacy.crypto import sign_document, verify_document
from tests.client_agent.world import federate, populate

DAY_SECONDS = 86_400
YEAR_MS = 365 * DAY_SECONDS * 1_000
PLAN = {"noise_multiplier": 2.5, "sampling_rate": 1.0}
"""Three rounds of it fit into the tests' contract."""


def open_next(world, number):
    """An honest round of a fresh study, by the clock that the world now shows."""
    now_ms = world.clock.ms
    study = world.study(study_id=f"s-{number}", plan=PLAN, created_at_ms=now_ms, expires_at_ms=now_ms + 10**9)
    return world.open_round(study)


def payments(federation):
    """What this poll's rounds reserve."""
    return [r.payment for found in federation.open_rounds() for r in federation.reserve_all(found)]


def with_times(world, item, **changes):
    """The same opening with other times, signed by the helper: the lie."""
    opening = Opening.model_validate(verify_document(item.opening, OPENING_TYPE, (world.helper.verify_key,)))
    lie = opening.model_copy(update=changes)
    return item.model_copy(update={"opening": sign_document(world.helper, OPENING_TYPE, lie.document())})


def counts(federation) -> bool:
    """Whether anything that the one participant was charged still counts."""
    (member,) = federation.roster
    with federation.store.transaction():
        return any(spent(member.budget.contract, federation.budgets.read_times()))


@pytest.mark.parametrize("ahead_ms", [2**53 - 1, YEAR_MS, CLOCK_SKEW_MS + 1, -CLOCK_SKEW_MS - 1])
def test_one_lying_opening_is_refused_and_silences_nobody(world, store, ahead_ms):
    """An opening signed in another time than its window is refused; month after month the budget comes back."""
    populate(world, store, 1)
    federation = federate(world, store)
    item = open_next(world, 0)
    issued_at_ms = min(world.clock.ms + ahead_ms, 2**53 - 1)
    world.publish(with_times(world, item, issued_at_ms=issued_at_ms))
    assert payments(federation) == []
    assert set(federation.refused.values()) == {"window"}
    for month in range(1, 5):
        world.clock.advance(31 * DAY_SECONDS)
        open_next(world, month)
        assert payments(federation) == ["paid"]


@pytest.mark.parametrize("years", [-50, -1, 1, 50])
def test_a_device_whose_own_clock_is_wrong_waits_until_it_is_right(world, store, years):
    """Honest rounds do not verify meanwhile: nothing is charged, nothing comes free, and all is well afterwards."""
    populate(world, store, 1)
    federation = federate(world, store)
    for number in range(3):
        open_next(world, number)
        assert payments(federation) == ["paid"]
        world.clock.advance(60)
    item = open_next(world, 3)
    world.clock.ms += years * YEAR_MS
    world.clock.running_seconds += 60
    assert payments(federation) == []
    assert federation.refused == {item.study.study_hash(): "window" if years < 0 else "expired"}
    world.clock.ms -= years * YEAR_MS
    assert payments(federation) == ["over_budget"]
    world.clock.advance(31 * DAY_SECONDS)
    open_next(world, 4)
    assert payments(federation) == ["paid"]


def test_a_lie_that_a_wrong_clock_believes_is_held_no_longer_than_it_reaches(world, store):
    """A helper that tells a device 100 days ahead what it believes: charges count longer, none less, and then end."""
    populate(world, store, 1)
    federation = federate(world, store)
    open_next(world, 0)
    assert payments(federation) == ["paid"]
    world.clock.ms += 100 * DAY_SECONDS * 1_000
    open_next(world, 1)
    assert payments(federation) == ["paid"]
    world.clock.ms -= 100 * DAY_SECONDS * 1_000
    world.clock.advance(60)
    open_next(world, 2)
    assert payments(federation) == ["paid"]
    world.clock.advance(40 * DAY_SECONDS)
    open_next(world, 3)
    assert payments(federation) == ["paid"]  # in the place of the first, which no lie had reached
    world.clock.advance(60)
    open_next(world, 4)
    assert payments(federation) == ["over_budget"]
    world.clock.advance(92 * DAY_SECONDS)
    open_next(world, 5)
    assert payments(federation) == ["paid"]


def test_a_lie_beyond_every_grant_leaves_no_trace(world, store):
    """Ten years ahead no consent is in force, so nothing is charged and that time is never kept."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.clock.ms += 10 * YEAR_MS
    open_next(world, 0)
    assert payments(federation) == []
    world.clock.ms -= 10 * YEAR_MS
    open_next(world, 1)
    assert payments(federation) == ["paid"]
    world.clock.advance(31 * DAY_SECONDS)
    open_next(world, 2)
    federation.open_rounds()
    assert payments(federation) == ["paid"]
    assert counts(federation)


def test_the_latest_signed_time_does_not_shut_the_gate(world, store):
    """A store that once kept a signed time 50 years ahead still asks consent of the present."""
    populate(world, store, 1)
    federation = federate(world, store)
    with store.transaction():
        federation.budgets.read_times((world.clock.ms + 50 * YEAR_MS) // 1_000)
    open_next(world, 0)
    assert payments(federation) == ["paid"]
