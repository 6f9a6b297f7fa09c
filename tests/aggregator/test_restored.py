"""A helper whose store was restored from a back-up: nothing that was taken away since comes back."""

import os

import pytest

from aggregator.clock import Clock
from aggregator.storage.helper import HelperStore
from models.wire.rounds import OPENING_TYPE, Opening
from privacy.crypto import verify_document

from .world import Turnable, World, code, in_world, sealed, vectors


def _files(world: World) -> dict:
    """A back-up of the store with the wrapping keys that were there: more than a back-up should have."""
    folder = world.folder / "helper"
    return {path: path.read_bytes() for name in ("store.sqlite3*", "wrapping/*") for path in folder.glob(name)}


def _restore(world: World, backup: dict) -> None:
    for path in _files(world):
        path.unlink()
    for path, content in backup.items():
        path.write_bytes(content)


def _turnable(world: World) -> Turnable:
    wall = Turnable()
    world.clock = Clock(wall=wall)
    return wall


async def _power_cut(*_: object) -> int:
    raise InterruptedError("while the loss was being recorded")


@in_world()
async def test_a_restored_helper_answers_no_second_batch(world):
    """Back-ups bring back keys and an unmarked round; the ledger's mirror shows it, and neither is used again."""
    wall, study = _turnable(world), world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
    backup = _files(world)
    async with world.helper_up():
        assert (await world.share(study, seals)).status_code == 200
    _restore(world, backup)
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


@in_world()
async def test_a_stop_outlives_a_restored_back_up(world):
    """The ledger is the present one, and still: the round is over, and the study asks for a new signature."""
    wall, study = _turnable(world), world.study()
    approval = world.decision(study)
    async with world.helper_up():
        await world.as_leader("/v1/proposals", study.canonical())
        before = _files(world)
        assert (await world.helper.post("/v1/decisions", json={"jws": approval})).status_code == 201
        seals = await _seals(world, study)
    backup = _files(world)
    wall.seconds += 10
    async with world.helper_up():
        assert (await world.decide(study, "stop")).status_code == 201
    for store in (backup, before):
        _restore(world, store)
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
    backup = _files(world)
    async with world.helper_up():
        assert (await world.take_back(study, reports[0], devices[0].token)).json() == {"status": "kept"}
    _restore(world, backup)
    async with world.helper_up() as app:
        assert code(await world.share(study, [report.seal for report in reports])) == "stale"
        assert app.state.office.budget.state.length == 0


@in_world()
async def test_a_round_is_not_opened_twice_by_a_restored_back_up(world):
    """Devices hold a signed opening of round 1; a store that lost it signs no other one."""
    study = world.study()
    async with world.helper_up():
        await world.approved(study)
    backup = _files(world)
    async with world.helper_up():
        response = await world.open_round(study)
        first = Opening.model_validate(
            verify_document(response.json()["opening"], OPENING_TYPE, (world.helper_key.verify_key,))
        )
        assert first.round == 1
    _restore(world, backup)
    async with world.helper_up():
        assert code(await world.open_round(study, model=os.urandom(4))) == "not-approved"


@in_world()
async def test_a_crash_while_a_restored_store_is_recognised_does_not_whitewash_it(world):
    """Until the consequences are durable the file beside the key goes on naming the store that was lost."""
    study = world.study()
    async with world.helper_up():
        seals = await sealed(world, study)
    backup = _files(world)
    async with world.helper_up():
        await world.decide(study, "stop")
    _restore(world, backup)
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
async def test_an_approval_from_the_future_is_not_taken(world):
    """It would outlive a stop and a restored back-up: approvals are told apart by when they were signed."""
    wall = _turnable(world)
    async with world.helper_up():
        study = world.study()
        await world.as_leader("/v1/proposals", study.canonical())
        wall.seconds += 120
        early = world.decision(study)
        wall.seconds -= 120
        assert code(await world.helper.post("/v1/decisions", json={"jws": early})) == "stale"
        wall.seconds += 61
        assert (await world.helper.post("/v1/decisions", json={"jws": early})).status_code == 201
