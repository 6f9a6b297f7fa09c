"""Coverage end to end: devices count themselves, both servers add noise, every result says which share granted it."""

import numpy as np
import pytest

from models.queries import coverage
from models.queries.answers import coverage_question
from models.wire.studies import Study
from privacy.accounting import Row

from .world import World, code, in_world

PURPOSES = ("persona", "intent")
LIGHT_REFUSE = {(1, (True, True)): 5, (1, (False, True)): 35, (9, (True, True)): 39, (9, (True, False)): 1}
"""Devices by visits and grants: of 40 light users 5 grant persona, of 40 heavy users all do."""
PEOPLE = sum(LIGHT_REFUSE.values())
RICH = {"budget_epsilon": 30.0}
"""A budget for so little noise that truth and estimate can be held against each other with 80 devices."""


def coverage_study(world: World, name: str = "coverage", **changes) -> Study:
    """Two bands, two purposes, hardly any noise."""
    question = coverage.CoverageQuestion((3,), 2)
    return world.study(
        name,
        query={"question": "coverage", "purposes": list(PURPOSES), "visit_edges": [3]},
        plan={"dimension": question.dimension, "clip_norm": 1.85, "noise_multiplier": 0.8, **changes.pop("plan", {})},
        epsilon_cap=30.0,
        **changes,
    )


def personas_study(world: World, name: str = "personas") -> Study:
    """Two clusters of one feature: what is small."""
    query = {
        "question": "personas",
        "clusters": 2,
        "features": {"version": "toy/1", "names": ["a"]},
        "least_count": 1.0,
    }
    return world.study(name, query=query, purpose="persona", plan={"dimension": 4, "clip_norm": 2.0}, epsilon_cap=30.0)


async def released(world: World, study: Study, devices, vectors) -> dict:
    """Run a study of one round to its end; its results."""
    await world.run(study)
    _, opening = await world.work()
    reports = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors, strict=True)]
    assert set(await world.send(*reports)) == {"accepted"}
    await world.until(study, "finished")
    return await results(world, study)


async def results(world: World, study: Study) -> dict:
    """As anybody reads them."""
    response = await world.leader.get(f"/v1/studies/{study.study_id}/results")
    assert response.status_code == 200, response.text
    return response.json()


async def charges(world: World) -> list[bytes]:
    """The leader's whole ledger."""
    desk = world.leader_app.state.desk
    async with desk.database.reading() as connection:
        rows = await desk.store.studies(connection)
        return [body for row in rows for body in await desk.store.ledger.bodies(connection, row.study_hash)]


def answers(study: Study, counts: dict[tuple[int, tuple[bool, bool]], int]) -> list[np.ndarray]:
    """Devices by (visits, grants)."""
    question = coverage_question(study.query)
    return [coverage.encode(question, *key) for key, count in counts.items() for _ in range(count)]


@in_world(leader_options=RICH, helper_options=RICH)
async def test_a_result_says_who_is_missing_from_it(world):
    """The share of each band that granted the result's purpose, with its interval, cost and source; truth is inside."""
    async with world.up():
        devices = await world.devices(PEOPLE, ("measurement", "persona"))
        study, personas = coverage_study(world), personas_study(world)
        own = await released(world, study, devices, answers(study, LIGHT_REFUSE))
        shown = (await released(world, personas, devices, np.zeros((PEOPLE, 4))))["coverage"]
        account = (await world.leader.get("/v1/studies/coverage")).json()
        assert (shown["status"], shown["purpose"], shown["figure"]) == ("estimated", "persona", "granted")
        assert (shown["study_id"], shown["rounds"], shown["timing"]) == ("coverage", [1], "before the result")
        assert (shown["epsilon"], shown["delta"]) == (account["epsilon_spent"], account["delta"])
        assert shown["epsilon"] > 0
        assert shown["released_at_ms"] == own["rounds"][0]["released_at_ms"]
        assert shown["confidence"] == 0.95
        assert [band["visits"] for band in shown["bands"]] == ["0 to 2 visits", "3 or more visits"]
        for part, truth in zip([*shown["bands"], shown["overall"]], (0.125, 1.0, 0.5625), strict=True):
            assert part["low"] <= part["share"] <= part["high"]
            assert part["low"] - 0.2 <= truth <= part["high"] + 0.2  # many deviations of the noise: never by chance
        assert shown["under_represented"] == ["0 to 2 visits"]
        assert shown["not_granted_at_most"] == pytest.approx(1 - shown["overall"]["low"])
        assert "granted the use and are not in the result all the same" in shown["unknown"]
        assert "refused measurement" in shown["unknown"]
        light, heavy = (band["weight"] for band in shown["bands"])
        assert light["weight"] > heavy["weight"]
        assert light["low"] <= light["weight"]
        assert light["high"] is None or light["weight"] <= light["high"]  # None: the noise leaves no upper end


@in_world(leader_options=RICH, helper_options=RICH)
async def test_what_is_shown_follows_from_the_release_alone_and_costs_nothing(world):
    """Recomputed from the released values to the last digit; reading it leaves the ledger as it is."""
    async with world.up():
        devices = await world.devices(PEOPLE, ("measurement",))
        study = coverage_study(world)
        await released(world, study, devices, answers(study, LIGHT_REFUSE))
        before = await charges(world)
        assert [Row.parse(body).charge.study for body in before] == ["coverage"]
        reading = [(await results(world, study), (await world.leader.get("/v1/coverage")).json()) for _ in range(3)]
        assert reading[0] == reading[1] == reading[2]
        assert await charges(world) == before
        result, newest = reading[0]
        params = study.plan.parameters()
        total = np.rint(np.array(result["rounds"][0]["values"]) * params.scale).astype(np.int64)
        tally = coverage.decode(coverage_question(study.query), total, params, sampling_rate=1.0)
        assert [item["purpose"] for item in newest] == ["persona", "intent", "measurement"]
        for index, item in enumerate(newest[:2]):
            expected = coverage.coverage_of(tally, index)
            for band, share in zip(item["bands"], expected.bands, strict=True):
                assert (band["share"], band["low"], band["high"]) == (
                    share.estimate,
                    share.interval.low,
                    share.interval.high,
                )


@in_world(leader_options=RICH, helper_options=RICH)
async def test_a_result_of_measurement_shows_the_make_up_of_those_counted(world):
    """Everybody counted granted measurement: what is shown is how much they use the site; the rest is unknown."""
    async with world.up():
        devices = await world.devices(PEOPLE, ("measurement",))
        study = coverage_study(world)
        shown = (await released(world, study, devices, answers(study, LIGHT_REFUSE)))["coverage"]
        assert (shown["figure"], shown["purpose"], shown["timing"]) == ("make-up", "measurement", "the result itself")
        assert (shown["overall"], shown["not_granted_at_most"]) == (None, None)
        assert sum(band["share"] for band in shown["bands"]) == pytest.approx(1.0)
        assert all(band["weight"] is None for band in shown["bands"])
        assert "refused measurement" in shown["unknown"]


@in_world()
async def test_without_a_coverage_study_a_result_says_so(world):
    """Never silently absent: before the result, after it, and for a purpose that no coverage asked about."""
    async with world.up():
        devices = await world.devices(6)
        study = world.study()
        await world.run(study)
        _, opening = await world.work()
        early = (await results(world, study))["coverage"]
        assert "has released nothing yet" in early["reason"]
        await world.send(*[(d, world.report(d, study, opening, np.zeros(9))) for d in devices])
        await world.until(study, "finished")
        shown = (await results(world, study))["coverage"]
        assert shown == {
            "status": "not estimated",
            "purpose": "measurement",
            "reason": "not estimated: no coverage study was released for this site",
            "unknown": early["unknown"],
        }
        assert (await world.leader.get("/v1/coverage")).json() == []


@in_world(leader_options=RICH, helper_options=RICH)
async def test_release_times_alone_bind_a_result_to_its_coverage(world):
    """The last complete one before the result, else the first after it; later ones change nothing."""
    async with world.up():
        devices = await world.devices(10, ("measurement", "persona"))
        moves, personas = world.study(epsilon_cap=30.0), personas_study(world)
        first, second = coverage_study(world, "first"), coverage_study(world, "second")
        people = answers(first, {(1, (True, True)): 10})
        await released(world, moves, devices, np.zeros((10, 9)))
        await released(world, first, devices, people)
        after = (await results(world, moves))["coverage"]
        assert (after["study_id"], after["timing"]) == ("first", "after the result")
        before = (await released(world, personas, devices, np.zeros((10, 4))))["coverage"]
        await released(world, second, devices, people)
        assert (await results(world, moves))["coverage"] == after
        assert (await results(world, personas))["coverage"] == before
        assert (before["study_id"], before["timing"]) == ("first", "before the result")
        assert {item["study_id"] for item in (await world.leader.get("/v1/coverage")).json()} == {"second"}
        last = personas_study(world, "last")
        assert (await released(world, last, devices, np.zeros((10, 4))))["coverage"]["study_id"] == "second"


@in_world(leader_options=RICH, helper_options=RICH)
async def test_a_coverage_that_did_not_ask_says_nothing_about_a_purpose(world):
    """A result of a purpose that was left out says that it was left out."""
    async with world.up():
        devices = await world.devices(6, ("measurement", "persona"))
        query = {"question": "coverage", "purposes": ["intent", "churn"], "visit_edges": [3]}
        study = Study.model_validate({**coverage_study(world).document(), "query": query})
        await released(world, study, devices, answers(study, {(1, (True, True)): 6}))
        shown = (await released(world, personas_study(world), devices, np.zeros((6, 4))))["coverage"]
        assert shown["status"] == "not estimated"
        assert "asked about this purpose" in shown["reason"]


@in_world(leader_options=RICH, helper_options=RICH)
async def test_a_coverage_study_that_cannot_be_asked_is_refused(world):
    """An undeclared purpose, one for which nothing leaves, a bound below the norm, another dimension or purpose."""
    async with world.up():
        for purposes, word in (
            (("persona", "nonsense"), "nonsense"),
            (("persona", "personalisation"), "personalisation"),
        ):
            query = {"question": "coverage", "purposes": list(purposes), "visit_edges": [3]}
            study = Study.model_validate({**coverage_study(world).document(), "query": query})
            answer = await world.propose(study)
            assert code(answer) == "invalid-study"
            assert word in answer.json()["detail"]
        for changes, word in (
            ({"plan": {"clip_norm": 1.8}}, "norm"),
            ({"plan": {"dimension": 5}}, "dimension"),
            ({"purpose": "persona"}, "purpose"),
        ):
            answer = await world.propose(coverage_study(world, **changes))
            assert code(answer) == "invalid-study"
            assert word in answer.json()["detail"]


@in_world(leader_options=RICH, helper_options=RICH)
async def test_the_privacy_office_reads_what_a_coverage_study_asks(world):
    """Plain words about bands, the uses by their names, and what nobody will know."""
    async with world.up():
        assert (await world.propose(coverage_study(world))).status_code == 201
        page = (await world.helper.get("/")).text
        assert "by its number of visits" in page
        assert "Find typical kinds of visitors" in page
        assert "refused measurement" in page
