"""A leader that runs what nobody approved: its code is patched, or its key signs requests that were written by hand."""

import pytest

from aggregator.leader import hearing, studies
from models.wire.rounds import CHECKPOINT_TYPE, Checkpoint, OpeningRequest, Work, model_hash
from models.wire.studies import APPROVAL_TYPE, Decision
from privacy.crypto import SigningKey, sign_document

from .world import World, code, in_world


async def ask_to_open(world: World, study, number: int = 1):
    """A round's opening, asked for under the leader's own key, with a checkpoint that it signs."""
    checkpoint = Checkpoint(size=1, root="00" * 32, at_ms=world.clock.now_ms())
    request = OpeningRequest(
        study_hash=study.study_hash().hex(),
        round=number,
        model_hash=model_hash(b"").hex(),
        window_seconds=study.window_seconds,
        checkpoint=sign_document(world.leader_key, CHECKPOINT_TYPE, checkpoint.document()),
    )
    return await world.as_leader("/v1/rounds", request.canonical())


async def hand_in(world: World, jws: str):
    return await world.helper.post("/v1/decisions", json={"jws": jws})


@in_world()
async def test_a_round_of_an_undecided_or_refused_study_is_not_opened(world):
    """The leader's signature is not the privacy office's: it proposes, and that is all."""
    async with world.helper_up():
        study = world.study()
        assert code(await ask_to_open(world, study)) == "unknown-study"
        await world.as_leader("/v1/proposals", study.canonical())
        assert code(await ask_to_open(world, study)) == "not-approved"
        await world.decide(study, "refuse")
        assert code(await ask_to_open(world, study)) == "not-approved"
        assert code(await hand_in(world, world.decision(study))) == "wrong-state"
        assert code(await ask_to_open(world, study)) == "not-approved"


@in_world()
async def test_a_forged_decision_opens_nothing(world):
    """Signed by the leader, by a stranger, or by the officer as something else: none of them is a yes."""
    async with world.helper_up():
        study = world.study()
        await world.as_leader("/v1/proposals", study.canonical())
        for key in (world.leader_key, SigningKey.generate(), world.helper_key):
            assert code(await hand_in(world, world.decision(study, key=key))) == "bad-signature"
        yes = Decision(
            study_id=study.study_id,
            study_hash=study.study_hash().hex(),
            decision="approve",
            reason="fine",
            decided_at_ms=world.clock.now_ms(),
        )
        other_type = sign_document(world.officer, CHECKPOINT_TYPE, yes.document())
        assert code(await hand_in(world, other_type)) == "bad-signature"
        genuine = sign_document(world.officer, APPROVAL_TYPE, yes.document())
        head, payload, signature = genuine.split(".")
        assert code(await hand_in(world, ".".join((head, payload[:-2] + "AA", signature)))) == "bad-signature"
        assert code(await ask_to_open(world, study)) == "not-approved"


@in_world()
async def test_a_decision_about_another_study_opens_nothing(world):
    """An approval names digest and name; a leader cannot move it to the study that it would like to run."""
    async with world.helper_up():
        harmless, wanted = world.study("harmless"), world.study("wanted", plan={"noise_multiplier": 1.0})
        for study in (harmless, wanted):
            await world.as_leader("/v1/proposals", study.canonical())
        await hand_in(world, world.decision(harmless))
        crossed = Decision(
            study_id=wanted.study_id,
            study_hash=harmless.study_hash().hex(),
            decision="approve",
            reason="fine",
            decided_at_ms=world.clock.now_ms(),
        )
        assert (
            code(await hand_in(world, sign_document(world.officer, APPROVAL_TYPE, crossed.document()))) == "malformed"
        )
        assert code(await ask_to_open(world, wanted)) == "not-approved"


@in_world()
async def test_less_noise_or_more_epsilon_after_the_approval_is_another_study(world):
    """Any byte that changes makes another digest, which nobody approved and whose name is taken."""
    async with world.helper_up():
        study = world.study()
        await world.approved(study)
        for changes in ({"epsilon_cap": 16.0}, {"plan": {"noise_multiplier": 1.0}}, {"rounds": 2}):
            raised = world.study(**changes, created_at_ms=study.created_at_ms, expires_at_ms=study.expires_at_ms)
            assert code(await ask_to_open(world, raised)) == "unknown-study"
            assert code(await world.as_leader("/v1/proposals", raised.canonical())) == "study-exists"
        assert code(await ask_to_open(world, study, number=2)) == "unknown-round"
        assert (await ask_to_open(world, study)).status_code == 200


@in_world()
async def test_an_approval_does_not_outlive_a_stop(world):
    """The same signed yes again changes nothing; a new one is not taken in either."""
    async with world.helper_up():
        study = world.study()
        approval = world.decision(study)
        await world.as_leader("/v1/proposals", study.canonical())
        assert (await hand_in(world, approval)).status_code == 201
        await world.decide(study, "stop")
        assert (await hand_in(world, approval)).status_code == 201  # known: nothing follows from it
        assert code(await ask_to_open(world, study)) == "study-stopped"
        assert code(await hand_in(world, world.decision(study))) in ("wrong-state", "stale")
        assert code(await ask_to_open(world, study)) == "study-stopped"


@pytest.mark.parametrize("forger", ["leader", "stranger"])
def test_a_leader_without_its_checks_opens_no_round(tmp_path, monkeypatch, forger):
    """Its code patched to believe any yes, it has random numbers: no opening, no work for devices, no charge."""
    import asyncio

    world = World(tmp_path)
    for module in (studies, hearing):
        monkeypatch.setattr(module, "hear", _believe)

    async def run():
        async with world.up():
            study, devices = world.study(), await world.devices(5)
            await world.propose(study)
            key = world.leader_key if forger == "leader" else SigningKey.generate()
            forged = world.decision(study, key=key)

            async def made_up(_):
                return forged

            monkeypatch.setattr(world.leader_app.state.desk.helper, "decision", made_up)
            assert (await world.start(study)).status_code == 202
            account = await world.until(study, "failed")
            assert "approve" in account["detail"]
            assert account["rounds"] == []
            assert account["charges"] == []
            assert Work.model_validate_json((await world.leader.get("/v1/work")).content).rounds == ()
            assert len(devices) == 5

    asyncio.run(run())


async def _believe(desk, row):
    """What the leader's own code does with a decision, without its checks."""
    return await desk.helper.decision(row.study_hash), _believed(row)


def _believed(row) -> Decision:
    return Decision(
        study_id=row.study_id, study_hash=row.study_hash.hex(), decision="approve", reason="yes", decided_at_ms=0
    )
