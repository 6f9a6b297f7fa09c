"""Devices pay when a round opens: a round that opens can be paid for, answered and released, or it does not open."""

import hashlib
import threading
import time

import pytest

from aggregator.helper import expiry, shares
from aggregator.storage.leader import LeaderStore
from models.wire.message import from_base64
from models.wire.rounds import ANSWER_TYPE, Answer, FailedSeal, ShareAnswer, failed_digest
from privacy.crypto import sign_document

from .world import code, in_world, sealed, vectors


async def _report_all(world, study, devices, number: int = 1) -> None:
    _, opening = await world.work(number)
    reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(len(devices)), strict=True)]
    await world.send(*zip(devices, reports, strict=True))


# The ledger


@in_world(helper_options={"budget_epsilon": 4.0})
async def test_the_helper_opens_only_what_it_can_pay_beside_open_rounds(world):
    """Two rounds fit and a third does not, although nothing is charged yet; the two that were opened are answered."""
    studies = [world.study(f"study-{index}") for index in range(3)]
    async with world.helper_up():
        seals = [await sealed(world, study) for study in studies[:2]]
        await world.approved(studies[2])
        assert code(await world.open_round(studies[2])) == "budget-exhausted"
    async with world.helper_up() as app:
        assert code(await world.open_round(studies[2])) == "budget-exhausted", "also after a restart"
        assert (await world.share(studies[0], seals[0])).status_code == 200
        assert code(await world.open_round(studies[2])) == "budget-exhausted", "what was promised is charged now"
        assert (await world.share(studies[1], seals[1])).status_code == 200
        assert app.state.office.budget.state.length == 2


@in_world(helper_options={"budget_epsilon": 3.0})
async def test_a_round_that_ends_without_an_answer_frees_its_promise(world):
    """A stop, or a key that expires: the next round can be opened."""
    clock = world.turnable()
    first, second, third = (world.study(f"study-{index}") for index in range(3))
    async with world.helper_up() as app:
        for study in (first, second, third):
            await world.approved(study)
        assert (await world.open_round(first)).status_code == 200
        assert code(await world.open_round(second)) == "budget-exhausted"
        await world.decide(first, "stop")
        assert (await world.open_round(second)).status_code == 200
        assert code(await world.open_round(third)) == "budget-exhausted"
        clock.seconds += second.window_seconds + app.state.office.settings.round_key_seconds + 1
        await expiry.destroy_expired(app.state.office)
        assert (await world.open_round(third)).status_code == 200


@in_world(leader_options={"budget_epsilon": 3.0})
async def test_the_leader_asks_only_for_what_it_can_pay_beside_open_rounds(world):
    """The second study never opens: no device is charged for a round that its leader could not release."""
    first, second = world.study("first"), world.study("second")
    async with world.up():
        devices = await world.devices(5)
        await world.run(first)
        await world.work()
        await world.run(second)
        account = await world.until(second, "failed")
        assert account["rounds"] == []
        assert "beside those that are open" in account["detail"]
        assert world.line.calls.count("/v1/rounds") == 1
        await _report_all(world, first, devices)
        assert (await world.until(first, "finished"))["rounds"][0]["state"] == "released"


# The time limit and the size


@in_world(helper_options={"batch_time_limit_seconds": 0.4})
async def test_a_time_limit_throws_no_computation_away(world):
    """A share that takes longer than its request is computed once; the retry gets the finished bytes."""
    study, compute, runs, begun = world.study(), shares._compute, [], threading.Event()

    def slow(*arguments):
        runs.append(1)
        begun.set()
        time.sleep(1.2)
        return compute(*arguments)

    async with world.helper_up() as app:
        seals = await sealed(world, study)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_compute", slow)
            first = await world.share(study, seals)
            assert code(first) == "timed-out"
            assert begun.is_set()
            for _ in range(20):
                last = await world.share(study, seals)
                if last.status_code == 200:
                    break
        assert last.status_code == 200
        assert len(runs) == 1
        assert app.state.office.budget.state.length == 1
        assert world.wrapping() == []


@in_world(helper_options={"batch_time_limit_seconds": 0.5})
async def test_a_leader_whose_request_timed_out_releases_all_the_same(world):
    """It asks again, and the study finishes with the one computation."""
    study, compute, runs = world.study(), shares._compute, []

    def slow(*arguments):
        runs.append(1)
        time.sleep(1.2)
        return compute(*arguments)

    async with world.up():
        devices = await world.devices(5)
        await world.run(study)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_compute", slow)
            await _report_all(world, study, devices)
            await world.until(study, "finished")
        assert len(runs) == 1
        assert world.line.calls.count(f"/v1/rounds/{study.study_hash().hex()}/1/share") > 1


@in_world(helper_options={"batch_limit_bytes": 1_250 * 1_000})
async def test_a_cohort_that_could_not_be_handed_in_is_refused_when_it_is_proposed(world):
    """Whatever the study says, its seals must fit into one request: found before a device pays."""
    async with world.up():
        fits = world.study("fits", plan={"maximum_cohort": 1_000})
        large = world.study("large", plan={"maximum_cohort": 1_010})
        assert (await world.propose(fits)).status_code == 201
        refused = await world.propose(large)
        assert code(refused) == "invalid-study"
        assert "1010" in refused.json()["detail"]


# One round that cannot be summed is not the end of the study


def _backwards(chunks):
    async def disordered(*arguments):
        async for chunk in chunks(*arguments):
            yield chunk[::-1]

    return disordered


@pytest.mark.parametrize("query", ["seal_chunks", "masked_chunks"])
def test_a_batch_that_is_refused_costs_one_round(query, tmp_path):
    """Before the helper is asked or after it has answered: the round is given up, and the next one runs."""

    @in_world()
    async def exchange(world):
        study = world.study(rounds=2)
        async with world.up():
            devices = await world.devices(5)
            await world.run(study)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LeaderStore, query, _backwards(getattr(LeaderStore, query)))
                await _report_all(world, study, devices)
                await world.work(2)
            assert world.wrapping("leader") == []
            await _report_all(world, study, devices, 2)
            account = await world.until(study, "finished")
            assert [item["state"] for item in account["rounds"]] == ["abandoned", "released"]
            assert "out of order" in account["rounds"][0]["detail"]

    exchange(tmp_path)


@pytest.mark.parametrize("answered", [False, True])
def test_a_lost_file_of_reports_costs_one_round(answered, tmp_path):
    """Cut before the helper is asked, or removed after it has answered: no sum is taken, and the next round runs."""

    @in_world(leader_options={"report_storage": "directory"})
    async def exchange(world):
        study = world.study(rounds=2)
        async with world.up():
            devices = await world.devices(5)
            await world.run(study)
            await world.work()
            files, chunks = world.folder / "leader" / "reports", LeaderStore.masked_chunks

            def lose(store, *arguments):
                next(files.glob("*/*")).unlink()
                return chunks(store, *arguments)

            with pytest.MonkeyPatch.context() as patch:
                if answered:
                    patch.setattr(LeaderStore, "masked_chunks", lose)
                    await _report_all(world, study, devices)
                else:
                    await _report_all(world, study, devices[:4])
                    (path,) = files.glob("*/*")
                    path.write_bytes(b"")
                    await _report_all(world, study, devices[4:])
                await world.work(2)
            assert list(files.iterdir()) == world.wrapping("leader") == []
            await _report_all(world, study, devices, 2)
            account = await world.until(study, "finished")
            assert [item["state"] for item in account["rounds"]] == ["abandoned", "released"]
            assert ("missing" if answered else "damaged") in account["rounds"][0]["detail"]
            assert len(account["charges"]) == 2, "what was charged stays"

    exchange(tmp_path)


@in_world()
async def test_files_of_rounds_that_are_over_go_at_the_next_start(world):
    """A crash between the end of a round and the removal of its files leaves nothing for long."""
    left = world.folder / "leader" / "reports" / "7"
    left.mkdir(parents=True)
    (left / ("ab" * 16)).write_bytes(b"left")
    async with world.up():
        assert not left.exists()


@in_world()
async def test_a_helper_that_names_strangers_as_failed_releases_nothing(world):
    """Its signature holds and its counts add up, but what it left out was never sent: the leader stops there."""

    def lie(office, marked, spooled):
        body, opened = compute(office, marked, spooled)
        failed = (FailedSeal(report_id="ab" * 32, reason="expired"),)
        honest = ShareAnswer.model_validate_json(body)
        statement = Answer(
            context=marked.context.digest.hex(),
            batch=marked.batch.hex(),
            opened=opened - 1,
            share_sha256=hashlib.sha256(from_base64(honest.share)).hexdigest(),
            failed_sha256=failed_digest(failed),
            answered_at_ms=1,
        )
        jws = sign_document(office.key, ANSWER_TYPE, statement.document())
        return ShareAnswer(answer=jws, share=honest.share, failed=failed).canonical(), opened - 1

    compute = shares._compute
    async with world.up():
        devices, study = await world.devices(6), world.study()
        await world.run(study)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_compute", lie)
            await _report_all(world, study, devices)
            account = await world.until(study, "failed")
        assert "not in the batch" in account["detail"]
        assert account["rounds"][0]["state"] == "abandoned"
