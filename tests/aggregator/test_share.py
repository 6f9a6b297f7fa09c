"""The helper against a lying leader, and against its own crashes."""

import json

import pytest

from aggregator.helper import decisions, shares
from aggregator.storage.helper import HelperStore
from models.wire.frames import SEALS_MEDIA_TYPE
from tests.frames import encode_seals

from .world import code, in_world, sealed, vectors


@in_world()
async def test_an_unapproved_study_cannot_open(world):
    """No decision, a refusal, and a stranger's signature all keep the round shut."""
    async with world.helper_up():
        study = world.study()
        assert code(await world.open_round(study)) == "unknown-study"
        await world.as_leader("/v1/proposals", study.canonical())
        assert code(await world.open_round(study)) == "not-approved"
        forged = await world.helper.post("/v1/decisions", json={"jws": world.decision(study, key=world.leader_key)})
        assert code(forged) == "bad-signature"
        assert (await world.decide(study, "refuse")).status_code == 201
        assert code(await world.open_round(study)) == "not-approved"
        assert code(await world.decide(study, "approve")) == "wrong-state"


@in_world()
async def test_an_identical_batch_gets_identical_bytes(world):
    """A retry costs nothing and says the same, also after a restart."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
        first = await world.share(study, seals)
        assert (await world.share(study, seals)).content == first.content
    async with world.helper_up() as app:
        assert (await world.share(study, seals)).content == first.content
        assert app.state.office.budget.state.length == 1


@in_world()
async def test_n_versus_n_minus_one_is_refused(world):
    """After n seals were answered, the same batch without one is another batch: nothing to subtract from."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
        await world.share(study, seals)
        assert code(await world.share(study, seals[1:])) == "already-answered"
        assert code(await world.open_round(study)) == "already-answered"


@in_world()
async def test_a_crash_after_the_mark_leaves_the_same_share(world):
    """Killed between mark and answer, the helper computes the very bytes again, and refuses another batch meanwhile."""
    study, computed, compute = world.study(), [], shares._compute

    def crash(*arguments):
        computed.append(compute(*arguments)[0])
        raise RuntimeError("the power went")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "_compute", crash)
        async with world.helper_up():
            seals = await sealed(world, study)
            with pytest.raises(RuntimeError):
                await world.share(study, seals)
    world.helper_secret = b"\7" * 32  # a fresh draw would differ
    async with world.helper_up() as app:
        late = {"report_id": shares.hashlib.sha256(seals[0]).hexdigest(), "token": "00" * 32}
        await world.helper.post("/v1/withdrawals", json=late)
        assert code(await world.share(study, seals[1:])) == "already-answered"
        assert (await world.share(study, seals)).content == computed[0]
        assert app.state.office.budget.state.length == 1


@in_world()
async def test_a_withdrawal_after_the_mark_does_not_change_the_share(world):
    """A right token that comes between crash and retry would give two sums under one noise; it comes too late."""
    study, compute, computed = world.study(), shares._compute, []

    def crash(*arguments):
        computed.append(compute(*arguments)[0])
        raise RuntimeError("the power went")

    async with world.helper_up():
        await world.approved(study)
        opening = await world.opening(study)
        devices = world.lone_devices(8)
        reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(8), strict=True)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_compute", crash)
            with pytest.raises(RuntimeError):
                await world.share(study, [report.seal for report in reports])
        notice = {"report_id": reports[0].report_id.hex(), "token": devices[0].token.hex()}
        assert (await world.helper.post("/v1/withdrawals", json=notice)).status_code == 202
        assert (await world.share(study, [report.seal for report in reports])).content == computed[0]


@in_world()
async def test_batches_that_are_small_repeated_or_out_of_order_are_refused_without_a_charge(world):
    """Nothing is marked or charged for a batch that is refused before the first seal is opened."""
    study = world.study()
    async with world.helper_up() as app:
        seals = await sealed(world, study)
        assert code(await world.share(study, seals[:4])) == "cohort-too-small"
        assert code(await world.share(study, [*seals, seals[0]])) == "batch-invalid"
        ordered = sorted(seals, key=lambda seal: shares.hashlib.sha256(seal).digest())
        assert code(await world.share(study, ordered[::-1], ordered=False)) == "batch-invalid"
        assert code(await world.share(study, seals, number=2)) == "unknown-round"
        assert app.state.office.budget.state.length == 0
        assert (await world.share(study, seals)).status_code == 200


@in_world()
async def test_a_cohort_that_shrinks_below_the_minimum_is_never_answered(world):
    """Forged seals cannot fill up a cohort of few real ones: the round is spent and silent."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
        forged = [bytes([index]) * len(seals[0]) for index in range(4)]
        batch = [*seals[:4], *forged]
        assert code(await world.share(study, batch)) == "cohort-too-small"
        assert code(await world.share(study, batch)) == "cohort-too-small"
        assert code(await world.share(study, seals)) == "already-answered"


@in_world()
async def test_a_batch_under_a_policy_that_has_changed_is_refused(world):
    """People agreed to the purposes' texts: a round that was opened under older ones is not answered."""
    study = world.study()
    async with world.helper_up() as app:
        seals = await sealed(world, study)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decisions, "registry_hash", lambda: bytes(32))
            assert code(await world.share(study, seals)) == "stale"
        assert app.state.office.budget.state.length == 0
        assert (await world.share(study, seals)).status_code == 200


@in_world()
async def test_a_leader_cannot_propose_what_costs_more_than_it_says(world):
    """The helper prices a plan itself, and knows which purposes let anything leave."""
    async with world.helper_up():
        dear = world.study("dear", rounds=500)
        assert code(await world.as_leader("/v1/proposals", dear.canonical())) == "invalid-study"
        at_home = world.study("at-home", purpose="personalisation")
        assert code(await world.as_leader("/v1/proposals", at_home.canonical())) == "invalid-study"
        disguised = world.study("disguised", purpose="persona")
        assert code(await world.as_leader("/v1/proposals", disguised.canonical())) == "invalid-study"


def test_what_a_share_is_computed_from_is_not_shown():
    """A traceback or a log that quotes it holds no noise secret and no withdrawal token."""
    shown = repr(shares.Marked(1, None, None, b"", None, b"secret noise", 0, {b"id": [b"secret token"]}))
    assert "secret" not in shown


@in_world()
async def test_the_same_opening_for_the_same_model_and_none_for_another(world):
    """A leader cannot open one round for two models; asking again is safe."""
    study = world.study()
    async with world.helper_up():
        await world.approved(study)
        first = await world.open_round(study)
        assert (await world.open_round(study)).content == first.content
        assert code(await world.open_round(study, model=b"\0\0\0\0")) == "wrong-state"
        assert code(await world.open_round(study, number=2)) == "unknown-round"
        assert code(await world.open_round(study, window_seconds=1.0)) == "wrong-state"


@in_world(helper_options={"budget_epsilon": 0.5})
async def test_a_helper_that_cannot_pay_does_not_open(world):
    """The privacy office's own ledger is a limit of its own."""
    async with world.helper_up():
        study = world.study()
        await world.approved(study)
        assert code(await world.open_round(study)) == "budget-exhausted"


@in_world()
async def test_only_the_leaders_fresh_signature_is_heard(world):
    """Unsigned, wrongly signed and replayed requests change nothing."""
    async with world.helper_up():
        study = world.study()
        unsigned = await world.helper.post("/v1/proposals", content=study.canonical())
        assert code(unsigned) == "bad-signature"
        signed = await world.as_leader("/v1/proposals", study.canonical())
        replay = await world.helper.post(
            "/v1/proposals", content=signed.request.content, headers=dict(signed.request.headers)
        )
        assert code(replay) == "replayed"
        moved = await world.helper.post(
            "/v1/rounds", content=signed.request.content, headers=dict(signed.request.headers)
        )
        assert code(moved) == "bad-signature"
        world.leader_key = world.officer
        assert code(await world.as_leader("/v1/proposals", study.canonical())) == "bad-signature"


@in_world(helper_options={"body_limit_bytes": 4_096, "batch_limit_bytes": 4_096})
async def test_malformed_and_oversized_bodies_have_their_problems(world):
    """The helper reads neither what is too large nor what does not parse; a study whose batch would be is not taken."""
    async with world.helper_up():
        large = world.study("large", plan={"minimum_cohort": 2, "maximum_cohort": 4})
        assert code(await world.as_leader("/v1/proposals", large.canonical())) == "invalid-study"
        study = world.study(plan={"minimum_cohort": 2, "maximum_cohort": 3})
        path = f"/v1/rounds/{study.study_hash().hex()}/1/share"
        assert code(await world.as_leader(path, bytes(5_000), SEALS_MEDIA_TYPE)) == "too-large"
        assert code(await world.as_leader(path, encode_seals([]), "text/plain")) == "unsupported-media-type"
        assert code(await world.as_leader("/v1/proposals", b"{}")) == "malformed"
        await world.approved(study)
        await world.opening(study)
        assert code(await world.as_leader(path, b"HSS\x01\0\0\0\2", SEALS_MEDIA_TYPE)) == "malformed"


@in_world()
async def test_the_console_shows_what_is_asked_and_what_it_costs(world):
    """The officer sees the study's cost before deciding, and the page runs no script."""
    async with world.helper_up():
        study = world.study(title="<script>moves</script>")
        await world.as_leader("/v1/proposals", study.canonical())
        page = await world.helper.get("/")
        assert "ε 4.355 at δ 1e-06" in page.text
        assert "&lt;script&gt;moves" in page.text
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await world.helper.get("/static/console.css")).status_code == 200
        listed = (await world.helper.get("/v1/proposals")).json()
        assert listed[0]["study"] == json.loads(study.canonical())


@in_world()
async def test_a_crash_around_a_charge_is_no_loss(world):
    """Between the mirror's two writes either head is the right one."""
    study = world.study()
    async with world.helper_up() as app:
        seals = await sealed(world, study)
        mirror = app.state.office.store.ledger.mirror
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mirror, "settle", lambda _: None)
            first = await world.share(study, seals)
    async with world.helper_up() as app:
        assert (await world.share(study, seals)).content == first.content
        assert app.state.office.budget.state.length == 1
        assert app.state.office.budget.spent_epsilon() < 8.0


@in_world()
async def test_the_round_key_is_gone_from_the_disk_after_the_answer(world):
    """Whoever copies the store has, at no time, the round's key or the noise's secret; after the answer no file has."""
    study, compute, seen = world.study(), shares._compute, []
    world.helper_secret = b"the noise secret of the helper!!"

    def look(*arguments):
        seen.append((world.files(), world.wrapping()))
        return compute(*arguments)

    async with world.helper_up():
        seals = await sealed(world, study)
        key = await world.round_key(study)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_compute", look)
            assert (await world.share(study, seals)).status_code == 200
        seen.append((world.files(), world.wrapping()))
    (marked, wrapping), (answered, left) = seen
    assert (len(wrapping), left) == (1, [])
    for files in (marked, answered):
        assert key not in files
        assert world.helper_secret not in files
    assert wrapping[0] not in answered


async def _power_cut(*_: object) -> int:
    raise InterruptedError("while the loss was being recorded")


@in_world()
async def test_a_restored_helper_answers_no_second_batch(world):
    """Back-ups bring back keys and an unmarked round; the ledger's mirror shows it, and neither is used again."""
    wall, study = world.turnable(), world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
    backup = world.back_up()
    async with world.helper_up():
        assert (await world.share(study, seals)).status_code == 200
    world.restore(backup)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HelperStore, "expire_rounds", _power_cut)
        with pytest.raises(InterruptedError):
            async with world.helper_up():
                pass
    async with world.helper_up() as app:
        assert code(await world.share(study, seals[1:])) == "stale"
        wall.seconds += 61
        other = world.study("other")
        await world.approved(other)
        assert code(await world.open_round(other)) == "budget-exhausted"
        assert app.state.office.budget.spent_epsilon() == pytest.approx(8.0)
    async with world.helper_up() as app:
        assert app.state.office.budget.state.length == 1, "the loss is recorded once"
