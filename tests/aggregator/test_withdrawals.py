"""Reports that are taken back: at the helper with the seal, at the leader for the rest of the round."""

import os
from dataclasses import replace

from consent.receipts import receipt_digest
from models.wire.enrolment import REMOVAL_TYPE
from models.wire.rounds import WITHDRAWN_TYPE, ShareAnswer, sum_context
from privacy.crypto import verify_document

from .world import code, in_world, vectors


async def _reports(world, study, count: int = 8):
    await world.approved(study)
    opening = await world.opening(study)
    return [
        (device, world.report(device, study, opening, vector))
        for device, vector in zip(world.lone_devices(count), vectors(count), strict=True)
    ]


async def _unsealed(world, report_id: bytes, token: bytes):
    notice = {"version": 1, "report_id": report_id.hex(), "token": token.hex()}
    return await world.helper.post("/v1/withdrawals", json=notice)


def _withdrawn(response) -> set[str]:
    return {item.report_id for item in ShareAnswer.model_validate_json(response.content).failed}


# At the helper


@in_world(helper_options={"maximum_withdrawals": 3, "withdrawal_margin": 0})
async def test_strangers_cannot_fill_the_list_of_a_round(world):
    """Ids of nothing, seals of nothing and wrong tokens are not kept; a full list of the old form is another list."""
    study = world.study(plan={"maximum_cohort": 8})
    async with world.helper_up() as app:
        reports = await _reports(world, study)
        for _ in range(3):
            assert (await _unsealed(world, os.urandom(32), os.urandom(32))).status_code == 202
        assert code(await _unsealed(world, os.urandom(32), os.urandom(32))) == "too-many-requests"
        (device, report), (_, other) = reports[:2]
        for _ in range(12):
            forged = replace(report, seal=os.urandom(len(report.seal)))
            assert code(await world.take_back(study, forged, device.token)) == "report-invalid"
            assert code(await world.take_back(study, other, os.urandom(32))) == "report-invalid"
        async with app.state.office.database.reading() as connection:
            assert await app.state.office.store.withdrawal_count(connection, 1) == 0
        assert (await world.take_back(study, report, device.token)).json()["status"] == "kept"
        answer = await world.share(study, [item.seal for _, item in reports])
    assert _withdrawn(answer) == {report.report_id.hex()}


@in_world()
async def test_a_seal_of_another_round_takes_nothing_back(world):
    """A seal opens under its own round's key and context alone."""
    study, other = world.study(), world.study("other")
    async with world.helper_up():
        (device, report), *_ = await _reports(world, study)
        await _reports(world, other)
        assert code(await world.take_back(other, report, device.token)) == "report-invalid"
        assert (await world.take_back(study, report, device.token, number=2)).json()["status"] == "late"
        assert (await world.take_back(world.study("unknown"), report, device.token)).json()["status"] == "late"


@in_world(helper_options={"withdrawal_margin": 2})
async def test_a_list_that_runs_over_ends_its_round(world):
    """Whoever seals more reports than the cohort has shuts no withdrawal out: there is no sum any more."""
    study, other = world.study(plan={"maximum_cohort": 8}), world.study("other")
    async with world.helper_up() as app:
        reports, others = await _reports(world, study, 11), await _reports(world, other)
        for device, report in (*reports[:10], *reports[:10]):
            assert (await world.take_back(study, report, device.token)).json()["status"] == "kept"
        assert len(world.wrapping()) == 2
        assert (await world.take_back(study, reports[10][1], reports[10][0].token)).json()["status"] == "kept"
        assert len(world.wrapping()) == 1
        assert code(await world.share(study, [report.seal for _, report in reports[:8]])) == "stale"
        assert app.state.office.budget.state.length == 0
        assert (await world.share(other, [report.seal for _, report in others])).status_code == 200


@in_world()
async def test_a_notice_counts_until_the_mark_and_is_late_after(world):
    """The device hears which; the answer that is stored does not change."""
    study = world.study()
    async with world.helper_up():
        reports = await _reports(world, study)
        (first, early), (second, late) = reports[:2]
        assert (await world.take_back(study, early, first.token)).json()["status"] == "kept"
        assert (await world.take_back(study, early, first.token)).json()["status"] == "kept"
        answer = await world.share(study, [report.seal for _, report in reports])
        assert _withdrawn(answer) == {early.report_id.hex()}
        assert (await world.take_back(study, late, second.token)).json()["status"] == "late"
        assert (await world.share(study, [report.seal for _, report in reports])).content == answer.content


@in_world()
async def test_what_the_helper_signs_about_a_notice_is_what_became_of_it(world):
    """A notice whose answer was lost is answered as it counted, also once the round is over; another one is late."""
    study = world.study()

    async def word(device, report):
        answer = (await world.take_back(study, report, device.token)).json()
        signed = verify_document(answer["confirmation"], WITHDRAWN_TYPE, (world.helper_key.verify_key,))
        assert signed["report_id"] == report.report_id.hex()
        assert (signed["study_hash"], signed["round"]) == (study.study_hash().hex(), 1)
        assert signed["outcome"] == answer["status"]
        return signed["outcome"]

    async with world.helper_up():
        (early, first), (late, second), *rest = await _reports(world, study)
        assert await word(early, first) == "kept"
        await world.share(study, [report.seal for report in (first, second, *(item for _, item in rest))])
        assert await word(early, first) == "kept"
        assert await word(late, second) == "late"
        early.token = os.urandom(32)
        assert await word(early, first) == "late", "a guessed token shows nothing"


@in_world()
async def test_a_notice_of_the_old_form_still_counts(world):
    """A device of an earlier version names the report's id alone."""
    study = world.study()
    async with world.helper_up():
        reports = await _reports(world, study)
        device, report = reports[0]
        assert (await _unsealed(world, report.report_id, device.token)).json()["status"] == "kept"
        answer = await world.share(study, [report.seal for _, report in reports])
    assert _withdrawn(answer) == {report.report_id.hex()}


@in_world(helper_options={"answer_early": False})
async def test_a_helper_may_hold_the_leader_to_the_window(world):
    """A leader that asks at once cannot end the time in which reports are taken back: the helper asks it to wait."""
    clock, study = world.turnable(), world.study()
    async with world.helper_up() as app:
        reports = await _reports(world, study)
        seals = [report.seal for _, report in reports]
        clock.seconds += study.window_seconds - 1
        assert code(await world.share(study, seals)) == "helper-unavailable"
        assert app.state.office.budget.state.length == 0
        assert (await world.take_back(study, reports[0][1], reports[0][0].token)).json()["status"] == "kept"
        clock.seconds += 1
        assert _withdrawn(await world.share(study, seals)) == {reports[0][1].report_id.hex()}


# At the leader


@in_world(leader_options={"close_early": False})
async def test_a_report_that_was_taken_back_does_not_come_in_again(world):
    """The epoch in a frame is not signed. Under a new grant, neither the old bytes nor a new report are let in."""
    study = world.study()
    async with world.up():
        devices = await world.devices(3)
        await world.run(study)
        _, opening = await world.work()
        device = devices[0]
        report = world.report(device, study, opening, vectors(1)[0])
        assert await world.send((device, report)) == ["accepted"]
        results = await world.receipts([(device, world.withdrawal(device, ("measurement",)))])
        assert results[0]["dropped_reports"] == 1
        await world.receipts([(device, world.grant(device, ("measurement",)))])
        fresh = world.report(device, study, opening, vectors(2)[1])
        context = sum_context(study, 1, bytes.fromhex(opening.model_hash))
        copied = world.copy_of(report, devices[1], context)
        sent = await world.send((device, report), (device, fresh), (devices[1], copied))
        assert sent == ["round-closed"] * 3
        honest = world.report(devices[1], study, opening, vectors(3)[2])
        assert await world.send((devices[1], honest)) == ["accepted"]


@in_world(leader_options={"close_early": False})
async def test_the_leader_signs_which_reports_it_took_out(world):
    """By round and report, for the device and the receipt that it answers; the same receipt again gets it again."""
    study = world.study()
    async with world.up():
        device, silent, staying = await world.devices(3)
        await world.run(study)
        _, opening = await world.work()
        report = world.report(device, study, opening, vectors(1)[0])
        await world.send((device, report))
        gone, kept_out = (world.withdrawal(who, ("measurement",)) for who in (device, silent))
        more = world.grant(staying, ("intent",))
        for _ in range(2):
            results = await world.receipts([(device, gone), (silent, kept_out), (staying, more)])
            assert results[2]["removal"] is None
            for who, receipt, result, name in (
                (device, gone, results[0], report.report_id.hex()),
                (silent, kept_out, results[1], None),
            ):
                signed = verify_document(result["removal"], REMOVAL_TYPE, (world.leader_key.verify_key,))
                assert (signed["device_id"], signed["receipt"]) == (who.name.hex(), receipt_digest(receipt).hex())
                (removed,) = signed["reports"]
                assert removed == {"study_hash": study.study_hash().hex(), "round": 1, "report_id": name}


@in_world(leader_options={"close_early": False})
async def test_a_report_on_its_way_does_not_overtake_its_withdrawal(world):
    """Consent is taken back and given again before the bytes arrive; after a restart, too, they are not let in."""
    study = world.study()
    async with world.up():
        device, other = await world.devices(2)
        await world.run(study)
        _, opening = await world.work()
        report = world.report(device, study, opening, vectors(1)[0])
        await world.receipts([(device, world.withdrawal(device, ("measurement",)))])
        await world.receipts([(device, world.grant(device, ("measurement",)))])
    async with world.up():
        assert await world.send((device, report)) == ["round-closed"]
        assert await world.send((other, world.report(other, study, opening, vectors(1)[0]))) == ["accepted"]


@in_world(leader_options={"close_early": False})
async def test_a_first_grant_in_the_middle_of_a_round_may_report(world):
    """Only what was taken away is kept out: a device that grants one purpose after another has withdrawn nothing."""
    study = world.study()
    async with world.up():
        (device,) = await world.devices(1, purposes=("persona",))
        await world.run(study)
        _, opening = await world.work()
        await world.receipts([(device, world.grant(device, ("intent",)))])
        await world.receipts([(device, world.grant(device, ("measurement",)))])
        assert await world.send((device, world.report(device, study, opening, vectors(1)[0]))) == ["accepted"]
