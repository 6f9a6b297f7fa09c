"""A whole round between leader and helper, the same on both databases."""

import asyncio

import numpy as np
import pytest

from tests.aggregator.world import World, vectors


@pytest.fixture
def world(request, fresh, tmp_path):
    """A world whose services keep their stores in one of the two databases, and the leader its reports there or not."""
    world = World(tmp_path, leader_options={"report_storage": request.param})
    world.leader_options["database_url"], world.helper_options["database_url"] = fresh("leader"), fresh("helper")
    return world


@pytest.mark.parametrize(
    ("fresh", "world"),
    [
        ("sqlite", "directory"),
        ("postgresql", "database"),
        pytest.param("sqlite", "database", marks=pytest.mark.soak),
        pytest.param("postgresql", "directory", marks=pytest.mark.soak),
    ],
    indirect=True,
)
def test_a_study_runs_from_its_proposal_to_its_release(world, tmp_path):
    """Proposed, approved, opened, reported, taken back twice, closed, shared, released, and there after a restart."""

    async def story():
        async with world.up():
            study, devices = world.study(window_seconds=1.0), await world.devices(9)
            await world.run(study)
            _, opening = await world.work()
            points = vectors(9)
            made = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, points, strict=True)]
            assert set(await world.send(*made[:8])) == {"accepted"}
            in_files = world.leader_options["report_storage"] == "directory"
            assert len(list((tmp_path / "leader").glob("reports/*/*"))) == in_files
            assert await world.send(made[0]) == ["accepted"], "the same bytes again are the same report"
            assert (await world.receipts([(devices[0], world.withdrawal(devices[0], ("measurement",)))]))[0]
            assert (await world.take_back(study, made[1][1], devices[1].token)).json()["status"] == "kept"
            account = await world.until(study, "finished", "failed")
            assert (account["state"], account["rounds"][0]["opened"]) == ("finished", 6), account["detail"]
            shown = (await world.leader.get("/v1/studies/moves/results")).json()["rounds"][0]["values"]
        async with world.up():
            again = (await world.leader.get("/v1/studies/moves/results")).json()["rounds"][0]["values"]
            assert again == shown
            assert np.isfinite(shown).all()
            assert world.wrapping("leader") == world.wrapping("helper") == []
            assert list((tmp_path / "leader").glob("reports/*")) == []
            for budget in (world.leader_app.state.desk.budget, world.helper_app.state.office.budget):
                assert (budget.state.length, budget.lost) == (1, False)

    asyncio.run(story())
