"""Both services through days on which a clock, the helper or the leader is not what it should be."""

import asyncio
import contextlib
import time

import httpx

from aggregator.clock import Clock
from models.wire.enrolment import make_enrolment
from models.wire.problems import PROBLEM_MEDIA_TYPE
from privacy.crypto import SigningKey

from .world import Turnable, World, vectors

DAY, YEAR = 86_400.0, 365 * 86_400.0


def turnable_world(folder, **options) -> tuple[World, Turnable]:
    wall = Turnable()
    return World(folder, clock=Clock(wall=wall), **options), wall


async def full_round(world: World, devices, name: str) -> dict:
    """A study of one round, with everybody's report, to its end."""
    study = world.study(name)
    await world.run(study)
    _, opening = await world.work()
    await send_all(world, devices, study, opening)
    return await world.until(study, "finished", "failed")


async def send_all(world: World, devices, study, opening) -> None:
    items = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(len(devices)), strict=True)]
    assert await world.send(*items) == ["accepted"] * len(devices)


async def page(world: World) -> dict[str, float]:
    """The leader's unlabelled series and labelled ones, by their text."""
    lines = (await world.leader.get("/metrics")).text.splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


async def round_in(world: World, study, state: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rounds = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()["rounds"]
        if rounds and rounds[0]["state"] == state:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"expected {state}, got {rounds}")


def test_a_clock_that_jumps_a_year_ahead_and_back_mints_no_budget_and_recovers(tmp_path):
    """Ahead: an open round ends, what was just signed is stale, tokens have expired; back: all works, spend stays."""
    world, wall = turnable_world(tmp_path)

    async def story():
        async with world.up():
            devices = await world.devices(6)
            assert (await full_round(world, devices, "before"))["state"] == "finished"
            desk, office = world.leader_app.state.desk, world.helper_app.state.office
            spent = desk.budget.spent_epsilon(), office.budget.spent_epsilon()
            study = world.study("during")
            await world.run(study)
            await world.work()
            token, key, leader = await world.token("enrol"), SigningKey.generate(), world.leader_key.verify_key
            honest_ms = world.clock.now_ms()

            wall.seconds += YEAR
            account = await world.until(study, "failed", "finished")
            assert account["rounds"][0]["state"] == "abandoned"
            enrolment = make_enrolment(key, leader, token, bytes(16), honest_ms).document()
            refused = (await world.leader.post("/v1/enrolments", json={"enrolments": [enrolment]})).json()["results"][0]
            assert refused["problem"]["type"].endswith("stale")
            enrolment = make_enrolment(key, leader, token, bytes(16), world.clock.now_ms()).document()
            refused = (await world.leader.post("/v1/enrolments", json={"enrolments": [enrolment]})).json()["results"][0]
            assert refused["problem"]["type"].endswith("unauthenticated")
            assert (desk.budget.spent_epsilon(), office.budget.spent_epsilon()) == spent

            wall.seconds -= YEAR
            assert (await full_round(world, devices, "after"))["state"] == "finished"
            assert desk.budget.spent_epsilon() > spent[0]

    asyncio.run(story())


def test_a_clock_that_jumps_a_day_back_refuses_what_is_ahead_and_loses_no_report(tmp_path):
    """What was signed before is ahead of its time and refused; with the time set right, the open round goes on."""
    world, wall = turnable_world(tmp_path)

    async def story():
        async with world.up():
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            token, key, leader = await world.token("enrol"), SigningKey.generate(), world.leader_key.verify_key
            enrolment = make_enrolment(key, leader, token, bytes(16), world.clock.now_ms()).document()

            wall.seconds -= DAY
            refused = (await world.leader.post("/v1/enrolments", json={"enrolments": [enrolment]})).json()["results"][0]
            assert refused["problem"]["type"].endswith("stale")
            spent = world.helper_app.state.office.budget.spent_epsilon()
            assert spent == 0

            wall.seconds += DAY
            await send_all(world, devices, study, opening)
            account = await world.until(study, "finished", "failed")
            assert (account["state"], account["rounds"][0]["opened"]) == ("finished", 6)

    asyncio.run(story())


def test_a_helper_that_is_down_for_an_hour_is_waited_for_and_for_a_day_ends_the_round_clearly(tmp_path, monkeypatch):
    """An hour: the round stays charged, metrics say so, it is released. A day: its key is gone, the next study runs."""
    monkeypatch.setattr("aggregator.condition._STATE_SECONDS", 0.0)  # each page anew: the test's days are short
    world, wall = turnable_world(tmp_path)

    async def wait_out(name: str, devices, seconds: float) -> dict:
        study = world.study(name, expires_at_ms=world.clock.now_ms() + int(3 * DAY * 1_000))
        await world.run(study)
        _, opening = await world.work()
        world.line.cut = True
        await send_all(world, devices, study, opening)
        await round_in(world, study, "charged")
        wall.seconds += seconds
        await asyncio.sleep(0.3)
        await round_in(world, study, "charged", 0.5)
        assert (await world.leader.get("/v1/work")).json()["rounds"] == []
        seen = await page(world)
        assert seen['hearthside_helper_failures_total{worker="0"}'] > 0
        assert seen['hearthside_oldest_round_seconds{state="charged"}'] > seconds / 2
        assert (await world.leader.get("/ready")).is_success
        world.line.cut = False
        return await world.until(study, "finished", "failed")

    async def story():
        async with world.up():
            devices = await world.devices(6)
            account = await wait_out("an-hour", devices, 3_000.0)
            assert (account["state"], account["rounds"][0]["opened"]) == ("finished", 6)
            spent = world.leader_app.state.desk.budget.spent_epsilon()
            account = await wait_out("a-day", devices, DAY)
            assert (account["state"], account["rounds"][0]["state"]) == ("failed", "abandoned")
            assert "helper" in account["rounds"][0]["detail"]
            assert world.leader_app.state.desk.budget.spent_epsilon() > spent
            assert (await full_round(world, devices, "the-next"))["state"] == "finished"

    asyncio.run(story())


class Garbled(httpx.AsyncBaseTransport):
    """A line whose far end answers whatever a test says, once for each."""

    def __init__(self, inner: httpx.AsyncBaseTransport, answers: list[httpx.Response | float]) -> None:
        self.inner, self.answers = inner, answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/share") and self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, httpx.Response):
                return answer
            await asyncio.sleep(answer)
            raise httpx.ReadTimeout("nothing came")
        return await self.inner.handle_async_request(request)


def test_a_helper_that_answers_like_something_else_is_taken_for_one_that_does_not(tmp_path):
    """A proxy's page, a broken problem and a timeout before the real answer: the round waits and is released."""
    world = World(tmp_path)

    async def story():
        async with world.up():
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            garbled = Garbled(
                world.line.inner,
                [
                    httpx.Response(502, text="<html>Bad gateway</html>"),
                    httpx.Response(503, content=b"{", headers={"content-type": PROBLEM_MEDIA_TYPE}),
                    0.2,
                ],
            )
            world.line.inner = garbled
            await send_all(world, devices, study, opening)
            account = await world.until(study, "finished", "failed")
            assert (account["state"], account["rounds"][0]["opened"]) == ("finished", 6)
            assert garbled.answers == []
            calls = {name: value for name, value in (await page(world)).items() if 'call="share"' in name}
            assert calls['hearthside_helper_calls_total{call="share",outcome="502",worker="0"}'] == 1
            assert calls['hearthside_helper_calls_total{call="share",outcome="unanswered",worker="0"}'] == 1

    asyncio.run(story())


def test_a_helpers_nonsense_with_status_200_releases_nothing(tmp_path):
    """Bytes that are no signed share end the study with a reason; no total is published and the charge stays."""
    world = World(tmp_path)

    async def story():
        async with world.up():
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            world.line.inner = Garbled(world.line.inner, [httpx.Response(200, content=b'{"share": "AAAA"}')])
            await send_all(world, devices, study, opening)
            account = await world.until(study, "finished", "failed")
            assert account["state"] == "failed"
            assert account["rounds"][0]["state"] == "abandoned"
            assert world.leader_app.state.desk.budget.spent_epsilon() > 0

    asyncio.run(story())


def test_a_leader_that_was_down_takes_up_its_round_and_counts_each_report_once(tmp_path):
    """Half of the reports, a leader that is away, then all of them again: each is accepted, six are opened."""
    world = World(tmp_path)

    async def story():
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(world.helper_up())
            async with world.leader_up():
                devices = await world.devices(6)
                study = world.study()
                await world.run(study)
                _, opening = await world.work()
                reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(6), strict=True)]
                items = list(zip(devices, reports, strict=True))
                assert await world.send(*items[:3]) == ["accepted"] * 3
            async with world.leader_up():
                await world.work()
                assert await world.send(*items) == ["accepted"] * 6
                account = await world.until(study, "finished", "failed")
                assert account["rounds"][0]["opened"] == 6

    asyncio.run(story())
