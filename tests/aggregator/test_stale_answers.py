"""How late a round may still be released: devices count a charge from the round's opening, not from its release."""

import asyncio

import numpy as np
import pytest
from sqlalchemy import text

from aggregator.leader import closed_rounds
from models.wire.limits import RELEASE_SECONDS

from .world import in_world, vectors


async def answered_and_left(world, devices, study):
    """A round whose helper has answered, and a leader that stopped before the release."""
    reached = asyncio.Event()

    async def never(*_):
        reached.set()
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed_rounds, "release", never)
        async with world.leader_up():
            devices += await world.devices(5)
            await world.run(study)
            _, opening = await world.work()
            pairs = zip(devices, vectors(5), strict=True)
            await world.send(*[(d, world.report(d, study, opening, v)) for d, v in pairs])
            await asyncio.wait_for(reached.wait(), 60)


@in_world()
async def test_an_answer_that_is_too_old_is_not_released_any_more(world):
    """The round is abandoned with the reason, its reports are deleted, and the charge stays."""
    clock, devices = world.turnable(), []
    study = world.study()
    async with world.helper_up():
        await answered_and_left(world, devices, study)
        clock.seconds += RELEASE_SECONDS + 60
        async with world.leader_up():
            account = await world.until(study, "failed")
            (found,) = account["rounds"]
            assert found["state"] == "abandoned"
            assert "expected a release within 11 hours of the helper's answer" in found["detail"]
            assert len(account["charges"]) == 1
            async with world.leader_app.state.desk.database.reading() as connection:
                left = (await connection.execute(text("SELECT count(*) FROM reports"))).scalar_one()
                kept = (await connection.execute(text("SELECT answer, total, wrapped_noise FROM rounds"))).one()
            assert (left, tuple(kept)) == (0, (None, None, None))


@in_world()
async def test_an_answer_of_some_hours_ago_is_released(world):
    """A leader that was away for most of that time releases what it had been answered."""
    clock, devices = world.turnable(), []
    study = world.study()
    async with world.helper_up():
        await answered_and_left(world, devices, study)
        clock.seconds += RELEASE_SECONDS - 3_600
        async with world.leader_up():
            await world.until(study, "finished")
            results = (await world.leader.get(f"/v1/studies/{study.study_id}/results")).json()
            assert np.any(results["rounds"][0]["values"])
