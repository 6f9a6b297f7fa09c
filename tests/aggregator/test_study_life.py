"""A study's life over the API: checked, scheduled, paused, withdrawn, each step signed and in the log."""

import asyncio

import pytest

from aggregator.schedules import due_ms, faults, jitter_ms
from models.queries.summaries import summarise
from models.wire.message import from_base64
from models.wire.states import STATE_TYPE, Schedule, StateChange
from privacy.crypto import SignatureInvalid, SigningKey, verify_document

from .world import code, in_world, vectors


async def post(world, study, action, scope="analyst", body=None):
    path = f"/v1/studies/{study.study_id}/{action}"
    return await world.leader.post(path, json=body, headers=await world.bearer(scope))


async def entries(world, kind: str) -> list[bytes]:
    found = (await world.leader.get("/v1/log/entries?count=1000")).json()["entries"]
    split = [from_base64(item).split(b"\0", 1) for item in found]
    return [body for name, body in split if name == kind.encode()]


async def steps(world) -> list[StateChange]:
    """The leader's signed steps, in the log's order; each signature is checked."""
    keys = (world.leader_key.verify_key,)
    return [
        StateChange.model_validate(verify_document(body.decode(), STATE_TYPE, keys))
        for body in await entries(world, "state")
    ]


async def released(world, study, number):
    """Wait until a round was released, whatever the study is then."""
    for _ in range(500):
        account = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()
        if any(item["round"] == number and item["released_at_ms"] for item in account["rounds"]):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not released")


async def report_all(world, study, number, devices):
    _, opening = await world.work(number)
    sent = [(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(len(devices)), strict=True)]
    assert await world.send(*sent) == ["accepted"] * len(devices)


@in_world(leader_options={"minimum_cohort": 10})
async def test_a_check_names_every_fault_at_once_and_stores_nothing(world):
    """Not the first fault but all of them, with their places; a body that is no study likewise."""
    async with world.up():
        headers = await world.bearer("analyst")
        wrong = world.study(
            title=" ",
            site="elsewhere",
            purpose="persona",
            needs=["telepathy/1"],
            epsilon_cap=0.1,
            plan={"dimension": 8, "minimum_cohort": 5, "clip_norm": 0.5},
        )
        found = (await world.leader.post("/v1/studies/check", json=wrong.document(), headers=headers)).json()
        assert not found["ok"]
        places = {item["field"] for item in found["faults"]}
        assert places == {
            "title",
            "site",
            "purpose",
            "needs",
            "epsilon_cap",
            "plan.dimension",
            "plan.minimum_cohort",
            "plan.clip_norm",
        }
        broken = {**wrong.document(), "rounds": 0, "plan": {**wrong.plan.document(), "sampling_rate": 2}, "extra": 1}
        found = (await world.leader.post("/v1/studies/check", json=broken, headers=headers)).json()
        assert {item["field"] for item in found["faults"]} == {"rounds", "plan.sampling_rate", "extra"}
        assert code(await world.leader.post("/v1/studies/check", json=wrong.document())) == "unauthenticated"
        assert (await world.leader.get("/v1/studies")).json() == []
        short = world.study()
        answer = await world.propose(short)
        assert code(answer) == "invalid-study"
        assert "at least 10" in answer.json()["detail"]


@in_world(helper_options={"minimum_cohort": 10})
async def test_the_helper_has_a_minimum_of_its_own_and_knows_what_it_can(world):
    """A leader that checks nothing gets no smaller cohort and no unknown feature past the privacy office."""
    async with world.helper_up():
        small = await world.as_leader("/v1/proposals", world.study().canonical())
        assert code(small) == "invalid-study"
        assert "at least 10" in small.json()["detail"]
        future = world.study(plan={"minimum_cohort": 10}, needs=["telepathy/1"])
        assert code(await world.as_leader("/v1/proposals", future.canonical())) == "unsupported-version"
        both = world.study(plan={"minimum_cohort": 5}, epsilon_cap=0.1)
        detail = (await world.as_leader("/v1/proposals", both.canonical())).json()["detail"]
        assert "at least 10" in detail
        assert "within epsilon 0.1" in detail


@in_world()
async def test_a_check_says_what_a_study_costs_and_asks(world):
    """The filter's figure, the sensitivity, and the same words that officer and device are shown, in two languages."""
    async with world.up():
        study, headers = world.study(), await world.bearer("analyst")
        found = (await world.leader.post("/v1/studies/check", json=study.document(), headers=headers)).json()
        assert found["ok"], found["faults"]
        assert found["study_hash"] == study.study_hash().hex()
        cost = found["cost"]
        assert 0 < cost["epsilon"] <= study.epsilon_cap
        assert (cost["sensitivity"], cost["noise_multiplier"]) == (2**16, 2.0)
        for language in ("en", "de"):
            assert found["summaries"][language] == summarise(study, language, cost["epsilon"]).document()
        await world.propose(study)
        (shown,) = (await world.helper.get("/v1/proposals")).json()
        assert shown["summaries"] == found["summaries"]
        page = (await world.helper.get("/")).text
        assert found["summaries"]["en"]["whom"].split("“")[0] in page


def test_the_words_name_what_is_asked_of_whom_what_leaves_and_what_it_costs(tmp_path):
    """Every figure of the plan that a person should know stands in the text, in both languages."""
    from .world import World

    study = World(tmp_path).study(rounds=3, plan={"sampling_rate": 0.25})
    english, german = (summarise(study, language, 1.2345).text() for language in ("en", "de"))
    for word in ("home, shop, cart", "3 rounds", "9 numbers", "0.25", "1.23", "at most 8", "fewer than 5", "on shop"):
        assert word in english, word
    for word in ("home, shop, cart", "3 Runden", "9 Zahlen", "0,25", "1,23", "höchstens 8", "weniger als 5"):
        assert word in german, word


@in_world()
async def test_a_decision_needs_a_reason(world):
    """A yes, a no or a stop that says nothing is not taken in."""
    from models.wire.studies import APPROVAL_TYPE, Decision
    from privacy.crypto import sign_document

    async with world.up():
        study = world.study()
        await world.propose(study)
        for verdict in ("approve", "refuse", "stop"):
            silent = Decision(
                study_id=study.study_id,
                study_hash=study.study_hash().hex(),
                decision=verdict,
                reason="  ",
                decided_at_ms=world.clock.now_ms(),
            )
            jws = sign_document(world.officer, APPROVAL_TYPE, silent.document())
            answer = await world.helper.post("/v1/decisions", json={"jws": jws})
            assert code(answer) == "malformed"
            assert "reason" in answer.json()["detail"]
        assert (await world.helper.get("/v1/proposals")).json()[0]["state"] == "proposed"


@in_world()
async def test_a_proposal_is_taken_back_only_before_a_decision(world):
    """Withdrawn is for good at both services; what an officer has decided stands."""
    async with world.up():
        study, other = world.study(), world.study("other")
        await world.propose(study)
        assert (await post(world, study, "withdraw")).json()["state"] == "withdrawn"
        assert (await post(world, study, "withdraw")).json()["state"] == "withdrawn"
        assert code(await world.decide(study)) == "wrong-state"
        assert code(await world.start(study)) == "not-approved"
        assert [(step.event, step.who) for step in await steps(world)] == [("withdraw", "analyst")]
        await world.propose(other)
        await world.decide(other)
        assert code(await post(world, other, "withdraw")) == "wrong-state"
        assert (await world.helper.get("/v1/proposals")).json()[0]["state"] == "approved"


@in_world()
async def test_a_pause_lets_the_open_round_end_and_holds_across_a_restart(world):
    """The open round is answered and released as usual; none follows until somebody resumes, restart or not."""
    async with world.helper_up():
        study = world.study(rounds=2)
        async with world.leader_up():
            devices = await world.devices(5)
            await world.run(study)
            await world.work(1)
            assert code(await post(world, study, "resume", "enrol")) == "forbidden"
            assert (await post(world, study, "pause", "operator")).json()["state"] == "paused"
            assert (await post(world, study, "pause")).json()["state"] == "paused"
            await report_all(world, study, 1, devices)
            await released(world, study, 1)
        async with world.leader_up():
            await asyncio.sleep(0.3)
            account = await world.until(study, "paused")
            assert [item["state"] for item in account["rounds"]] == ["released"]
            assert (await post(world, study, "resume")).json()["state"] == "running"
            await report_all(world, study, 2, devices)
            await world.until(study, "finished")
            taken = [(step.before, step.event, step.after, step.who) for step in await steps(world)]
            assert taken == [
                ("approved", "start", "running", "analyst"),
                ("running", "pause", "paused", "operator"),
                ("paused", "resume", "running", "analyst"),
                ("running", "finish", "finished", "leader"),
            ]
            assert code(await post(world, study, "pause")) == "wrong-state"


@in_world()
async def test_a_scheduled_study_starts_at_its_time_also_after_a_restart(world):
    """Before that no round opens; its rounds stand an interval apart; the start is the leader's own signed step."""
    async with world.helper_up():
        study = world.study(rounds=2, window_seconds=0.5)
        start_ms = world.clock.now_ms() + 2_500
        plan = {"starts_at_ms": start_ms, "interval_seconds": 1.0, "jitter_seconds": 0.2}
        async with world.leader_up():
            devices = await world.devices(5)
            await world.propose(study)
            assert code(await post(world, study, "schedule", body=plan)) == "not-approved"
            await world.decide(study)
            assert code(await post(world, study, "schedule", body={**plan, "starts_at_ms": 1})) == "invalid-study"
            assert (await post(world, study, "schedule", body=plan)).json()["state"] == "scheduled"
            await asyncio.sleep(0.2)
            assert (await world.until(study, "scheduled"))["rounds"] == []
        async with world.leader_up():
            for number in (1, 2):
                _, opening = await world.work(number)
                due = start_ms + (number - 1) * 1_000 + jitter_ms(Schedule(**plan), study.study_hash(), number)
                assert opening.opens_at_ms >= due
                await report_all(world, study, number, devices)
            await world.until(study, "finished")
            taken = [(step.event, step.who) for step in await steps(world)]
            assert taken == [("schedule", "analyst"), ("start", "leader"), ("finish", "leader")]


@in_world()
async def test_a_stop_reaches_a_study_that_waits(world):
    """Scheduled or paused, the officer's signed stop ends it, stands in the log, and is shown to every device."""
    async with world.up():
        paused, scheduled = world.study(rounds=2), world.study("later")
        await world.propose(scheduled)
        await world.decide(scheduled)
        plan = {"starts_at_ms": world.clock.now_ms() + 3_600_000}
        await post(world, scheduled, "schedule", body=plan)
        await world.run(paused)
        await world.work(1)
        await post(world, paused, "pause")
        for study in (paused, scheduled):
            await world.decide(study, "stop")
            await world.until(study, "stopped")
            await world.until_rounds(study, "abandoned")
        assert len((await world.leader.get("/v1/work")).json()["stopped"]) == 2
        assert len(await entries(world, "decision")) == 4
        assert code(await post(world, paused, "resume")) == "wrong-state"


@in_world()
async def test_a_paused_study_that_expires_fails(world):
    """Nobody resumes it in time: it ends with the reason, and can never run again."""
    wall = world.turnable()
    async with world.up():
        study = world.study(rounds=2, window_seconds=1.0)
        devices = await world.devices(5)
        await world.run(study)
        await world.work(1)
        await post(world, study, "pause")
        await report_all(world, study, 1, devices)
        await released(world, study, 1)
        wall.seconds += 90_000
        assert "expired" in (await world.until(study, "failed"))["detail"]


def test_a_schedule_is_a_grid_that_nobodys_data_moves(tmp_path):
    """Jitter follows from digest and number; a late round opens at once, and the next is back on the grid."""
    from .world import World

    study = World(tmp_path).study(rounds=3)
    name, start = study.study_hash(), 1_000_000
    plan = Schedule(starts_at_ms=start, interval_seconds=100, jitter_seconds=10)
    jitters = [jitter_ms(plan, name, number) for number in range(1, 200)]
    assert min(jitters) >= 0
    assert max(jitters) <= 10_000
    assert len(set(jitters)) > 150
    assert due_ms(plan, name, 1, None) == start + jitters[0]
    assert due_ms(plan, name, 2, start + jitters[0]) == start + 100_000 + jitters[1]
    late = start + 570_000
    assert due_ms(plan, name, 3, late) == start + 600_000 + jitters[2]
    with pytest.raises(ValueError, match="overtake"):
        Schedule(starts_at_ms=start, interval_seconds=5, jitter_seconds=6)
    fitting = Schedule(starts_at_ms=study.created_at_ms + 1_000, interval_seconds=60)
    assert faults(fitting, study, study.created_at_ms) == []
    assert len(faults(fitting, study, study.created_at_ms + 2_000)) == 1
    slow = fitting.model_copy(update={"interval_seconds": 80_000.0})
    assert "expires" in "; ".join(faults(slow, study, study.created_at_ms))


@in_world()
async def test_a_step_under_another_key_is_no_step(world):
    """What the log holds of a study's life verifies under the leader's key and no other."""
    async with world.up():
        study = world.study()
        await world.run(study)
        await post(world, study, "pause")
        (first, second) = await entries(world, "state")
        stranger = SigningKey.generate().verify_key
        for body in (first, second):
            with pytest.raises(SignatureInvalid):
                verify_document(body.decode(), STATE_TYPE, (stranger,))
        assert {step.study_hash for step in await steps(world)} == {study.study_hash().hex()}
