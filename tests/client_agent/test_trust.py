"""What a round must prove: each tampering is refused with its own code."""

import dataclasses

import pytest

from client_agent.errors import RoundRefused
from client_agent.federation.trust import verify_round
from models.wire.rounds import CHECKPOINT_TYPE, OPENING_TYPE, Checkpoint, Inclusion, Opening
from privacy.crypto import SigningKey, sign_document, verify_document
from tests.client_agent.world import SITE, START_MS, World

STRANGER = SigningKey(b"x" * 32)


def check(world: World, item, *, model=b"", now_ms=None, pins=None, checkpoint=None):
    now_ms = world.clock.now_ms() if now_ms is None else now_ms
    return verify_round(item, checkpoint or world.checkpoint(), pins or world.pins, now_ms, model)


def refusal(world: World, item, **options) -> str:
    with pytest.raises(RoundRefused) as refused:
        check(world, item, **options)
    return refused.value.code


def test_an_honest_round_verifies(world):
    """Everything in its place: the round comes out with its context and key."""
    item = world.open_round(world.study(), model=b"\0\0\0\0")
    found = check(world, item, model=b"\0\0\0\0")
    assert found.round == 1
    assert found.context.study_hash == item.study.study_hash()
    assert found.supported


def test_a_decision_that_is_not_yes_is_refused(world):
    """An officer's no, and an officer's stop, are not an approval."""
    for decision in ("refuse", "stop"):
        assert refusal(world, world.open_round(world.study(), decision=decision)) == "approval"


def test_a_stranger_approves_nothing(world):
    """An approval by a key that was not pinned, the leader's included, is refused."""
    for signer in (STRANGER, world.leader, world.helper):
        assert refusal(world, world.open_round(world.study(), by=signer)) == "approval"


def test_an_approval_of_another_study_is_refused(world):
    """One constant changed after the approval makes it another study."""
    item = world.open_round(world.study())
    other = world.open_round(world.study(plan={"sampling_rate": 1.0}))
    assert refusal(world, item.model_copy(update={"approval": other.approval})) == "approval"
    assert refusal(world, item.model_copy(update={"study": other.study})) == "approval"


def test_an_opening_by_anyone_but_the_pinned_helper_is_refused(world):
    """The leader cannot open a round with a key of its own."""
    assert refusal(world, world.open_round(world.study(), opener=world.leader)) == "opening"


def test_an_opening_of_another_study_is_refused(world):
    """An opening is bound to its study."""
    item, other = world.open_round(world.study()), world.open_round(world.study(study_id="other"))
    assert refusal(world, item.model_copy(update={"opening": other.opening})) == "opening"


def test_an_opening_with_another_window_than_the_studys_is_refused(world):
    """The officer approved the window; not even the helper can stretch it afterwards."""
    item, stretched = world.open_round(world.study()), world.study(window_seconds=40.0)
    opening = Opening.model_validate(verify_document(item.opening, OPENING_TYPE, (world.helper.verify_key,)))
    longer = opening.model_copy(update={"closes_at_ms": opening.opens_at_ms + 40_000})
    jws = sign_document(world.helper, OPENING_TYPE, longer.document())
    assert refusal(world, item.model_copy(update={"opening": jws})) == "window"
    assert check(world, world.open_round(stretched)).opening.closes_at_ms == longer.closes_at_ms


def test_a_question_under_another_purpose_is_refused(world):
    """Who agreed to find kinds of visitors did not agree to have moves counted, whatever an officer signed."""
    assert refusal(world, world.open_round(world.study(purpose="persona"))) == "purpose"


def test_a_round_beyond_the_plan_is_refused(world):
    """Round 3 of a study of 2 was never approved."""
    assert refusal(world, world.open_round(world.study(rounds=2), 3)) == "opening"


def test_another_model_than_the_openings_is_refused(world):
    """A leader that shows this device a model of its own is noticed."""
    item = world.open_round(world.study(), model=b"\0\0\0\0")
    assert refusal(world, item, model=b"\0\0\0\1") == "model"


def test_a_study_that_is_not_in_the_log_is_refused(world):
    """A proof for another entry does not lead to the root."""
    item = world.open_round(world.study())
    index, path = item.inclusion.index, list(item.inclusion.path)
    for forged in (
        Inclusion(index=index - 1, path=tuple(path)),
        Inclusion(index=index, path=tuple(path[:-1])),
        Inclusion(index=index, path=("00" * 32, *path[1:])),
    ):
        assert refusal(world, item.model_copy(update={"inclusion": forged})) == "inclusion"


def test_a_checkpoint_that_contradicts_the_openings_is_refused(world):
    """A shorter log, another root at the same size, and a stranger's signature are refused."""
    item = world.open_round(world.study())
    size = len(world.log)
    for statement, signer in (
        (Checkpoint(size=size - 1, root="11" * 32, at_ms=0), world.leader),
        (Checkpoint(size=size, root="11" * 32, at_ms=0), world.leader),
        (Checkpoint(size=size, root=world.log.root().hex(), at_ms=0), STRANGER),
    ):
        forged = sign_document(signer, CHECKPOINT_TYPE, statement.document())
        assert refusal(world, item, checkpoint=forged) == "checkpoint"


def test_a_window_in_the_past_or_far_future_is_refused(world):
    """A report would come too late, or be kept for later."""
    item = world.open_round(world.study())
    assert refusal(world, item, now_ms=START_MS + 10_000) == "window"
    assert refusal(world, item, now_ms=START_MS - 400_000) == "window"
    assert check(world, item, now_ms=START_MS + 9_999).round == 1


def test_an_expired_study_is_refused(world):
    """An approval does not outlive its study."""
    item = world.open_round(world.study(expires_at_ms=START_MS + 5_000))
    assert refusal(world, item, now_ms=START_MS + 5_000) == "expired"


def test_services_that_were_not_pinned_are_refused(world):
    """A study for another leader or helper, or another site, is not ours."""
    item = world.open_round(world.study())
    for change in (
        {"leader_key": STRANGER.verify_key},
        {"helper_key": STRANGER.verify_key},
        {"site": "elsewhere.example"},
    ):
        pins = dataclasses.replace(world.pins, **change)
        assert refusal(world, item, pins=pins) in {"keys", "opening"}
    assert world.pins.site == SITE


def test_a_study_written_for_other_purposes_is_refused(world):
    """The policy hash is that of the installed registry, or the seals would say something else."""
    assert refusal(world, world.open_round(world.study(policy_hash="22" * 32))) == "policy"


def test_parameters_that_could_wrap_are_refused(world):
    """Approved or not, a sum whose true value could wrap is not answered."""
    wide = {"sensitivity": 2**39, "maximum_cohort": 10_000_000, "noise_multiplier": 1_000.0}
    plan = world.study().plan.model_copy(update=wide)
    item = world.open_round(world.study().model_copy(update={"plan": plan}), parameters=False)
    assert refusal(world, item) == "parameters"


def test_a_study_that_needs_more_than_this_version_is_marked(world):
    """Unknown needs do not refuse the round: nulls are sent for it."""
    assert not check(world, world.open_round(world.study(needs=("telepathy/1",)))).supported
