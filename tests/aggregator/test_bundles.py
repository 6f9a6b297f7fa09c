"""What a bundle says about the studies that it was made of."""

import datetime as dt

import pytest

from privacy.accounting import LocalEvent, epsilon
from tests.bundles import establish

from .world import in_world, vectors

QUERY = {
    "question": "train",
    "features": {"version": "session/1", "names": ["a", "b"]},
    "local": {
        "noise_multiplier": 2.0,
        "clip_norm": 1.0,
        "steps": 3,
        "maximum_rows": 4,
        "denominator": 4.0,
        "learning_rate": 0.5,
    },
}


@in_world()
async def test_the_local_figure_counts_every_round_that_was_opened(world):
    """A round that was abandoned below its minimum cohort cost the leader nothing, and the devices trained in it."""
    async with world.up():
        plan = {"dimension": 3, "noise_multiplier": 4.0}
        options = {"kind": "train", "purpose": "intent", "rounds": 2, "window_seconds": 3.0, "epsilon_cap": 20.0}
        study, devices = world.study("buy", query=QUERY, plan=plan, **options), await world.devices(5, ("intent",))
        await world.run(study)
        for number, takers in ((1, devices[:3]), (2, devices)):
            _, opening = await world.work(number)
            sent = [(d, world.report(d, study, opening, v)) for d, v in zip(takers, vectors(5, 3), strict=False)]
            assert set(await world.send(*sent)) == {"accepted"}
        account = await world.until(study, "finished")
        assert [item["state"] for item in account["rounds"]] == ["abandoned", "released"]
        assert len(account["charges"]) == 1
        now = dt.datetime.now(dt.UTC)
        establish(world.leader_app.state.desk.publisher.distribution, [world.officer], now)
        operator = await world.bearer("operator")
        answer = await world.leader.post("/v1/bundles", json={"intent_study": "buy"}, headers=operator)
        assert answer.status_code == 201, answer.text
        target = await world.leader.get(f"/tuf/targets/{answer.json()['sha256']}.bundle.json")
        (provenance,) = target.json()["provenance"]
        both = epsilon([LocalEvent(2.0, 1.0, 2 * 3)], study.delta, "rdp")
        assert provenance["rounds"] == 1
        assert provenance["epsilon_local"] == pytest.approx(both)
