"""The whole exchange: from reports to a released sum, through both services."""

import asyncio

import numpy as np
import pytest
from sqlalchemy import text

from aggregator.errors import StudyFailed
from aggregator.leader import closed_rounds
from models.learning.steps import server_step
from models.queries.answers import to_model_bytes
from models.wire.message import from_base64
from models.wire.rounds import sum_context
from models.wire.studies import APPROVAL_TYPE
from privacy.crypto import verify_document
from privacy.crypto.merkle import leaf_hash, verify_inclusion
from privacy.secure_sum import batch_digest, encode
from tests.frames import encode_seals

from .world import Device, code, in_world, noise, vectors


def _expected(world, study, opening, pairs):
    """What must be released: the encoded sum and both servers' stored noise, on the grid."""
    params = study.plan.parameters()
    context = sum_context(study, opening.round, bytes.fromhex(opening.model_hash))
    batch = batch_digest(context, sorted(report.report_id for report, _ in pairs))
    total = sum(encode(vector, params) for _, vector in pairs)
    return (
        total + noise(world.leader_secret, "leader", batch, study) + noise(world.helper_secret, "helper", batch, study)
    )


async def _values(world, study, number=1):
    results = (await world.leader.get(f"/v1/studies/{study.study_id}/results")).json()
    found = next(item for item in results["rounds"] if item["round"] == number)
    return found, np.rint(np.array(found["values"]) * study.plan.parameters().scale)


@in_world()
async def test_a_full_round_releases_the_sum_with_both_noises(world):
    """Thirty reports in, out comes exactly their sum plus each server's stored noise, and nothing is left behind."""
    async with world.up():
        devices, study = await world.devices(30), world.study()
        await world.run(study)
        _, opening = await world.work()
        pairs = [
            (world.report(device, study, opening, vector), vector)
            for device, vector in zip(devices, vectors(30), strict=True)
        ]
        sent = [(device, report) for device, (report, _) in zip(devices, pairs, strict=True)]
        assert set(await world.send(*sent)) == {"accepted"}
        account = await world.until(study, "finished")
        found, values = await _values(world, study)
        np.testing.assert_array_equal(values, _expected(world, study, opening, pairs))
        assert found["opened"] == 30
        assert [(item["round"], item["index"]) for item in account["charges"]] == [(1, 0)]
        assert not (await world.leader.get("/v1/work")).json()["rounds"]
        store = (world.folder / "leader" / "store.sqlite3").read_bytes()
        assert all(report.masked not in store and report.seal not in store for report, _ in pairs)


@in_world()
async def test_work_proves_that_the_study_is_in_the_log(world):
    """A device can check the study's entry against the checkpoint that the helper signed."""
    async with world.up():
        study = world.study()
        await world.devices(5)
        await world.run(study)
        work, opening = await world.work()
        inclusion = work.rounds[0].inclusion
        path = [bytes.fromhex(node) for node in inclusion.path]
        checkpoint = opening.checkpoint
        leaf = leaf_hash(b"study\0" + study.canonical())
        verify_inclusion(leaf, inclusion.index, checkpoint.size, path, bytes.fromhex(checkpoint.root))


@in_world()
async def test_work_is_the_same_bytes_until_something_changes(world):
    """Polling costs a 304 while nothing changed."""
    async with world.up():
        first = await world.leader.get("/v1/work")
        again = await world.leader.get("/v1/work", headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""


@in_world()
async def test_failed_and_withdrawn_reports_are_left_out_of_both_halves(world):
    """A withdrawal by token at the helper and a seal that does not open leave an exact sum of the others."""
    async with world.up():
        devices, study = await world.devices(12), world.study()
        await world.run(study)
        _, opening = await world.work()
        pairs = []
        for index, (device, vector) in enumerate(zip(devices, vectors(12), strict=True)):
            expires = {"expires_at": 1} if index == 3 else {}
            pairs.append((world.report(device, study, opening, vector, **expires), vector))
        await world.send(*[(device, report) for device, (report, _) in zip(devices[:-1], pairs, strict=False)])
        gone = {"version": 1, "report_id": pairs[7][0].report_id.hex()}
        wrong = await world.helper.post("/v1/withdrawals", json={**gone, "token": "00" * 32})
        right = await world.helper.post("/v1/withdrawals", json={**gone, "token": devices[7].token.hex()})
        assert (wrong.status_code, right.status_code) == (202, 202)
        await world.send((devices[11], pairs[11][0]))
        await world.until(study, "finished")
        found, values = await _values(world, study)
        params = study.plan.parameters()
        expected = _expected(world, study, opening, pairs) - sum(encode(pairs[index][1], params) for index in (3, 7))
        np.testing.assert_array_equal(values, expected)
        assert found["opened"] == 10


@in_world()
async def test_a_withdrawal_of_consent_removes_the_report_of_the_open_round(world):
    """Consent taken back before the close takes the report back too, in the answer to the withdrawal."""
    async with world.up():
        devices, study = await world.devices(8), world.study()
        await world.run(study)
        _, opening = await world.work()
        pairs = [
            (world.report(device, study, opening, vector), vector)
            for device, vector in zip(devices, vectors(8), strict=True)
        ]
        await world.send(*[(device, report) for device, (report, _) in zip(devices[:6], pairs, strict=False)])
        result = (await world.receipts([(devices[2], world.withdrawal(devices[2], ("measurement",)))]))[0]
        assert result["dropped_reports"] == 1
        assert await world.send((devices[2], pairs[2][0])) == ["no-consent"]
        await world.send(*[(devices[index], pairs[index][0]) for index in (6, 7)])
        await world.until(study, "finished")
        found, values = await _values(world, study)
        kept = [pair for index, pair in enumerate(pairs) if index != 2]
        np.testing.assert_array_equal(values, _expected(world, study, opening, kept))
        assert found["opened"] == 7


@in_world()
async def test_a_small_cohort_releases_nothing_and_costs_the_leader_nothing(world):
    """A round that closes below its minimum cohort is abandoned; the study says why."""
    async with world.up():
        devices, study = await world.devices(5), world.study(window_seconds=0.5)
        await world.run(study)
        _, opening = await world.work()
        for device, vector in list(zip(devices, vectors(5), strict=True))[:3]:
            await world.send((device, world.report(device, study, opening, vector)))
        account = await world.until(study, "failed")
        assert account["rounds"][0]["state"] == "abandoned"
        assert "at least 5" in account["rounds"][0]["detail"]
        assert account["charges"] == []


@in_world()
async def test_rounds_follow_each_other_and_the_strategy_moves_the_model(world):
    """Each round's model is what the public steps make of the releases before it, and so is the final one."""
    async with world.up():
        query = {
            "question": "personas",
            "clusters": 2,
            "features": {"version": "profile/1", "names": ["a", "b", "c"]},
            "least_count": 0.0,
        }
        plan = {"dimension": 8, "clip_norm": 2.0}
        study = world.study("people", query=query, plan=plan, rounds=3, purpose="persona", epsilon_cap=20.0)
        devices, seen = await world.devices(6, ("persona",)), []
        await world.run(study)
        for number in (1, 2, 3):
            _, opening = await world.work(number)
            model = await world.leader.get(f"/v1/models/{opening.model_hash}")
            assert len(model.content) == 2 * 3 * 4
            seen.append(model.content)
            await _report_all(world, devices, study, opening)
        account = await world.until(study, "finished")
        assert [item["round"] for item in account["charges"]] == [1, 2, 3]
        results = (await world.leader.get("/v1/studies/people/results")).json()
        step, replayed = server_step(study.query, study.plan.sampling_rate), []
        for item in results["rounds"]:
            replayed.append(to_model_bytes(step.model()))
            step.apply(np.array(item["values"]), item["opened"])
        assert seen == replayed
        assert from_base64(results["model"]) == to_model_bytes(step.final())


async def _report_all(world, devices: list[Device], study, opening):
    dimension = study.plan.dimension
    items = [
        (device, world.report(device, study, opening, vector))
        for device, vector in zip(devices, vectors(len(devices), dimension), strict=True)
    ]
    assert set(await world.send(*items)) == {"accepted"}


@in_world()
async def test_a_restarted_leader_goes_on_where_it_was(world):
    """Stopped in the middle of round two, the leader keeps its reports, replays round one and finishes."""
    async with world.helper_up():
        study = world.study(rounds=2, epsilon_cap=20.0)
        async with world.leader_up():
            devices = await world.devices(6)
            await world.run(study)
            _, opening = await world.work(1)
            await _report_all(world, devices, study, opening)
            _, opening = await world.work(2)
            items = [
                (device, world.report(device, study, opening, vector))
                for device, vector in zip(devices, vectors(6), strict=True)
            ]
            assert set(await world.send(*items[:4])) == {"accepted"}
        async with world.leader_up():
            assert await world.send(*items[3:]) == ["accepted"] * 3
            account = await world.until(study, "finished")
            assert [item["opened"] for item in account["rounds"]] == [6, 6]
            assert len(account["charges"]) == 2


@in_world()
async def test_a_dead_helper_delays_a_round_and_costs_nothing_twice(world):
    """The batch is sent again once the helper is back; both ledgers hold one charge."""
    async with world.up():
        devices, study = await world.devices(6), world.study()
        await world.run(study)
        _, opening = await world.work()
        world.line.lose_answers_to = "/share"
        await _report_all(world, devices, study, opening)
        while sum("/share" in path for path in world.line.calls) < 2:  # noqa: ASYNC110  # the line knows no events
            await asyncio.sleep(0.02)
        world.line.lose_answers_to = ""
        account = await world.until(study, "finished")
        assert len(account["charges"]) == 1
        assert world.helper_app.state.office.budget.state.length == 1


@in_world()
async def test_a_dead_helper_is_a_503_and_the_next_attempt_works(world):
    """Proposing and starting while the helper is down say so; nothing is lost."""
    async with world.up():
        study = world.study()
        await world.devices(5)
        world.line.cut = True
        refused = await world.propose(study)
        assert (code(refused), refused.status_code) == ("helper-unavailable", 503)
        world.line.cut = False
        assert (await world.propose(study)).status_code == 201
        await world.decide(study)
        world.line.cut = True
        assert code(await world.start(study)) == "helper-unavailable"
        world.line.cut = False
        assert (await world.start(study)).status_code == 202
        await world.work()


@in_world()
async def test_an_officers_stop_ends_a_running_study(world):
    """Within a poll no device sees the round any more, and the officer's signed stop is in its place."""
    async with world.up():
        study = world.study()
        await world.devices(5)
        await world.run(study)
        await world.work()
        assert (await world.decide(study, "stop")).status_code == 201
        await world.until(study, "stopped")
        work = (await world.leader.get("/v1/work")).json()
        assert work["rounds"] == []
        (stop,) = work["stopped"]
        decision = verify_document(stop, APPROVAL_TYPE, (world.officer.verify_key,))
        assert (decision["study_hash"], decision["decision"]) == (study.study_hash().hex(), "stop")
        sealed = await world.as_leader(
            f"/v1/rounds/{study.study_hash().hex()}/1/share", encode_seals([]), "application/vnd.hearthside.seals"
        )
        assert code(sealed) == "study-stopped"


@in_world()
async def test_a_stop_is_shown_again_after_a_restart(world):
    """The signed decision is stored with the study: a leader that comes back still shows it."""
    async with world.up():
        study = world.study()
        await world.devices(5)
        await world.run(study)
        await world.work()
        await world.decide(study, "stop")
        await world.until(study, "stopped")
        shown = (await world.leader.get("/v1/work")).json()["stopped"]
    async with world.up():
        assert (await world.leader.get("/v1/work")).json()["stopped"] == shown
        assert len(shown) == 1


async def _left_over(world) -> tuple[int, list]:
    """Reports in the leader's store, and its rounds' (state, noise secret, answer)."""
    async with world.leader_app.state.desk.database.reading() as connection:
        reports = (await connection.execute(text("SELECT count(*) FROM reports"))).scalar_one()
        rounds = (await connection.execute(text("SELECT state, wrapped_noise, answer FROM rounds"))).all()
    return reports, [tuple(row) for row in rounds]


@in_world()
async def test_a_study_that_fails_leaves_no_report_and_no_secret(world):
    """An answer that does not verify ends the study; masked vectors, seals and the noise's secret do not outlive it."""
    async with world.up():
        devices, study = await world.devices(5), world.study()
        await world.run(study)
        _, opening = await world.work()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(closed_rounds, "check_answer", _refuse)
            await world.send(
                *[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)]
            )
            await world.until(study, "failed")
        assert await _left_over(world) == (0, [("abandoned", None, None)])
        assert world.wrapping("leader") == []
        assert not (await world.leader.get("/v1/work")).json()["rounds"]


def _refuse(*_: object) -> int:
    raise StudyFailed("the helper's answer does not verify under the pinned key")


@in_world()
async def test_a_stop_between_charge_and_share_leaves_no_report_and_no_secret(world):
    """The helper says stop where the leader asks for its share."""
    async with world.up():
        devices, study = await world.devices(5), world.study()
        await world.run(study)
        _, opening = await world.work()
        world.line.cut = True
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        for _ in range(500):
            await asyncio.sleep(0.02)
            if (await _left_over(world))[1][0][0] == "charged":
                break
        assert (await world.decide(study, "stop")).status_code == 201
        world.line.cut = False
        await world.until(study, "stopped")
        assert await _left_over(world) == (0, [("abandoned", None, None)])
        assert world.wrapping("leader") == []


@in_world()
async def test_a_released_round_keeps_only_its_release(world):
    """The helper's share and the leader's secret go with the reports: nothing less noisy than the release is kept."""
    async with world.up():
        devices, study = await world.devices(5), world.study()
        await world.run(study)
        _, opening = await world.work()
        await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(devices, vectors(5), strict=True)])
        await world.until(study, "finished")
        assert await _left_over(world) == (0, [("released", None, None)])
        assert world.wrapping("leader") == []
