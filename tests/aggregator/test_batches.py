"""How a batch travels and waits: in pieces, on disk, over processes; and nothing of it for strangers or for ever."""

import asyncio
import hashlib
import os
import pickle
import signal
import stat
import threading
import time

import pytest

from aggregator.errors import WorkerLost
from aggregator.helper import ranges, shares, spool, unsealing
from aggregator.helper.spool import Spool, SpoolFolder
from models.wire.frames import SEALS_MEDIA_TYPE, seals_size
from models.wire.problems import ProblemError
from models.wire.rounds import ShareAnswer, sum_context
from privacy.crypto import SealPrivateKey
from privacy.crypto.requests import sign_head
from privacy.secure_sum import Span, SumContext, SumParameters
from tests.frames import encode_seals

from .world import code, in_world, vectors

CONTEXT = SumContext(bytes(32), 1, bytes(32), bytes(32), bytes(32), bytes(32))


def by_id(seals: list[bytes]) -> list[bytes]:
    return sorted(seals, key=lambda seal: hashlib.sha256(seal).digest())


async def _reports(world, study, count: int = 8):
    await world.approved(study)
    opened = await world.opening(study)
    devices = world.lone_devices(count)
    return [
        (device, world.report(device, study, opened, vector))
        for device, vector in zip(devices, vectors(count), strict=True)
    ]


def _left(world) -> list[str]:
    """Spools on the disk, and folders of processes that have ended."""
    folder, files = world.folder / "helper" / "spool", ("lock", *(path.name for path in _open_folders(world)))
    return [path.name for path in folder.rglob("*") if path.name not in files]


def _open_folders(world):
    return [] if world.line.inner is None else [world.helper_app.state.office.spools.folder]


# Ranges and processes


@in_world(helper_options={"large_batch_reports": 1})
async def test_the_answer_is_the_same_bytes_for_any_number_of_processes_and_ranges(world):
    """One process and one range, then several of both, with a forged and a withdrawn seal among them.

    An answer is computed and thrown away before it is stored, so that the round can be computed again.
    """
    study, compute, computed = world.study(), shares._compute, []
    async with world.helper_up() as app:
        reports = await _reports(world, study, 10)
        device, report = reports[3]
        for token in (os.urandom(32), device.token, os.urandom(32)):  # strangers' guesses around the right one
            notice = {"report_id": report.report_id.hex(), "token": token.hex()}
            assert (await world.helper.post("/v1/withdrawals", json=notice)).status_code == 202
        seals = [item.seal for _, item in reports] + [bytes(1_240)]

        def crash(*arguments):
            computed.append(compute(*arguments)[0])
            raise RuntimeError("the power went")

        for size, workers in ((4_096, 1), (3, 1), (3, 4), (1, 2)):
            app.state.office.settings = app.state.office.settings.model_copy(update={"workers": workers})
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(shares, "_compute", crash)
                patch.setattr(Spool.__init__, "__defaults__", (size,))
                with pytest.raises(RuntimeError):
                    await world.share(study, seals)
        assert len(set(computed)) == 1
        assert (await world.share(study, seals)).content == computed[0]
    failed = {item.report_id: item.reason for item in ShareAnswer.model_validate_json(computed[0]).failed}
    assert failed == {report.report_id.hex(): "withdrawn", hashlib.sha256(bytes(1_240)).hexdigest(): "unopened"}
    assert list(failed) == sorted(failed)


@in_world(helper_options={"large_batch_reports": 1, "workers": 2})
async def test_a_worker_that_dies_costs_an_attempt_and_nothing_else(world):
    """Killed in the middle, the batch stays marked; the retry gets an answer, and no process or file is left."""
    study, started = world.study(), []
    begin = unsealing._start

    def watched():
        pipe, process = begin()
        started.append(process)
        return pipe, process

    def doomed():
        pipe, process = watched()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return pipe, process

    async with world.helper_up() as app:
        seals = [report.seal for _, report in await _reports(world, study)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Spool.__init__, "__defaults__", (2,))
            patch.setattr(unsealing, "_start", doomed)
            with pytest.raises(WorkerLost):
                await world.share(study, seals)
            assert _left(world) == []
            patch.setattr(unsealing, "_start", watched)
            assert (await world.share(study, seals)).status_code == 200
        assert app.state.office.budget.state.length == 1
        assert app.state.office.answering == {}
    assert _left(world) == []
    assert all(process.returncode is not None for process in started)


def test_a_job_is_secret_and_travels_as_bytes(tmp_path):
    """The round's key is in no repr and in no pickle; what arrives is what was sent."""
    job = ranges.Job(
        params=SumParameters(9, 1.0, 2**16, 2.0, 1_000, 5),
        context=CONTEXT,
        span=Span(3, 2, b"a" * 32, b"b" * 32, b"d" * 32),
        path=tmp_path / "batch",
        offset=77,
        now=1_900_000_000,
        key=SealPrivateKey.generate().private_bytes(),
        withdrawn={b"i" * 32: b"t" * 32, b"j" * 32: b"u" * 32},
    )
    assert ranges.Job.parse(job.to_bytes()) == job
    assert job.key.hex() not in repr(job)
    assert "tttt" not in repr(job)
    assert repr(job.key) not in repr(job)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(job)


# The file


def test_a_spool_is_private_and_gone_after(tmp_path):
    """Folder 0700, file 0600, removed with its request; what a crash left is removed at the next start."""
    folder = tmp_path / "spool"
    spools = SpoolFolder(folder)

    def interrupted() -> None:
        with spools.file() as path:
            Spool(path, CONTEXT, 2**20).close()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    (own,) = folder.iterdir()
    assert [path.name for path in own.iterdir()] == ["lock"]
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(own.stat().st_mode) == 0o700
    (folder / "left").write_bytes(b"by a crash")
    (folder / "1-dead").mkdir()
    (folder / "1-dead" / "1").write_bytes(b"by another")
    second = SpoolFolder(folder)
    assert own in folder.iterdir(), "a process that is at work keeps its own"
    assert len(list(folder.iterdir())) == 2
    second.close()
    spools.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size", [1, 3, 7, 4_096])
@pytest.mark.parametrize("piece", [1, 100, 10**6])
def test_ranges_begin_where_the_file_says(tmp_path, size, piece):
    """Seals of any length, in any pieces: each range's offset leads to its first seal."""
    seals = by_id([os.urandom(20 + index) for index in range(7)])
    body = encode_seals(seals)
    writing = Spool(tmp_path / "s", CONTEXT, len(body), size)
    for at in range(0, len(body), piece):
        writing.write(body[at : at + piece])
    spooled, body_sha256 = writing.finish()
    writing.close()
    assert body_sha256 == hashlib.sha256(body).digest()
    assert spooled.count == 7
    for span, offset in zip(spooled.spans, spooled.offsets, strict=True):
        with spooled.path.open("rb") as source:
            source.seek(offset)
            assert list(ranges.read_seals(source, span.count)) == seals[span.start : span.end]


def test_a_spool_takes_no_more_than_a_cohort_has(tmp_path):
    """One byte above, and it stops before it is written."""
    body = encode_seals(by_id([os.urandom(50) for _ in range(3)]))
    writing = Spool(tmp_path / "s", CONTEXT, len(body) - 1)
    with pytest.raises(ProblemError) as refusal:
        writing.write(body)
    writing.close()
    assert refusal.value.code == "too-large"
    assert (tmp_path / "s").stat().st_size == 0


# The request


@in_world()
async def test_a_strangers_body_never_reaches_the_disk(world):
    """Unsigned, or signed for another body: the first is refused at its head, the second leaves nothing behind."""
    study, spooled = world.study(), []
    async with world.helper_up():
        seals = by_id([report.seal for _, report in await _reports(world, study)])
        path, body = f"/v1/rounds/{study.study_hash().hex()}/1/share", encode_seals(seals)

        async def watched(*arguments):
            spooled.append(arguments)
            return await shares_spool(*arguments)

        shares_spool = shares._spool
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_spool", watched)
            unsigned = await world.helper.post(path, content=body, headers={"content-type": SEALS_MEDIA_TYPE})
            assert code(unsigned) == "bad-signature"
            assert spooled == []
            headers = sign_head(
                world.leader_key,
                "POST",
                path,
                hashlib.sha256(encode_seals(seals[1:])).digest(),
                world.clock.now_seconds(),
                os.urandom(16),
                audience=world.helper_key.verify_key.fingerprint,
            )
            headers["content-type"] = SEALS_MEDIA_TYPE
            assert code(await world.helper.post(path, content=body, headers=headers)) == "bad-signature"
            assert len(spooled) == 1
            replayed = await world.helper.post(path, content=encode_seals(seals[1:]), headers=headers)
            assert code(replayed) == "replayed"
        assert _left(world) == []
        assert (await world.share(study, seals)).status_code == 200


@in_world()
async def test_a_batch_has_at_most_the_bytes_of_its_studys_cohort(world):
    """The limit is the study's, not one for all: 8 seals for a study of 6 stop on the way."""
    async with world.helper_up() as app:
        study = world.study(plan={"maximum_cohort": 6})
        seals = [report.seal for _, report in await _reports(world, study)]
        assert seals_size(6, len(seals[0])) < len(encode_seals(seals))
        assert code(await world.share(study, seals)) == "too-large"
        assert app.state.office.budget.state.length == 0
        assert (await world.share(study, seals[:6])).status_code == 200
    assert _left(world) == []


@in_world()
async def test_a_retry_joins_the_answer_that_is_under_way(world):
    """A leader that lost its line asks again while seals are being opened: they are opened once."""
    study, compute, runs, begun = world.study(), shares._compute, [], threading.Event()

    def slow(*arguments):
        runs.append(1)
        begun.set()
        time.sleep(0.3)
        return compute(*arguments)

    async with world.helper_up() as app:
        seals = [report.seal for _, report in await _reports(world, study)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shares, "_compute", slow)
            first = asyncio.ensure_future(world.share(study, seals))
            await asyncio.to_thread(begun.wait, 10)
            first.cancel()
            second, third = await asyncio.gather(world.share(study, seals), world.share(study, seals))
            assert code(await world.share(study, seals[1:])) == "already-answered"
        assert second.content == third.content == (await world.share(study, seals)).content
        assert len(runs) == 1
        assert app.state.office.answering == {}
    assert _left(world) == []


@in_world(helper_options={"large_batch_reports": 1, "workers": 2})
async def test_a_service_that_stops_in_the_middle_answers_after_its_next_start(world):
    """It leaves at a range's border, with no process and no file behind; the retry's bytes are the marked batch's."""
    study, begin = world.study(), shares._jobs

    def jobs(office, *arguments):
        for index, job in enumerate(begin(office, *arguments)):
            if index == 2:
                office.stopping.set()
            yield job

    async with world.helper_up():
        seals = [report.seal for _, report in await _reports(world, study)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Spool.__init__, "__defaults__", (1,))
            patch.setattr(shares, "_jobs", jobs)
            with pytest.raises(WorkerLost, match="stopping"):
                await world.share(study, seals)
    assert _left(world) == []
    async with world.helper_up() as app:
        assert (await world.share(study, seals)).status_code == 200
        assert app.state.office.budget.state.length == 1


# The leader


@in_world(leader_options={"close_early": False})
async def test_another_devices_seal_is_a_conflict_and_not_the_end_of_the_round(world):
    """A device that sends a copy of another's seal is refused: with it the helper would refuse the whole batch."""
    async with world.up():
        devices, study = await world.devices(3), world.study()
        await world.run(study)
        _, opened = await world.work()
        report = world.report(devices[0], study, opened, vectors(1)[0])
        copied = world.copy_of(report, devices[1], sum_context(study, 1, bytes.fromhex(opened.model_hash)))
        third = world.report(devices[2], study, opened, vectors(1)[0])
        assert await world.send((devices[0], report), (devices[1], copied)) == ["accepted", "report-conflict"]
        assert await world.send((devices[1], copied), (devices[2], third)) == ["report-conflict", "accepted"]


def test_the_spools_defaults_are_what_the_service_uses():
    """The tests above replace the number of reports in a range; this is the one place where it stands."""
    assert Spool.__init__.__defaults__ == (spool.SPAN_REPORTS,)
