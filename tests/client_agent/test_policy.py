"""How long a charge counts, from the limits that bound the way between a charge and its release."""

import pytest
from annotated_types import Le

from aggregator.settings import HelperSettings, LeaderSettings
from client_agent.federation.contribution import SEAL_GRACE_SECONDS
from client_agent.federation.trust import CLOCK_SKEW_MS, LONGEST_WINDOW_MS
from client_agent.policy import INSTALLED_CONTRACT, lowered
from client_agent.visitor import StoredVisitor
from models.wire.limits import LONGEST_WAY_SECONDS, PROMISED_DAYS, RELEASE_SECONDS, WINDOW_SECONDS
from models.wire.rounds import OpeningRequest
from models.wire.studies import Study
from privacy.accounting import Charge, Contract, SumEvent, Times, can_pay, charge, open_ledger
from tests.client_agent.test_federation import only_round, take_part
from tests.client_agent.world import federate, populate

DAY_SECONDS = 86_400


def most(message, field):
    """The largest value that a message or a setting takes."""
    (bound,) = (item.le for item in message.model_fields[field].metadata if isinstance(item, Le))
    return bound


def longest_way_seconds() -> float:
    """From the time that stamps a charge to the last moment at which its sum can be released, by today's limits."""
    window_seconds = max(most(Study, "window_seconds"), most(OpeningRequest, "window_seconds"), LONGEST_WINDOW_MS / 1e3)
    after_seconds = max(most(HelperSettings, "round_key_seconds"), SEAL_GRACE_SECONDS)
    return window_seconds + CLOCK_SKEW_MS / 1e3 + after_seconds + RELEASE_SECONDS


def test_a_charge_counts_for_30_days_and_its_way_to_the_release():
    """Fails if the longest window, the clocks' skew, the seals' grace or the key's life grows beyond the allowance."""
    assert longest_way_seconds() <= LONGEST_WAY_SECONDS
    for window_seconds in (WINDOW_SECONDS, INSTALLED_CONTRACT.window_seconds):
        assert window_seconds >= PROMISED_DAYS * DAY_SECONDS + longest_way_seconds()
    for settings in (HelperSettings, LeaderSettings):
        assert settings.model_fields["budget_window_seconds"].default == WINDOW_SECONDS


@pytest.mark.parametrize("late_seconds", [0, DAY_SECONDS, LONGEST_WAY_SECONDS])
def test_two_whole_contracts_are_never_released_within_30_days(late_seconds):
    """A contract charged at once and released as late as can be, and the next one charged and released as early."""
    state = open_ledger(INSTALLED_CONTRACT, "o")
    whole = INSTALLED_CONTRACT.caps
    state, _ = charge(state, Charge("a", 1, "p", SumEvent(1.0, 1.0), whole, "", 0), Times(1_000_000, 5.0))
    released_seconds = 1_000_000 + late_seconds

    def fits(after_seconds):
        return can_pay(state, whole, Times(1_000_000 + after_seconds, 5.0 + after_seconds))

    first_seconds = next(s for s in range(0, 40 * DAY_SECONDS, 3_600) if fits(s))
    assert 1_000_000 + first_seconds - released_seconds >= PROMISED_DAYS * DAY_SECONDS


def test_a_lowered_contract_keeps_the_window():
    """A smaller epsilon is not bought with a shorter memory."""
    assert lowered(2.0).window_seconds == WINDOW_SECONDS


def test_screens_say_what_is_promised(world, store):
    """The page says 30 days, which is what the visitor is promised, not how long the ledger remembers."""
    (who,) = populate(world, store, 1)
    federation = federate(world, store, contract=INSTALLED_CONTRACT)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    visitor = StoredVisitor(store, world.pins, who, world.clock, lambda: None, lambda: None)
    assert visitor.budget().window_days == PROMISED_DAYS


def test_a_store_with_the_old_window_keeps_its_spend_and_counts_longer(world, store):
    """Opened by this version, a ledger of 30 days goes on under 32: nothing comes free on the 31st day."""
    populate(world, store, 1)
    plan = {"noise_multiplier": 2.5, "sampling_rate": 1.0}
    old = Contract(INSTALLED_CONTRACT.epsilon, INSTALLED_CONTRACT.delta, INSTALLED_CONTRACT.order, 30 * DAY_SECONDS)
    before = federate(world, store, contract=old)
    for number in (1, 2, 3):
        world.open_round(world.study(plan=plan), number)
        take_part(world, before, only_round(before))
        world.clock.advance(1)
    federation = federate(world, store, contract=INSTALLED_CONTRACT, seed=b"f")

    def payment(number):
        now_ms = world.clock.ms
        later = world.study(study_id=f"l-{number}", plan=plan, created_at_ms=now_ms, expires_at_ms=now_ms + 10**9)
        world.open_round(later)
        (reserved,) = federation.reserve_all(only_round(federation))
        return reserved.payment

    world.clock.advance(31 * DAY_SECONDS)
    assert payment(1) == "over_budget"
    world.clock.advance(DAY_SECONDS)
    assert payment(2) == "paid"
    assert [member.budget.contract.contract for member in federation.roster] == [INSTALLED_CONTRACT]
