"""Quotas on the device: one question cannot starve the others."""

import json

import pytest

from client_agent.federation.budgets import inspect
from client_agent.policy import INSTALLED_CONTRACT, INSTALLED_QUOTAS, lowered_quotas
from models.learning.steps import server_step
from models.queries.answers import to_model_bytes
from models.wire.studies import Features, PersonasQuery
from privacy.accounting import Contract, Quotas, SumEvent, price
from simulations.demo.plans import CATEGORIES, intent, measurement, personas
from simulations.demo.plans import CONTRACT as DEMO_CONTRACT
from tests.client_agent.test_federation import only_round
from tests.client_agent.world import federate, populate


def rounds(world, federation, study, numbers, model=b""):
    """Take part in rounds; who paid, round by round."""
    payments = []
    for number in numbers:
        world.open_round(study, number, model)
        found = only_round(federation)
        reserved = federation.reserve_all(found)
        payments += sorted({reservation.payment for reservation in reserved})
        assert any(map(bool, federation.flip_all(reserved))) <= (payments[-1] == "paid")
        federation.finalise(found, reserved)
        world.clock.advance(9.5)
        assert federation.send_due().accepted == len(reserved)
        world.clock.advance(1)
    return payments


def test_a_purpose_over_its_quota_sends_nulls_and_others_go_on(world, store):
    """Over its share it behaves as over budget: a null of the same size, no coin; another purpose is paid."""
    populate(world, store, 3, ("measurement", "persona"))
    cost = price(SumEvent(4.0, 0.5), INSTALLED_CONTRACT)[0]
    quotas = Quotas({"measurement": 2.5 * cost / INSTALLED_CONTRACT.caps[0]})
    federation = federate(world, store, quotas=quotas)
    assert rounds(world, federation, world.study(), (1, 2, 3, 4)) == ["paid", "paid", "over_budget", "over_budget"]
    query = PersonasQuery(clusters=2, features=Features(version="profile/1", names=("a",)), least_count=0.0)
    start = server_step(query, 0.5)
    plan = {"dimension": start.dimension, "clip_norm": 2.0}
    other = world.study(study_id="other", purpose="persona", query=query, plan=plan)
    assert rounds(world, federation, other, (1,), to_model_bytes(start.model())) == ["paid"]
    assert federation.statistics()["measurement"]["over_budget"] == 6
    spend = inspect(store, "person-0", world.clock)
    assert spend.quotas == dict(quotas.shares)
    assert spend.taken["measurement"] == pytest.approx(2 * cost / INSTALLED_CONTRACT.caps[0])
    assert set(spend.taken) == {"measurement", "persona"}


def test_quotas_are_no_part_of_the_ledger(world, store):
    """Another policy at the next start: the ledger replays, and the new quotas hold."""
    populate(world, store, 1)
    federation = federate(world, store, quotas=Quotas({"*": 0.9}))
    assert rounds(world, federation, world.study(), (1,)) == ["paid"]
    again = federate(world, store, seed=b"y", quotas=Quotas({"measurement": 1e-6}))
    assert rounds(world, again, world.study(), (2,)) == ["over_budget"]
    assert inspect(store, "person-0", world.clock).intact


def test_a_setting_only_lowers_the_installed_quotas():
    """Three quarters for any purpose, less where the edge operator says so, never more."""
    assert INSTALLED_QUOTAS.share("intent") == 0.75
    quotas = lowered_quotas(["intent=0.25", "persona=1"])
    assert [quotas.share(name) for name in ("intent", "persona", "churn")] == [0.25, 0.75, 0.75]
    for bad in ("intent", "=0.5", "intent=much", "intent=0", "intent=2", "intent=nan"):
        with pytest.raises(ValueError, match="expected"):
            lowered_quotas([bad])


@pytest.mark.parametrize("contract", [INSTALLED_CONTRACT, DEMO_CONTRACT], ids=str)
def test_the_shipped_plans_fit_their_quotas(contract: Contract):
    """No study of the demo comes near three quarters of the contract, installed or its own."""
    for draft in (measurement(), personas([0.0] * len(CATEGORIES)), intent()):
        event = SumEvent(draft.noise_multiplier, draft.sampling_rate)
        share = draft.rounds * price(event, contract)[0] / contract.caps[0]
        assert share < INSTALLED_QUOTAS.share(draft.purpose) / 2


def test_quotas_are_stored_for_the_status(world, store):
    """What ``status`` shows is what the worker heeds."""
    populate(world, store, 1)
    federate(world, store, quotas=INSTALLED_QUOTAS)
    assert json.loads(store.facts.get("quotas")) == {"*": 0.75}
