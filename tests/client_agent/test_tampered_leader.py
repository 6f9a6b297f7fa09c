"""What a leader offers that nobody approved, to a real agent: no charge, no null, no report."""

import pytest

from models.wire.rounds import RoundWork
from models.wire.studies import APPROVAL_TYPE, Decision
from privacy.crypto import SigningKey, sign_document

from .world import federate, populate


def unapproved(world, study, item: RoundWork) -> RoundWork:
    """The officer's genuine no in the place of a yes."""
    no = Decision(
        study_id=study.study_id,
        study_hash=study.study_hash().hex(),
        decision="refuse",
        reason="no",
        decided_at_ms=world.clock.now_ms(),
    )
    return item.model_copy(update={"approval": sign_document(world.officer, APPROVAL_TYPE, no.document())})


def forged(world, study, _: RoundWork) -> RoundWork:
    """A yes under the leader's own key."""
    return world.open_round(study, by=world.leader)


def by_a_stranger(world, study, _: RoundWork) -> RoundWork:
    """A yes under a key that nobody knows."""
    return world.open_round(study, by=SigningKey.generate())


def of_another_study(world, _, item: RoundWork) -> RoundWork:
    """The officer's yes to something else."""
    other = world.open_round(world.study(study_id="harmless"))
    return item.model_copy(update={"approval": other.approval})


def with_a_raised_epsilon(world, study, item: RoundWork) -> RoundWork:
    """The approved study's name and approval, with less noise and a higher cap in it; even the helper is fooled."""
    plan = {"noise_multiplier": 0.5}
    raised = world.open_round(world.study(study_id=study.study_id, epsilon_cap=5_000.0, plan=plan))
    return raised.model_copy(update={"approval": item.approval})


def with_more_rounds(world, study, _: RoundWork) -> RoundWork:
    """A round beyond those that were approved, which a helper that colludes has opened."""
    return world.open_round(study, number=study.rounds + 1)


def opened_by_the_leader(world, study, _: RoundWork) -> RoundWork:
    """The round's key is the leader's own: it could open every seal."""
    return world.open_round(study, opener=world.leader)


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (unapproved, "approval"),
        (forged, "approval"),
        (by_a_stranger, "approval"),
        (of_another_study, "approval"),
        (with_a_raised_epsilon, "approval"),
        (with_more_rounds, "opening"),
        (opened_by_the_leader, "opening"),
    ],
)
def test_what_nobody_approved_is_refused_without_a_charge(world, store, tamper, code):
    """The genuine round would be answered; the tampered one leaves the budget, the store and the wire untouched."""
    participants = populate(world, store, 2)
    federation = federate(world, store)
    study = world.study(rounds=3)
    world.publish(tamper(world, study, world.open_round(study)))
    assert federation.open_rounds() == []
    assert list(federation.refused.values()) == [code]
    assert len(participants) == 2
    assert store.reports.open_rounds() == []
    assert store.reports.next_slot_ms() is None
    for member in federation.roster:
        assert member.budget.contract.length == 0
    world.clock.advance(9)
    assert federation.send_due().accepted == 0
    assert world.reports == {}


def test_the_genuine_round_of_the_same_study_is_answered(world, store):
    """So that the refusals above are about the tampering."""
    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study(rounds=3))
    (found,) = federation.open_rounds()
    assert len(federation.reserve_all(found)) == 2


def test_an_approval_of_a_study_that_was_stopped_since_is_refused_without_a_charge(world, store):
    """The leader shows the old yes and hides the stop; the helper tells the agent within the poll."""
    populate(world, store, 2)
    federation = federate(world, store)
    study = world.study()
    world.open_round(study)
    world.stop(study)
    assert federation.open_rounds() == []
    assert federation.refused == {study.study_hash(): "stopped"}
    assert all(member.budget.contract.length == 0 for member in federation.roster)
