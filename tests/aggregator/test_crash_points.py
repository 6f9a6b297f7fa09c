"""A service's ledger, killed at every statement, commit and write of its mirror."""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from aggregator.clock import Clock
from aggregator.errors import StoreCorrupt
from aggregator.storage.database import Database
from aggregator.storage.helper import HelperStore
from aggregator.storage.mirror import MIRROR_FILE, HeadMirror
from privacy.accounting import Contract, can_pay
from tests.crash_points import Steps, deaths, note, noted

from .world import World

CONTRACT = Contract(8.0, 1e-6, (4, 6))
RELEASED = "released.txt"
ROUNDS = 3


@asynccontextmanager
async def service(folder: Path):
    """What a service does with its ledger at a start; yields database, store and budget."""
    database, store = Database(f"sqlite+aiosqlite:///{folder / 'store.sqlite3'}"), HelperStore()
    mirror = HeadMirror(folder / MIRROR_FILE)
    try:
        await database.open("helper")
        budget = await database.change(lambda change: store.ledger.load(change, CONTRACT, "helper", Clock(), mirror))
        yield database, store, budget
    finally:
        await database.close()


async def release(folder: Path, study, number: int, database, store, budget) -> None:
    """A round: charge durably, then let something leave."""

    async def act(change):
        charged = budget.charge(study, number, budget.price(study), "approval")
        await store.ledger.append(change, charged, study.study_hash())
        change.then(lambda: budget.settle(charged))

    await database.change(act)
    note(folder / RELEASED, str(number))


def watch(steps: Steps) -> None:
    """Make a point around each statement and commit, and around and within each write of the mirror."""
    event.listen(Engine, "before_cursor_execute", lambda *_: steps.reach())
    event.listen(Engine, "after_cursor_execute", lambda *_: steps.reach())
    steps.around(DefaultDialect, "do_commit")
    steps.around(HeadMirror, "_write")
    steps.around(os, "fsync")


def fresh_copies(origin: Path):
    """Each attempt on a fresh copy of the same folder."""

    def prepare(attempt: int) -> Path:
        shutil.rmtree(origin.with_name(f"attempt-{attempt - 1}"), ignore_errors=True)
        return Path(shutil.copytree(origin, origin.with_name(f"attempt-{attempt}")))

    return prepare


@pytest.fixture
def scene(tmp_path):
    """A study, and a service's folder with a migrated, empty store."""
    study = World(tmp_path / "world").study(rounds=ROUNDS + 1)
    (tmp_path / "origin").mkdir()

    async def begin():
        async with service(tmp_path / "origin") as (_, _, budget):
            return budget.price(study)  # dp-accounting is loaded once, before the first fork

    asyncio.run(begin())
    return study, tmp_path / "origin"


def test_no_crash_point_releases_without_a_row_or_reopens_budget(scene):
    """Wherever it dies: the rows verify, what left has its row, no charge is lost or doubled, and life goes on."""
    study, origin = scene

    def work(folder: Path, steps: Steps) -> None:
        async def run():
            async with service(folder) as parts:
                watch(steps)
                for number in range(1, ROUNDS + 1):
                    await release(folder, study, number, *parts)

        asyncio.run(run())

    async def afterwards(folder: Path, step: int) -> int:
        left = [int(line) for line in noted(folder / RELEASED)]
        async with service(folder) as (database, store, budget):
            assert not budget.lost, step
            rounds = budget.state.charged.get(study.study_id, (1, 1))
            assert rounds[0] == 1, step
            assert len(left) <= rounds[1] - 1 <= len(left) + 1, step
            assert budget.state.length == rounds[1] - 1
            await release(folder, study, ROUNDS + 1, database, store, budget)
            length = budget.state.length
        async with service(folder) as (_, _, budget):
            assert not budget.lost
            assert budget.state.length == length
        return len(left)

    seen = {asyncio.run(afterwards(folder, step)) for step, folder in deaths(fresh_copies(origin), work)}
    assert seen == set(range(ROUNDS + 1))


def test_no_crash_point_whitewashes_a_loss(scene):
    """While a restored store is found out and its loss recorded, no death gives the budget back."""
    study, origin = scene

    async def two_rounds():
        async with service(origin) as parts:
            await release(origin, study, 1, *parts)
            backup = (origin / "store.sqlite3").read_bytes()
            wal = (origin / "store.sqlite3-wal").read_bytes()
            await release(origin, study, 2, *parts)
        (origin / "store.sqlite3").write_bytes(backup)
        (origin / "store.sqlite3-wal").write_bytes(wal)

    asyncio.run(two_rounds())

    def work(folder: Path, steps: Steps) -> None:
        async def run():
            watch(steps)
            async with service(folder):
                pass

        asyncio.run(run())

    async def afterwards(folder: Path, step: int) -> None:
        async with service(folder) as (_, _, budget):
            assert not can_pay(budget.state, budget.price(study), budget._times()[0]), step
            first, *losses = [active.purpose for active in budget.state.active]
            assert first == "measurement", step
            # Killed before the mirror learnt of it, the loss is found and recorded once more: that costs nothing.
            assert losses in (["ledger lost"], ["ledger lost"] * 2), step

    for step, folder in deaths(fresh_copies(origin), work):
        asyncio.run(afterwards(folder, step))
    assert step > 20


def test_a_changed_byte_is_named_at_the_start(scene):
    """The operator's line names the row and the byte, of the last row too, which only the mirror vouches for."""
    study, origin = scene

    async def tamper(index: int, offset: int):
        async with service(origin) as (database, *_):

            async def act(change):
                query = text("SELECT body FROM ledger_rows WHERE row_index = :i")
                body = bytearray((await change.connection.execute(query, {"i": index})).scalar_one())
                body[offset] ^= 2
                edit = text("UPDATE ledger_rows SET body = :body WHERE row_index = :i")
                await change.connection.execute(edit, {"body": bytes(body), "i": index})

            await database.change(act)

    async def three_rounds():
        async with service(origin) as parts:
            for number in range(1, ROUNDS + 1):
                await release(origin, study, number, *parts)

    async def start():
        async with service(origin):
            pass

    asyncio.run(three_rounds())
    original = {path: path.read_bytes() for path in origin.iterdir()}
    for index, offset, field in ((0, 100, "costs"), (1, 20, "previous digest"), (2, 43, "signed time")):
        asyncio.run(tamper(index, offset))
        with pytest.raises(StoreCorrupt, match=rf"ledger row {index}, byte {offset} \({field}\): was changed"):
            asyncio.run(start())
        for path in origin.iterdir():
            path.unlink()
        for path, content in original.items():
            path.write_bytes(content)
    asyncio.run(start())
