"""Taking part, end to end against a leader and helper that really open what they get."""

import numpy as np
import pytest

from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.errors import ReportFixed
from client_agent.federation.contribution import SEAL_GRACE_SECONDS, Slots, flip
from models.wire.problems import ProblemError
from privacy.accounting import Contract, spent_epsilon
from tests.client_agent.world import CONTRACT, START_MS, federate, make_store, populate

VECTOR = np.array([0.5, 0.25, 0.0, 0.5])


def take_part(world, federation, found, vector=VECTOR):
    """One round as the loop runs it; returns the heads."""
    reserved = federation.reserve_all(found)
    heads = federation.flip_all(reserved)
    for head in heads:
        assert federation.answer(head, federation.encode_answer(found, vector)) == (vector is not None)
    federation.finalise(found, reserved)
    world.clock.advance(9.5)
    return heads


def only_round(federation):
    (found,) = federation.open_rounds()
    return found


def test_the_sum_of_the_reports_is_the_sum_of_the_heads(world, store):
    """Every seal opens; what comes out is exactly the heads' vectors: nulls add nothing."""
    populate(world, store, 24)
    federation = federate(world, store)
    item = world.open_round(world.study())
    found = only_round(federation)
    heads = take_part(world, federation, found)
    assert federation.send_due().accepted == 24
    total, reports = world.total(item)
    assert reports == 24
    assert 0 < len(heads) < 24
    assert (total == len(heads) * federation.encode_answer(found, VECTOR)).all()


def test_null_and_real_reports_are_of_one_size(world, store):
    """The network cannot tell the coin from the length."""
    populate(world, store, 24)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    assert len({len(item.frame) for item in store.reports.due(START_MS + 10_000, 256)}) == 1


def test_a_choice_in_the_middle_of_a_round_does_not_tell_heads_from_tails(world, store):
    """Null and real reports carry the consent epoch of the reservation, also where another purpose is granted since."""
    ids = populate(world, store, 24)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    heads = federation.flip_all(reserved)
    federation.finalise(found, [reservation for reservation in reserved if not reservation.heads])
    ConsentKeeper(store, world.pins, world.clock).grant_many(dict.fromkeys(ids, ("intent",)))
    federation.roster.refresh_consent()
    for head in heads:
        federation.answer(head, federation.encode_answer(found, VECTOR))
    federation.finalise(found, heads)
    assert 0 < len(heads) < 24
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 24
    assert world.epochs == {1}


def test_heads_and_tails_are_charged_alike(world, store):
    """Each participant has one charge of one price, whatever its coin."""
    populate(world, store, 12)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    states = [member.budget.contract for member in federation.roster]
    assert {state.length for state in states} == {1}
    assert len({state.active[0].units for state in states}) == 1
    assert states[0].lifetime > (0,)


def test_a_round_is_answered_once(world, store):
    """A second poll of the same round reserves, charges and sends nothing more."""
    populate(world, store, 6)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    take_part(world, federation, found)
    federation.send_due()
    assert federation.reserve_all(only_round(federation)) == []
    assert federation.send_due().accepted == 0


def test_slots_lie_in_the_window_and_are_heeded(world, store):
    """Nothing is sent before its slot; the slots are spread over the window."""
    populate(world, store, 40)
    federation = federate(world, store, slots=Slots(0.2, 0.8))
    world.open_round(world.study())
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    federation.finalise(found, reserved)
    slots = sorted(reservation.slot_ms - START_MS for reservation in reserved)
    assert 2_000 <= slots[0] < 4_000
    assert 6_000 < slots[-1] <= 8_000
    assert federation.send_due().accepted == 0
    world.clock.advance(5)
    assert federation.send_due().accepted == sum(slot <= 5_000 for slot in slots)


def test_an_answer_after_its_slot_is_too_late(world, store):
    """The null goes out; a late answer does not replace it."""
    populate(world, store, 8)
    federation = federate(world, store, slots=Slots(0.1, 0.2))
    item = world.open_round(world.study(plan={"sampling_rate": 1.0}))
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    assert len(federation.flip_all(reserved)) == 8
    world.clock.advance(3)
    assert not any(federation.answer(r, federation.encode_answer(found, VECTOR)) for r in reserved)
    federation.finalise(found, reserved)
    federation.send_due()
    total, reports = world.total(item)
    assert reports == 8
    assert not total.any()


def test_a_coin_is_flipped_once(world, store):
    """A second flip is refused, and so is a second replacement."""
    populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study(plan={"sampling_rate": 1.0}))
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    federation.flip_all(reserved)
    with pytest.raises(ReportFixed):
        flip(reserved[0], lambda n: b"\0" * n)
    values = federation.encode_answer(found, VECTOR)
    assert federation.answer(reserved[0], values)
    assert not federation.answer(reserved[0], values)


@pytest.mark.parametrize(
    "vector", [np.full(4, np.nan), np.array([np.inf, 0, 0, 0]), np.zeros(5), None], ids=["nan", "inf", "shape", "none"]
)
def test_unusable_answers_become_nulls(world, store, vector):
    """NaN, infinity, a wrong shape or no data: the null is sent, nothing is raised, the charge stands."""
    populate(world, store, 5)
    federation = federate(world, store)
    item = world.open_round(world.study(plan={"sampling_rate": 1.0}))
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    for head in federation.flip_all(reserved):
        assert not federation.answer(head, federation.encode_answer(found, vector))
    federation.finalise(found, reserved)
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 5
    assert not world.total(item)[0].any()
    assert all(member.budget.contract.length == 1 for member in federation.roster)


def test_over_budget_sends_nulls_and_never_flips(world, store):
    """When the contract cannot pay, the report is a null, no coin is drawn, and nothing more is charged."""
    populate(world, store, 4)
    federation = federate(world, store, contract=Contract(epsilon=4.0, delta=1e-6, order=7))
    study = world.study(plan={"sampling_rate": 1.0, "noise_multiplier": 1.0})
    payments = []
    for number in (1, 2, 3):
        item = world.open_round(study, number)
        found = only_round(federation)
        reserved = federation.reserve_all(found)
        payments.append({reservation.payment for reservation in reserved})
        federation.flip_all(reserved)
        for reservation in reserved:
            federation.answer(reservation, federation.encode_answer(found, VECTOR))
        federation.finalise(found, reserved)
        world.clock.advance(9.5)
        assert federation.send_due().accepted == 4
        world.clock.advance(1)
    # One unsampled round at z = 1 costs rdp 3.5 at order 7, more than the whole contract (2.18): null from the start.
    assert payments == [{"over_budget"}] * 3
    assert not world.total(item)[0].any()
    assert all(spent_epsilon(m.budget.contract, federation.budgets.read_times()) == 0 for m in federation.roster)
    assert federation.statistics()["measurement"]["over_budget"] == 12


def test_the_contract_bounds_what_many_rounds_spend(world, store):
    """Round after round, what is charged never passes the contract; later rounds are nulls."""
    populate(world, store, 2)
    federation = federate(world, store)
    study = world.study(plan={"noise_multiplier": 2.0})
    for number in range(1, 12):
        world.open_round(study, number)
        take_part(world, federation, only_round(federation), VECTOR)
        federation.send_due()
        world.clock.advance(1)
    for member in federation.roster:
        assert 0 < member.budget.contract.length < 11
        assert 0 < spent_epsilon(member.budget.contract, federation.budgets.read_times()) <= CONTRACT.epsilon


def test_without_consent_nothing_at_all_is_made(world, store):
    """No grant, a grant for another purpose, a refusal: no report, no charge, no byte."""
    never, other, refused = populate(world, store, 3, purposes=())
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.grant(other, ["persona"])
    keeper.decline(refused, ["measurement"])
    federation = federate(world, store)
    world.open_round(world.study())
    assert federation.reserve_all(only_round(federation)) == []
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 0
    assert all(member.budget.contract.length == 0 for member in federation.roster)
    assert {never, other, refused} == {member.participant_id for member in federation.roster}


def test_a_withdrawal_stops_what_is_queued_and_tells_both_services(world, store):
    """After a withdrawal nothing more leaves; the helper gets the tokens of what might have left."""
    ids = populate(world, store, 6)
    federation = federate(world, store, slots=Slots(0.0, 0.9))
    world.open_round(world.study())
    found = only_round(federation)
    federation.finalise(found, federation.reserve_all(found))
    world.clock.advance(4)
    early = federation.send_due().accepted
    keeper = ConsentKeeper(store, world.pins, world.clock)
    leader, helper = world.connections()
    for participant_id in ids:
        keeper.withdraw(participant_id)
    world.clock.advance(5)
    assert federation.send_due().accepted == 0
    assert federation.reserve_all(found) == []
    assert Courier(store, world.pins, world.clock).deliver(leader) == 6
    assert Courier(store, world.pins, world.clock).tell_helper(helper) == 6
    assert Courier(store, world.pins, world.clock).tell_helper(helper) == 0
    known = {report.report_id.hex() for report in world.reports.values()}
    assert len(known) == early < 6
    assert known <= {notice.report_id for notice in world.withdrawals}
    assert all(not state.granted for state in world.states.values())


def test_a_notice_that_is_not_understood_holds_no_other_up(world, store):
    """Every other report is taken back at once; the one that was refused waits, and is said to."""
    (participant_id,) = populate(world, store, 1)
    federation = federate(world, store)
    study = world.study(rounds=3)
    for number in (1, 2, 3):
        world.open_round(study, number)
        take_part(world, federation, only_round(federation))
        assert federation.send_due().accepted == 1
        world.publish()
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(participant_id)
    _, helper = world.connections()
    world.deaf_rounds = {2}
    with pytest.raises(ProblemError, match="form"):
        Courier(store, world.pins, world.clock).tell_helper(helper)
    assert len(world.withdrawals) == 2
    assert [taken.round for taken in store.reports.taken_back()] == [2]
    world.deaf_rounds = set()
    assert Courier(store, world.pins, world.clock).tell_helper(helper) == 1
    assert world.sealed == 3


def test_a_report_from_before_seals_were_kept_is_taken_back_in_the_old_form(world, store):
    """A store that was made by an earlier agent has no seal for it: the id and the token have to do."""
    (participant_id,) = populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    store._database.run("UPDATE reports SET seal = x''")
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(participant_id)
    _, helper = world.connections()
    assert Courier(store, world.pins, world.clock).tell_helper(helper) == 1
    assert (len(world.withdrawals), world.sealed) == (1, 0)


def test_a_round_that_the_leader_hides_can_still_be_taken_back_at_the_helper(world, store):
    """Delisting a round does not rid the leader of withdrawals: tokens are kept for as long as a seal may be opened."""
    ids = populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    assert federation.send_due().accepted == 3
    world.publish()
    federation.open_rounds()
    assert store.reports.due(world.clock.ms, 256) == []
    keeper = ConsentKeeper(store, world.pins, world.clock)
    keeper.withdraw(ids[0])
    _, helper = world.connections()
    assert Courier(store, world.pins, world.clock).tell_helper(helper) == 1
    assert {notice.report_id for notice in world.withdrawals} < {r.report_id.hex() for r in world.reports.values()}
    assert world.sealed == 1, "the frame is gone; the seal was kept"
    world.clock.advance(SEAL_GRACE_SECONDS + 10)
    federation.open_rounds()
    keeper.withdraw(ids[1])
    assert Courier(store, world.pins, world.clock).tell_helper(helper) == 0


def test_a_withdrawal_between_making_and_storing_wins(world, store, monkeypatch):
    """What is stored follows what stands at that moment, not what stood when the nulls were made."""
    ids = populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    keeper = ConsentKeeper(store, world.pins, world.clock)
    make = federation._reserve

    def withdrawn_meanwhile(*arguments):
        made = make(*arguments)
        keeper.withdraw(ids[0])
        return made

    monkeypatch.setattr(federation, "_reserve", withdrawn_meanwhile)
    assert {r.participant.participant_id for r in federation.reserve_all(found)} == set(ids[1:])
    assert federation.roster[ids[0]].budget.contract.length == 0


def test_an_unsupported_study_gets_nulls_for_free(world, store):
    """An agent that lacks a feature sends nulls, charges nothing and flips nothing."""
    populate(world, store, 3)
    federation = federate(world, store)
    item = world.open_round(world.study(needs=("telepathy/1",), plan={"sampling_rate": 1.0}))
    heads = take_part(world, federation, only_round(federation))
    assert heads == []
    assert federation.send_due().accepted == 3
    assert not world.total(item)[0].any()
    assert all(member.budget.contract.length == 0 for member in federation.roster)


def test_another_opening_of_a_known_round_is_refused(world, store):
    """The first opening stands; a second one with another key gets nothing."""
    populate(world, store, 3)
    federation = federate(world, store)
    study = world.study()
    world.open_round(study)
    assert len(federation.reserve_all(only_round(federation))) == 3
    world.open_round(study)
    assert federation.open_rounds() == []
    assert federation.refused == {study.study_hash(): "equivocation"}


def test_a_closed_round_is_never_answered_again(world, store):
    """A replay of an old round's work, even with the clock turned back, reserves and sends nothing."""
    populate(world, store, 3)
    federation = federate(world, store)
    item = world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    federation.send_due()
    world.clock.advance(1)
    world.publish()
    federation.open_rounds()
    world.clock.ms = START_MS
    world.publish(item)
    assert federation.open_rounds() == []
    assert federation.refused == {item.study.study_hash(): "equivocation"}
    assert federation.send_due().accepted == 0


def test_a_stopped_study_is_not_answered(world, store):
    """The officer's stop reaches the agent with its next poll."""
    populate(world, store, 2)
    federation = federate(world, store)
    item = world.open_round(world.study())
    world.publish(item, stopped=(world.stop(item.study),))
    assert federation.open_rounds() == []
    assert federation.refused == {item.study.study_hash(): "stopped"}


def test_a_study_that_costs_more_than_it_says_is_not_answered(world, store):
    """The study's own cap holds on the device: a plan of 50 rounds does not fit into an epsilon of one tenth."""
    populate(world, store, 2)
    federation = federate(world, store)
    item = world.open_round(world.study(epsilon_cap=0.1))
    assert federation.open_rounds() == []
    assert federation.refused == {item.study.study_hash(): "cap"}
    assert store.reports.open_rounds() == []


def test_a_study_that_expires_within_a_round_is_left(world, store):
    """An approval is looked at again with each poll, also for a round that verified before."""
    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study(expires_at_ms=START_MS + 5_000))
    found = only_round(federation)
    world.clock.advance(6)
    assert federation.open_rounds() == []
    assert federation.refused == {found.study_hash: "expired"}


def test_a_stop_deletes_what_is_queued(world, store):
    """What waits for its slot when the office stops the study is never sent, wherever the round is still listed."""
    populate(world, store, 4)
    federation = federate(world, store)
    item = world.open_round(world.study())
    found = only_round(federation)
    federation.finalise(found, federation.reserve_all(found))
    world.publish(stopped=(world.stop(item.study),))
    federation.open_rounds()
    world.clock.advance(9.5)
    assert federation.send_due().accepted == 0
    assert world.reports == {}


def test_a_dead_leader_loses_nothing(world, store):
    """While the leader is down reports wait; afterwards the same bytes arrive, once."""
    populate(world, store, 5)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    frames = [item.frame for item in store.reports.due(world.clock.ms, 256)]
    world.down = True
    delivery = federation.send_due()
    assert delivery.accepted == 0
    assert delivery.unreachable is not None
    assert delivery.unreachable.code == "leader-unavailable"
    with pytest.raises(ProblemError):
        federation.open_rounds()
    world.down = False
    assert federation.send_due().accepted == 5
    assert all(frame in world.bodies[-1] for frame in frames)
    assert federation.send_due().accepted == 0


def test_reports_that_the_leader_refuses_are_not_sent_again(world, store):
    """A closed round answers with a code; the report is dropped and counted."""
    populate(world, store, 4)
    federation = federate(world, store)
    world.open_round(world.study())
    found = only_round(federation)
    take_part(world, federation, found)
    del world.rounds[found.context.digest]
    assert federation.send_due().refused == {"round-closed": 4}
    assert federation.send_due().refused == {}


def test_frames_are_deleted_when_a_round_is_over(world, store):
    """After the window nothing of a round is kept but that it was answered."""
    populate(world, store, 4)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    world.down = True
    federation.send_due()
    world.down = False
    world.clock.advance(2)
    world.publish()
    federation.open_rounds()
    assert federation.send_due().accepted == 0
    assert store.reports.open_rounds() == []


def test_polling_unchanged_work_transfers_nothing(world, store):
    """The second poll is answered with 304."""
    federation = federate(world, store)
    federation.open_rounds()
    federation.open_rounds()
    assert (world.work_requests, world.not_modified) == (2, 1)


def test_the_coin_and_the_secrets_are_not_shown(world, store):
    """A reservation's text tells neither the coin nor token nor bytes."""
    populate(world, store, 2)
    federation = federate(world, store)
    world.open_round(world.study(plan={"sampling_rate": 1.0, "noise_multiplier": 4.0}))
    found = only_round(federation)
    reserved = federation.reserve_all(found)
    before = repr(reserved[0])
    federation.flip_all(reserved)
    federation.answer(reserved[0], federation.encode_answer(found, VECTOR))
    assert repr(reserved[0]) == before
    assert reserved[0].token.hex() not in before


def test_the_budget_spans_a_persons_restarts(world, tmp_path):
    """What was spent stays spent when the agent starts again."""
    store = make_store(tmp_path / "agent")
    populate(world, store, 3)
    federation = federate(world, store)
    world.open_round(world.study())
    take_part(world, federation, only_round(federation))
    heads = {m.participant_id: m.budget.contract.head for m in federation.roster}
    store.close()
    again = federate(world, make_store(tmp_path / "agent"))
    assert {m.participant_id: m.budget.contract.head for m in again.roster} == heads
