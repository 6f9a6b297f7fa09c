"""A helper whose store was restored from a back-up: nothing that was taken away since comes back."""

import os

import pytest

from aggregator.storage.helper import HelperStore
from aggregator.storage.mirror import MIRROR_FILE
from aggregator.storage.standing import STANDING_FILE
from models.wire.rounds import OPENING_TYPE, Opening
from privacy.crypto import verify_document

from .world import World, code, in_world, sealed, vectors


async def _power_cut(*_: object) -> int:
    raise InterruptedError("while the loss was being recorded")


@in_world()
async def test_a_stop_outlives_a_restored_back_up(world):
    """The ledger is the present one, and still: the round is over, and the study asks for a new signature."""
    wall, study = world.turnable(), world.study()
    approval = world.decision(study)
    async with world.helper_up():
        await world.as_leader("/v1/proposals", study.canonical())
        before = world.back_up()
        assert (await world.helper.post("/v1/decisions", json={"jws": approval})).status_code == 201
        seals = await _seals(world, study)
    backup = world.back_up()
    wall.seconds += 10
    async with world.helper_up():
        assert (await world.decide(study, "stop")).status_code == 201
    for store in (backup, before):
        world.restore(store)
        async with world.helper_up() as app:
            assert code(await world.share(study, seals)) in {"stale", "unknown-round"}
            await world.helper.post("/v1/decisions", json={"jws": approval})  # whoever kept it posts it again
            assert code(await world.open_round(study, model=b"another model")) == "not-approved"
            assert not app.state.office.budget.lost
            assert [row["state"] for row in (await world.helper.get("/v1/proposals")).json()] == ["proposed"]
        assert not list((world.folder / "helper" / "wrapping").iterdir())
    async with world.helper_up():
        assert code(await world.decide(study)) == "stale", "signed in the very minute of the restored start"
        wall.seconds += 61
        assert (await world.decide(study)).status_code == 201
        assert (await world.open_round(study, number=1, model=b"another model")).status_code == 200


async def _seals(world: World, study, count: int = 8) -> list[bytes]:
    opening = await world.opening(study)
    return [
        world.report(device, study, opening, vector).seal
        for device, vector in zip(world.lone_devices(count), vectors(count), strict=True)
    ]


@in_world()
async def test_a_withdrawal_notice_outlives_a_restored_back_up(world):
    """A store from before the notice answers nothing: it no longer knows whose report to leave out."""
    study = world.study()
    async with world.helper_up():
        await world.approved(study)
        opening = await world.opening(study)
        devices = world.lone_devices(8)
        reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(8), strict=True)]
    backup = world.back_up()
    async with world.helper_up():
        assert (await world.take_back(study, reports[0], devices[0].token)).json()["status"] == "kept"
    world.restore(backup)
    async with world.helper_up() as app:
        assert code(await world.share(study, [report.seal for report in reports])) == "stale"
        assert app.state.office.budget.state.length == 0


@in_world()
async def test_a_round_is_not_opened_twice_by_a_restored_back_up(world):
    """Devices hold a signed opening of round 1; a store that lost it signs no other one."""
    study = world.study()
    async with world.helper_up():
        await world.approved(study)
    backup = world.back_up()
    async with world.helper_up():
        response = await world.open_round(study)
        first = Opening.model_validate(
            verify_document(response.json()["opening"], OPENING_TYPE, (world.helper_key.verify_key,))
        )
        assert first.round == 1
    world.restore(backup)
    async with world.helper_up():
        assert code(await world.open_round(study, model=os.urandom(4))) == "not-approved"


@in_world()
async def test_a_crash_while_a_restored_store_is_recognised_does_not_whitewash_it(world):
    """Until the consequences are durable the file beside the key goes on naming the store that was lost."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
    backup = world.back_up()
    async with world.helper_up():
        await world.decide(study, "stop")
    world.restore(backup)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HelperStore, "withdraw_approvals", _power_cut)
        with pytest.raises(InterruptedError):
            async with world.helper_up():
                pass
    async with world.helper_up():
        assert code(await world.share(study, seals)) == "stale"
        assert code(await world.open_round(study, number=1, model=b"m")) == "not-approved"


@in_world()
async def test_a_crash_around_a_decision_is_no_loss(world):
    """Between the mirror's two writes either head is the right one: nothing expires, nobody signs again."""
    study = world.study()
    async with world.helper_up() as app:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app.state.office.standing._mirror, "settle", lambda _: None)
            seals = await sealed(world, study)
    async with world.helper_up():
        assert (await world.share(study, seals)).status_code == 200


@in_world()
async def test_a_crash_after_a_commit_leaves_no_older_head_to_pass_with(world):
    """The next start settles what the crash left: then neither the ledger nor the notices can be had from before it."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
    before_share = world.back_up()
    async with world.helper_up() as app:
        _crash_after_commits(app.state.office.store.ledger.mirror)
        assert (await world.share(study, seals)).status_code == 200
    assert len(_heads(world, "helper", MIRROR_FILE)) == 2, "died between the commit and the file's second write"
    before_stop = world.back_up()
    async with world.helper_up() as app:
        assert not app.state.office.budget.lost
        assert len(_heads(world, "helper", MIRROR_FILE)) == 1
        _crash_after_commits(app.state.office.standing._mirror)
        assert (await world.decide(study, "stop")).status_code == 201
    assert len(_heads(world, "helper", STANDING_FILE)) == 2
    async with world.helper_up():
        assert len(_heads(world, "helper", STANDING_FILE)) == 1
        assert [row["state"] for row in (await world.helper.get("/v1/proposals")).json()] == ["stopped"]
    world.restore(before_stop)
    async with world.helper_up() as app:
        assert not app.state.office.budget.lost
        assert [row["state"] for row in (await world.helper.get("/v1/proposals")).json()] == ["proposed"]
    world.restore(before_share)
    async with world.helper_up() as app:
        assert app.state.office.budget.lost


@in_world()
async def test_a_leaders_crash_after_a_charge_is_settled_by_its_next_start(world):
    """So a back-up from before that charge shows that a charge is missing."""
    store = world.folder / "leader" / "store.sqlite3"
    async with world.helper_up():
        async with world.leader_up():
            pass
        backup = store.read_bytes()
        async with world.leader_up() as app:
            _crash_after_commits(app.state.desk.store.ledger.mirror)
            devices, study = await world.devices(5), world.study()
            await world.run(study)
            _, opening = await world.work()
            pairs = zip(devices, vectors(5), strict=True)
            await world.send(*[(d, world.report(d, study, opening, v)) for d, v in pairs])
            assert (await world.until(study, "finished", "failed"))["state"] == "finished"
        assert len(_heads(world, "leader", MIRROR_FILE)) == 2
        async with world.leader_up() as app:
            assert not app.state.desk.budget.lost
        assert len(_heads(world, "leader", MIRROR_FILE)) == 1
        for rest in store.parent.glob("store.sqlite3-*"):
            rest.unlink()
        store.write_bytes(backup)
        async with world.leader_up() as app:
            assert app.state.desk.budget.lost


def _crash_after_commits(mirror) -> None:
    """What a death between a commit and the mirror's second write leaves."""
    mirror.settle = lambda _: None


def _heads(world: World, service: str, name: str) -> list[str]:
    return (world.folder / service / name).read_text().split()


@in_world()
async def test_an_approval_from_the_future_is_not_taken(world):
    """It would outlive a stop and a restored back-up: approvals are told apart by when they were signed."""
    wall = world.turnable()
    async with world.helper_up():
        study = world.study()
        await world.as_leader("/v1/proposals", study.canonical())
        wall.seconds += 120
        early = world.decision(study)
        wall.seconds -= 120
        assert code(await world.helper.post("/v1/decisions", json={"jws": early})) == "stale"
        wall.seconds += 61
        assert (await world.helper.post("/v1/decisions", json={"jws": early})).status_code == 201
