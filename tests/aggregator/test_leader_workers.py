"""Several workers of the leader behind one database: asked anywhere, they answer as one; one runs the studies."""

import asyncio
import os
import time
from contextlib import asynccontextmanager, suppress

import httpx
import numpy as np
import pytest

from aggregator.errors import LeaseLost
from aggregator.leader.app import create_app
from aggregator.leader.totals import from_stored
from aggregator.storage.leader_tables import rounds
from aggregator.storage.leases import read_lease
from models.wire.rounds import sum_context
from privacy.secure_sum import batch_digest, encode

from .world import LEADER_URL, World, noise, vectors

LIFE_SECONDS = 0.5


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request, tmp_path):
    """A world whose leader keeps its store in one of the two databases, and beside the second its reports in files."""
    world = World(tmp_path, leader_options={"lease_seconds": LIFE_SECONDS})
    if request.param == "postgresql":
        world.leader_options["database_url"] = request.getfixturevalue("postgres").fresh("leader")
        world.leader_options["report_storage"] = "directory"
    return world


class Worker:
    """One process more: an application with memory of its own over the same store, folder and key."""

    def __init__(self, world: World, secret: bytes) -> None:
        self.app = create_app(
            world.leader_settings(), helper_transport=world.line, clock=world.clock, entropy=lambda _: secret
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=LEADER_URL)
        self.context = self.app.router.lifespan_context(self.app)
        self.dead = self.left = False

    @property
    def desk(self):
        return self.app.state.desk

    async def holds(self) -> bool:
        """Whether it runs the studies, by the store's word."""
        async with self.desk.database.reading() as connection:
            with suppress(LeaseLost):
                await self.desk.duty.require(connection)
                return True
        return False

    def fall_silent(self) -> asyncio.Event:
        """The process is stopped in the middle of whatever it does; set the event to let it go on."""
        awake, database = asyncio.Event(), self.desk.database
        for name in ("change", "join", "_run_group"):
            setattr(database, name, _after(awake, getattr(database, name)))
        self.desk.follower.look = _after(awake, self.desk.follower.look)
        return awake

    async def leave(self) -> None:
        """An orderly end."""
        self.left = True
        await self.context.__aexit__(None, None, None)

    async def die(self) -> None:
        """As after kill -9: what it was doing stops, nothing is handed back, the lock on its file is gone."""
        self.awake = self.fall_silent()
        for task in self.tasks:
            task.cancel()
        await self.desk.running.close()
        os.close(self.desk.duty._sign._descriptor)
        self.dead = True


async def _nothing() -> None:
    """A dead worker hands nothing back."""


def _after(event, act):
    async def later(*arguments):
        await event.wait()
        return await act(*arguments)

    return later


@asynccontextmanager
async def two(world: World):
    """Two workers; the first one runs the studies. ``world.leader`` asks the first."""
    one, other = Worker(world, world.leader_secret), Worker(world, bytes(32))
    async with world.helper_up():
        before = asyncio.all_tasks()
        await one.context.__aenter__()
        one.tasks = [task for task in asyncio.all_tasks() - before if task.get_name() in _TASKS]
        await other.context.__aenter__()
        world.leader, world.leader_app = one.client, one.app
        assert [await worker.holds() for worker in (one, other)] == [True, False]
        try:
            yield one, other
        finally:
            for worker in (other, one):
                await worker.client.aclose()
                if worker.dead:  # what it was doing is over for everybody else; the test puts its things away
                    worker.desk.duty.end = _nothing
                    worker.awake.set()
                if not worker.left:
                    await worker.leave()


_TASKS = ("following the store", "tidying up")


async def until(condition, seconds: float = 10.0) -> None:
    """Wait for something that becomes true."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not become true"
        await asyncio.sleep(0.01)


async def send(world: World, worker: Worker, *items) -> list[str]:
    """Reports to one worker."""
    world.leader = worker.client
    return await world.send(*items)


def test_every_worker_takes_every_request(world):
    """Enrolled at one, consent at the other, reports at both, one withdrawn at the other: one round, counted once."""

    async def story():
        async with two(world) as (one, other):
            world.leader, world.leader_app = other.client, other.app
            devices = await world.devices(8)
            study = world.study()
            await world.run(study)  # at the worker that does not run it
            _, opening = await world.work()
            boards = [worker.desk.board for worker in (one, other)]
            await until(_same(boards))
            items = [
                (device, world.report(device, study, opening, vector))
                for device, vector in zip(devices, vectors(8), strict=True)
            ]
            assert await send(world, one, *items[:4]) == ["accepted"] * 4
            assert await send(world, other, *items[3:6]) == ["accepted"] * 3
            world.leader = other.client
            (answer,) = await world.receipts([(devices[0], world.withdrawal(devices[0], ("measurement",)))])
            assert answer["dropped_reports"] == 1, "it was taken in at the other worker"
            assert await send(world, one, items[0]) == ["no-consent"]
            assert await send(world, one, *items[6:]) == ["accepted"] * 2
            account = await world.until(study, "finished")
            assert [(item["state"], item["reports"]) for item in account["rounds"]] == [("released", 7)]
            assert await send(world, other, items[1]) == ["round-closed"]
            await until(_same(boards))

    asyncio.run(story())


def _same(boards):
    """The same bytes for everyone, whichever worker is asked."""

    async def same() -> bool:
        return boards[0].body == boards[1].body

    return same


def test_a_withdrawal_at_one_worker_beats_the_report_on_its_way_to_another(world):
    """The report comes second, at a worker that has not heard of the withdrawal: not let in, nor under a new yes."""

    async def story():
        async with two(world) as (one, other):
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            late = world.report(devices[0], study, opening, vectors(1)[0])
            old_epoch = devices[0].consent.epoch
            one.desk.follower.look = _after(asyncio.Event(), one.desk.follower.look)  # it hears nothing by itself
            world.leader = other.client
            await world.receipts([(devices[0], world.withdrawal(devices[0], ("measurement",)))])
            world.leader = one.client
            assert await world.send((devices[0], late), epoch=old_epoch) == ["no-consent"]
            world.leader = other.client
            await world.receipts([(devices[0], world.grant(devices[0], ("measurement",)))])
            assert await send(world, one, (devices[0], late)) == ["round-closed"]

    asyncio.run(story())


def test_a_killed_workers_round_goes_on_within_seconds(world):
    """Charged, and then the worker dies: the other one releases every report once, with the noise that was stored."""

    async def story():
        async with two(world) as (one, other):
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            items = [
                (device, world.report(device, study, opening, vector))
                for device, vector in zip(devices, vectors(6), strict=True)
            ]
            assert set(await send(world, one, *items[:3])) == {"accepted"}
            world.line.cut = True
            assert set(await send(world, other, *items[3:])) == {"accepted"}
            await until(lambda: _is(other, "charged"))
            await one.die()
            started = time.monotonic()
            world.line.cut = False
            world.leader = other.client
            account = await world.until(study, "finished")
            assert time.monotonic() - started < 5
            assert len(account["charges"]) == 1
            row = await _row(other)
            assert (row.reports, row.opened) == (6, 6)
            released = from_stored(row.total, study.plan.dimension)
            np.testing.assert_array_equal(released, _expected(world, study, opening, [item for _, item in items]))

    asyncio.run(story())


def _expected(world: World, study, opening, reports) -> np.ndarray:
    """The sum, the helper's noise, and the noise of the worker that charged the round, on the grid."""
    params = study.plan.parameters()
    context = sum_context(study, opening.round, bytes.fromhex(opening.model_hash))
    batch = batch_digest(context, sorted(report.report_id for report in reports))
    servers = ((world.leader_secret, "leader"), (world.helper_secret, "helper"))
    drawn = sum(noise(secret, server, batch, study) for secret, server in servers)
    return drawn + sum(encode(vector, params) for vector in vectors(len(reports)))


async def _row(worker: Worker):
    async with worker.desk.database.reading() as connection:
        return (await connection.execute(rounds.select())).one_or_none()


async def _is(worker: Worker, state: str) -> bool:
    row = await _row(worker)
    return row is not None and row.state == state


def test_a_worker_that_was_paused_changes_nothing_when_it_wakes_up(world):
    """Its lease was taken meanwhile: closing the round, charging it and ending the study are the other's alone."""

    async def story():
        async with two(world) as (one, other):
            devices = await world.devices(6)
            study = world.study()
            await world.run(study)
            _, opening = await world.work()
            items = [
                (device, world.report(device, study, opening, vector))
                for device, vector in zip(devices, vectors(6), strict=True)
            ]
            awake = one.fall_silent()
            assert set(await send(world, other, *items)) == {"accepted"}
            await asyncio.sleep(LIFE_SECONDS / 3)
            assert await _is(other, "open"), "nobody else closes it while the lease may be held"
            await until(other.holds)
            world.leader = other.client
            account = await world.until(study, "finished")
            async with other.desk.database.reading() as connection:
                fence = (await read_lease(connection)).fence
            awake.set()
            await until(_stood_down(one))
            assert (await other.client.get(f"/v1/studies/{study.study_id}")).json() == account
            assert await other.holds()
            async with other.desk.database.reading() as connection:
                assert (await read_lease(connection)).fence == fence

    asyncio.run(story())


def _stood_down(worker: Worker):
    async def condition() -> bool:
        return not worker.desk.duty.held and not worker.desk.running._tasks

    return condition


def test_a_stop_reaches_every_board_and_the_duty_is_handed_over(world):
    """A stop that one worker hears is told by both. At its orderly end nobody waits for its lease to run out."""

    async def story():
        world.leader_options["lease_seconds"] = 600.0
        async with two(world) as (one, other):
            study = world.study()
            await world.devices(6)
            await world.run(study)
            await world.work()
            assert (await world.decide(study, "stop")).status_code == 201
            await world.until(study, "stopped")
            for worker in (one, other):
                await until(lambda worker=worker: _tells_a_stop(worker))
            await one.leave()
            await until(other.holds, 3.0)

    asyncio.run(story())


async def _tells_a_stop(worker: Worker) -> bool:
    return len((await worker.client.get("/v1/work")).json()["stopped"]) == 1
