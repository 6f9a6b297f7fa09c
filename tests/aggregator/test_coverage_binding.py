"""Which coverage stands beside a result: release times and approved studies decide, and nothing that is unreleased."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.leader.coverage import CoverageAbsent, CoverageRelease, Figures, beside, latest
from models.queries.coverage import Tally
from models.wire.rounds import OPENING_TYPE, Opening, Work
from models.wire.studies import Study
from privacy.crypto import verify_document

from .test_coverage import RICH, answers, coverage_study, personas_study, released, results
from .world import World, in_world

TALLY = Tally(np.array([100.0, 100.0]), np.array([[50.0, 50.0], [90.0, 90.0]]), 4.0, 4.0, 1.0)
RESULT_MS = 1_000


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """For its studies alone; no service runs."""
    return World(tmp_path_factory.mktemp("world"))


def release(study: Study, rounds: tuple[int, ...], at_ms: int) -> CoverageRelease:
    """What a coverage study had released at a time."""
    return CoverageRelease(study, rounds, at_ms, lambda: Figures(1.0, TALLY))


def shown(releases: list[CoverageRelease], result: Study) -> tuple:
    """What stands beside a result, in short."""
    found = beside(sorted(releases, key=lambda item: item.released_at_ms), result, RESULT_MS)
    if isinstance(found, CoverageAbsent):
        return ("absent", found.reason)
    return found.study_id, found.rounds, found.planned_rounds, found.timing


def test_a_study_under_way_replaces_no_whole_one_and_its_end_changes_nothing(world):
    """A is whole, B has released the first of three rounds: A stands, and B has no end that could be read here."""
    first, second = coverage_study(world, "first"), coverage_study(world, "second", rounds=3)
    early = [release(first, (1,), 100), release(second, (1,), 500)]
    result = personas_study(world)
    assert shown(early, result) == ("first", (1,), 1, "before the result")
    later = [release(second, (1, 2), 1_500), release(second, (1, 2, 3), 1_600)]
    assert shown(early + later, result) == shown(early, result)
    assert shown([*later, release(first, (1,), 2_000)], result) == ("second", (1, 2, 3), 3, "after the result")


def test_part_of_a_study_stands_where_no_whole_one_does(world):
    """As far as it was released before the result, and so for ever; after the result only a whole one will do."""
    study, result = coverage_study(world, "second", rounds=3), personas_study(world)
    parts = [release(study, (1,), 500), release(study, (1, 2), 600)]
    assert shown(parts, result) == ("second", (1, 2), 3, "before the result")
    assert shown([*parts, release(study, (1, 2, 3), 1_500)], result) == shown(parts, result)
    late = [release(study, (1,), 1_200)]
    assert shown(late, result)[0] == "absent"
    assert "none since to its last round" in shown(late, result)[1]
    assert shown([*late, release(study, (1, 3), 1_700)], result) == ("second", (1, 3), 3, "after the result")


def test_a_release_of_the_same_millisecond_came_after(world):
    """A reader may have looked between the two; what they saw stays."""
    first, second = coverage_study(world, "first"), coverage_study(world, "second")
    old, same = release(first, (1,), 100), release(second, (1,), RESULT_MS)
    assert shown([old, same], personas_study(world)) == shown([old], personas_study(world))
    assert shown([same], personas_study(world))[-1] == "after the result"


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400), st.booleans()), max_size=12)


@given(STEPS)
def test_what_stands_beside_a_result_never_changes(world, steps):
    """Any course of any studies, rounds skipped or not: once an estimate stands there, it is the same at every look."""
    studies = [coverage_study(world, f"c{number}", rounds=number + 1) for number in range(4)]
    result, releases, at_ms, before = personas_study(world), list[CoverageRelease](), 0, None
    done: dict[int, tuple[int, ...]] = {}
    for number, pause_ms, skipped in steps:
        at_ms += pause_ms
        next_round = (done.get(number) or (0,))[-1] + 1 + skipped
        if next_round > studies[number].rounds:
            continue
        done[number] = (*done.get(number, ()), next_round)
        releases.append(release(studies[number], done[number], at_ms))
        if at_ms < RESULT_MS:
            continue
        now = shown(releases, result)
        assert before in (None, now), (before, now)
        before = now if now[0] != "absent" else None


def test_the_newest_is_whole_if_any_is(world):
    """``GET /v1/coverage``: the last whole one of each purpose, or what there is."""
    first, second = coverage_study(world, "first"), coverage_study(world, "second", rounds=3)
    parts = [release(second, (1,), 500)]
    assert {(item.study_id, item.purpose) for item in latest(parts)} == {
        ("second", purpose) for purpose in ("persona", "intent", "measurement")
    }
    assert {item.study_id for item in latest([release(first, (1,), 100), *parts])} == {"first"}


@in_world(leader_options=RICH, helper_options=RICH)
async def test_a_coverage_that_ends_without_further_releases_changes_no_older_result(world):
    """A whole, B in its second round, a result; then B is stopped: state and charges move, what is shown does not."""
    async with world.up():
        devices = await world.devices(10, ("measurement", "persona"))
        first, second = coverage_study(world, "first"), coverage_study(world, "second", rounds=3)
        vectors = answers(first, {(1, (True, True)): 10})
        await released(world, first, devices, vectors)
        await world.run(second)
        await answered(world, second, 1, devices, vectors)
        await opening_of(world, second, 2)
        own = (await results(world, second))["coverage"]
        assert (own["rounds"], own["planned_rounds"], own["timing"]) == ([1], 3, "the result itself")
        personas = personas_study(world)
        await world.run(personas)
        await answered(world, personas, 1, devices, np.zeros((10, 4)))
        await world.until(personas, "finished")
        before = (await results(world, personas))["coverage"]
        assert (before["study_id"], before["timing"]) == ("first", "before the result")
        newest = (await world.leader.get("/v1/coverage")).json()
        assert (await world.decide(second, "stop")).status_code == 201
        await world.until(second, "stopped")
        assert (await results(world, personas))["coverage"] == before
        assert (await results(world, second))["coverage"] == own
        assert (await world.leader.get("/v1/coverage")).json() == newest


@in_world(leader_options=RICH, helper_options=RICH)
async def test_a_coverage_that_goes_on_changes_no_older_result(world):
    """The first of two rounds stands beside a result, at what it had cost by then, when the second is released too."""
    async with world.up():
        devices = await world.devices(10, ("measurement", "persona"))
        study, personas = coverage_study(world, rounds=2), personas_study(world)
        vectors = answers(study, {(1, (True, True)): 10})
        await world.run(study)
        await answered(world, study, 1, devices, vectors)
        await opening_of(world, study, 2)
        await world.run(personas)
        await answered(world, personas, 1, devices, np.zeros((10, 4)))
        await world.until(personas, "finished")
        before = (await results(world, personas))["coverage"]
        assert (before["rounds"], before["planned_rounds"], before["timing"]) == ([1], 2, "before the result")
        await answered(world, study, 2, devices, vectors)
        account = await world.until(study, "finished")
        assert (await results(world, personas))["coverage"] == before
        assert before["epsilon"] < account["epsilon_spent"]
        (newest, *_) = (await world.leader.get("/v1/coverage")).json()
        assert (newest["rounds"], newest["epsilon"]) == ([1, 2], account["epsilon_spent"])


async def answered(world: World, study: Study, number: int, devices, vectors) -> None:
    """Every device answers one round."""
    opening = await opening_of(world, study, number)
    reports = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors, strict=True)]
    assert set(await world.send(*reports)) == {"accepted"}


async def opening_of(world: World, study: Study, number: int = 1) -> Opening:
    """The opening of a study's round, beside rounds of others."""
    keys = (world.helper_key.verify_key,)
    for _ in range(1_000):
        work = Work.model_validate_json((await world.leader.get("/v1/work")).content)
        for item in work.rounds:
            opening = Opening.model_validate(verify_document(item.opening, OPENING_TYPE, keys))
            if (opening.study_hash, opening.round) == (study.study_hash().hex(), number):
                return opening
        await asyncio.sleep(0.01)
    raise AssertionError("the round did not open")
