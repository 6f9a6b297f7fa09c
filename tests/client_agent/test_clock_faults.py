"""Clocks that are wrong: the device's by years, or the helper's word. Nothing is minted, nobody shut out for ever.

Grants age by the latest time that the device has seen, so a clock that was once far ahead ends them: turned back, it
prolongs none. The person is asked again, and their fresh yes counts at once.
"""

import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.federation.trust import CLOCK_SKEW_MS
from client_agent.pages.answers import answers
from client_agent.retention import retire
from client_agent.visitor import StoredVisitor
from consent import NO_SIGNALS, ask_again
from models.wire.rounds import OPENING_TYPE, Opening
from privacy.accounting import spent_epsilon
from privacy.crypto import sign_document, verify_document
from tests.client_agent.test_retention import collect, kept, read_by
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
    """What this poll's rounds reserve; the reports then wait for their slots."""
    paid = []
    for found in federation.open_rounds():
        made = federation.reserve_all(found)
        federation.finalise(found, made)
        paid += [reservation.payment for reservation in made]
    return paid


def fill_the_budget(world, federation):
    """Three paid rounds; and a fourth, which is open."""
    for number in range(3):
        open_next(world, number)
        assert payments(federation) == ["paid"]
        world.clock.advance(60)
    return open_next(world, 3)


def with_times(world, item, **changes):
    """The same opening with other times, signed by the helper: the lie."""
    opening = Opening.model_validate(verify_document(item.opening, OPENING_TYPE, (world.helper.verify_key,)))
    lie = opening.model_copy(update=changes)
    return item.model_copy(update={"opening": sign_document(world.helper, OPENING_TYPE, lie.document())})


def charged(federation) -> float:
    """Epsilon of what the one participant was charged and still counts (device level, zero-out)."""
    (member,) = federation.roster
    with federation.store.transaction():
        return spent_epsilon(member.budget.contract, federation.budgets.read_times())


def is_asked_again(world, store, federation) -> bool:
    """Whether the one participant's yes has ended, by the policy and by what the visitor's page shows."""
    (member,) = federation.roster
    now = world.clock.ms // 1_000
    state = ConsentKeeper(store, world.pins, world.clock).state_of(member.participant_id)
    shown = {line.id: line for line in answers(state, NO_SIGNALS, now, "en")}["measurement"]
    again = "measurement" in ask_again(state, now)
    assert (shown.again, shown.badge, shown.yes) == ((True, "expired", False) if again else (False, "on", True))
    return again


def sent_of(world, federation) -> int:
    """How many reports the leader has had, once every slot of those that wait has come."""
    federation.send_due(2**53)
    return len(world.reports)


def choose_again(world, store, federation) -> None:
    """The person says yes once more, by the clock that the device shows now."""
    (member,) = federation.roster
    ConsentKeeper(store, world.pins, world.clock).grant(member.participant_id, ["measurement"])


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


@pytest.mark.parametrize("years", [-50, -1])
def test_a_device_whose_own_clock_is_behind_waits_until_it_is_right(world, store, years):
    """Honest rounds do not verify meanwhile: nothing is charged, nothing comes free, and all is well afterwards."""
    populate(world, store, 1)
    federation = federate(world, store)
    item = fill_the_budget(world, federation)
    world.clock.ms += years * YEAR_MS
    world.clock.running_seconds += 60
    assert payments(federation) == []
    assert federation.refused == {item.study.study_hash(): "window"}
    world.clock.ms -= years * YEAR_MS
    assert payments(federation) == ["over_budget"]
    world.clock.advance(31 * DAY_SECONDS)
    open_next(world, 4)
    assert payments(federation) == ["paid"]


@pytest.mark.parametrize("years", [1, 50])
def test_a_device_whose_own_clock_was_years_ahead_asks_its_person_again(world, store, years):
    """Every yes has ended, and a clock put right revives none: nothing is charged, sent or freed until a fresh yes."""
    populate(world, store, 1)
    federation = federate(world, store)
    item = fill_the_budget(world, federation)
    before, sent = charged(federation), len(world.reports)
    world.clock.ms += years * YEAR_MS
    world.clock.running_seconds += 60
    assert payments(federation) == []
    assert federation.refused == {item.study.study_hash(): "expired"}
    assert is_asked_again(world, store, federation)
    world.clock.ms -= years * YEAR_MS
    assert payments(federation) == []
    assert is_asked_again(world, store, federation)
    assert sent_of(world, federation) == sent
    assert charged(federation) == before
    choose_again(world, store, federation)
    assert not is_asked_again(world, store, federation)
    assert payments(federation) == ["over_budget"]  # the lie has freed nothing of what was charged
    assert sent_of(world, federation) == sent + 1
    world.clock.advance(31 * DAY_SECONDS)
    open_next(world, 4)
    assert payments(federation) == ["paid"]


def test_a_lie_that_a_wrong_clock_believes_is_held_no_longer_than_it_reaches(world, store):
    """A helper that tells a device 100 days ahead what it believes: charges count longer, none less, and then end.

    The yes, which ages by the same 100 days, ends as much sooner.
    """
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
    world.clock.advance(39 * DAY_SECONDS)
    assert not is_asked_again(world, store, federation)
    sent = sent_of(world, federation)
    world.clock.advance(53 * DAY_SECONDS)
    open_next(world, 5)
    assert payments(federation) == []  # 132 days after the yes; with the 100 that the clock was ahead, beyond its 180
    assert is_asked_again(world, store, federation)
    assert sent_of(world, federation) == sent
    choose_again(world, store, federation)
    assert not is_asked_again(world, store, federation)
    assert payments(federation) == ["paid"]
    assert sent_of(world, federation) == sent + 1


def test_a_lie_beyond_every_grant_is_charged_to_nobody(world, store):
    """Ten years ahead no yes is in force, then or after: nothing is charged, and no budget ever knows of that time."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.clock.ms += 10 * YEAR_MS
    open_next(world, 0)
    assert payments(federation) == []
    world.clock.ms -= 10 * YEAR_MS
    open_next(world, 1)
    assert payments(federation) == []
    assert is_asked_again(world, store, federation)
    assert sent_of(world, federation) == 0
    assert charged(federation) == 0
    with store.transaction():
        assert federation.budgets.read_times().signed_seconds == 0
    choose_again(world, store, federation)
    assert payments(federation) == ["paid"]
    once = charged(federation)
    assert once > 0
    assert sent_of(world, federation) == 1
    world.clock.advance(31 * DAY_SECONDS)
    open_next(world, 2)
    federation.open_rounds()
    assert payments(federation) == ["paid"]
    assert charged(federation) == once  # the first charge has ended, a month after it was made


def test_the_latest_signed_time_does_not_shut_the_gate(world, store):
    """A store that once kept a signed time 50 years ahead still asks consent of the present."""
    populate(world, store, 1)
    federation = federate(world, store)
    with store.transaction():
        federation.budgets.read_times((world.clock.ms + 50 * YEAR_MS) // 1_000)
    open_next(world, 0)
    assert payments(federation) == ["paid"]


@pytest.mark.parametrize("years", [1, 50])
def test_a_clock_years_ahead_deletes_events_and_nothing_of_the_record(world, store, years):
    """It ends retention and every yes, so events go early; choices, receipts, ledgers and releases are all still there.

    Put right, the clock brings none of the events back and takes nothing more; a fresh yes collects anew.
    """
    (who,) = populate(world, store, 1)
    federation = federate(world, store)
    fill_the_budget(world, federation)
    sent_of(world, federation)
    tables = ("consent_rows", "receipts", "consent_heads", "contributions", "ledger_rows", "participants", "people")

    def record():
        return {table: store._database.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables}

    before = record()
    assert all(before[table] for table in tables if table != "people")
    collect(store, who, world.clock.ms)
    for offset_ms in (years * YEAR_MS, -years * YEAR_MS):
        world.clock.ms += offset_ms
        StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: None)
        payments(federation)
        retire(store, world.clock)
        assert kept(store, who) == set()
        assert record() == before
    choose_again(world, store, federation)
    collect(store, who, world.clock.ms)
    retire(store, world.clock)
    assert kept(store, who) == read_by("measurement")
