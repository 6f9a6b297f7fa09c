"""Reports' bytes in rows and in files: the same promises on both databases, and what files alone can suffer."""

import asyncio
import hashlib
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from aggregator.storage.database import Database
from aggregator.storage.leader import LeaderStore
from aggregator.storage.leader_tables import reports, rounds, studies
from aggregator.storage.report_bytes import InRows, report_bytes
from aggregator.storage.report_files import InFiles
from privacy.secure_sum import BatchRefused
from tests.crash_points import Steps, deaths, note, noted

ROUND, OTHER = 1, 2


def report(number: int, round_id: int = ROUND, masked_bytes: int = 40) -> dict:
    """A report as the leader stores it; its id is its seal's SHA-256."""
    seal = b"seal %d of %d" % (number, round_id)
    return {
        "round_id": round_id,
        "device_id": number.to_bytes(16, "big"),
        "report_id": hashlib.sha256(seal).digest(),
        "signature": b"s" * 64,
        "seal": seal,
        "masked": number.to_bytes(4, "big") * (masked_bytes // 4),
    }


async def begin(change) -> None:
    """A study with two rounds under way."""
    study = {"study_hash": b"h" * 32, "study_id": "one", "body": b"", "state": "running", "detail": ""}
    await change.connection.execute(insert(studies).values(proposed_at_ms=1, log_index=0, **study))
    for number in (ROUND, OTHER):
        row = {"round_id": number, "study_hash": b"h" * 32, "number": number, "state": "open", "detail": ""}
        more = {"model_hash": b"m", "context": bytes([number]) * 32, "opening": "", "closes_at_ms": 1}
        await change.connection.execute(insert(rounds).values(**row, **more))


@asynccontextmanager
async def opened(url: str, kept, *, fresh: bool = True):
    """A leader's store that keeps the bytes in one of the two ways."""
    database, store = Database(url), LeaderStore(report_bytes=kept)
    try:
        await database.open("leader")
        if fresh:
            await database.change(begin)
        yield database, store
    finally:
        await database.close()


async def take(database: Database, store: LeaderStore, *items: dict) -> None:
    await database.join(lambda change: store.add_reports(change, items))


async def read(database: Database, store: LeaderStore, round_id: int = ROUND) -> tuple[list, list]:
    """All seals, and all (id, masked vector), of a round."""
    async with database.reading() as connection:
        seals = [seal async for chunk in store.seal_chunks(connection, round_id) for seal in chunk]
        masked = [pair async for chunk in store.masked_chunks(connection, round_id, 40) for pair in chunk]
    return seals, masked


def expected(*items: dict) -> tuple[list, list]:
    ordered = sorted(items, key=lambda item: item["report_id"])
    return [item["seal"] for item in ordered], [(item["report_id"], item["masked"]) for item in ordered]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "reports"


@pytest.mark.parametrize("where", ["database", "directory"])
def test_what_was_kept_comes_back_in_order_until_it_is_taken_back_or_over(fresh, folder, where):
    """Of two workers, in chunks, by round; a withdrawal takes one report, the end of a round takes all of its."""

    async def story():
        url, items = fresh("leader"), [report(number) for number in range(300)]
        async with (
            opened(url, report_bytes(where, folder)) as one,
            opened(url, report_bytes(where, folder), fresh=False) as other,
        ):
            await asyncio.gather(*(take(*one, item) for item in items[:70]))
            await take(*other, *items[70:], report(1, OTHER))
            assert await read(*one) == await read(*other) == expected(*items)
            assert await read(*one, OTHER) == expected(report(1, OTHER))
            database, store = other
            gone = items.pop(3)
            assert await database.change(
                lambda change: store.take_back(change, ROUND, gone["device_id"], expected=True)
            )
            assert await read(*one) == expected(*items)
            assert gone["masked"] not in contents(folder)
            assert gone["seal"] not in contents(folder)
            await database.change(lambda change: store.drop_reports(change.connection, ROUND))
            await store.report_bytes.remove({ROUND})
            assert await read(*one) == ([], [])
            assert await read(*other, OTHER) == expected(report(1, OTHER))
            assert store.report_bytes.rounds() == ({OTHER} if where == "directory" else set())

    asyncio.run(story())


def contents(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("before", ["database", "directory"])
def test_the_setting_may_change_while_a_round_is_under_way(sqlite, folder, before):
    """What was kept in the one way is read beside what is kept in the other."""

    async def story():
        after = {"database": "directory", "directory": "database"}[before]
        async with opened(sqlite, report_bytes(before, folder)) as parts:
            await take(*parts, report(1), report(2))
        async with opened(sqlite, report_bytes(after, folder), fresh=False) as parts:
            await take(*parts, report(3))
            assert await read(*parts) == expected(report(1), report(2), report(3))
            async with parts[0].reading() as connection:
                query = select(reports.c.segment).where(reports.c.report_id == report(3)["report_id"])
                assert ((await connection.execute(query)).scalar_one() is None) == (after == "database")

    asyncio.run(story())


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path / 'store.sqlite3'}"


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def flip_seal(path):
    path.write_bytes(b"?" + path.read_bytes()[1:])


def exchange(path):
    shorter = path.read_bytes()
    path.write_bytes(shorter[53:] + shorter[:53])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(os.unlink, "missing"), (shorten, "short"), (flip, "damaged"), (flip_seal, "damaged"), (exchange, "damaged")],
)
def test_other_bytes_than_those_taken_in_are_refused(sqlite, folder, damage, reason):
    """Missing, cut, changed or in each other's place: the batch is refused for a reason that says so."""

    async def story():
        async with opened(sqlite, InFiles(folder)) as parts:
            await take(*parts, report(1), report(2))
            (path,) = (folder / str(ROUND)).iterdir()
            damage(path)
            with pytest.raises(BatchRefused, match=reason):
                await read(*parts)

    asyncio.run(story())


def test_a_row_that_names_another_file_is_not_followed(sqlite, folder):
    """What stands in the database opens no file outside of the folder."""

    async def story():
        async with opened(sqlite, InFiles(folder)) as (database, store):
            await take(database, store, report(1))
            (path,) = (folder / str(ROUND)).iterdir()
            path.rename(folder.parent / path.name)
            name = f"../../{path.name}"[:32]
            await database.change(lambda change: change.connection.execute(reports.update().values(segment=name)))
            with pytest.raises(BatchRefused, match="names no file"):
                await read(database, store)

    asyncio.run(story())


def test_bytes_are_on_the_disk_before_the_commit_once_for_the_whole_group(sqlite, folder, monkeypatch):
    """However many requests share a transaction, their file is flushed once; if that fails, none of them is stored."""
    events, disk = [], {"full": False}
    fsync = os.fsync

    def counted(descriptor):
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if path.startswith(f"{folder}/{ROUND}/"):
            events.append(path)
            if disk["full"]:
                raise OSError(28, "no space")
        fsync(descriptor)

    async def story():
        async with opened(sqlite, InFiles(folder)) as (database, store):
            database.observer = type("", (), {"committed": lambda _, _seconds, changes: events.append(changes)})()
            await take(database, store, report(0))
            events.clear()
            monkeypatch.setattr(os, "fsync", counted)
            await asyncio.gather(*(take(database, store, report(number)) for number in range(1, 40)))
            files, commits = events[::2], events[1::2]
            assert sum(commits) == 39
            assert len(commits) <= 2
            assert len(set(files)) == 1
            disk["full"] = True
            failed = await asyncio.gather(
                *(take(database, store, report(number)) for number in (50, 51)), return_exceptions=True
            )
            assert [type(error) for error in failed] == [OSError] * 2
            disk["full"] = False
            await take(database, store, report(51))
            assert await read(database, store) == expected(*(report(number) for number in [*range(40), 51]))
            assert len(list((folder / str(ROUND)).iterdir())) == 2, "nothing is appended to a file that did not flush"

    asyncio.run(story())


def test_no_crash_point_acknowledges_a_report_whose_bytes_are_not_there(tmp_path):
    """Killed around every write, flush and commit: each row reads, each acknowledged report has one, life goes on."""
    answered = "answered.txt"

    def url(folder) -> str:
        return f"sqlite+aiosqlite:///{folder / 'store.sqlite3'}"

    async def begun():
        async with opened(url(tmp_path / "origin"), InRows()):
            pass

    def prepare(attempt: int):
        return Path(shutil.copytree(tmp_path / "origin", tmp_path / str(attempt)))

    def work(folder, steps: Steps) -> None:
        async def run():
            async with opened(url(folder), InFiles(folder / "reports"), fresh=False) as (database, store):
                for name in ("fsync", "pwrite", "mkdir"):
                    steps.around(os, name)
                steps.around(InFiles, "_flush_all")
                for number in (1, 2):
                    await take(database, store, report(number), report(10 + number))
                    steps.reach()
                    note(folder / answered, str(number))

        asyncio.run(run())

    async def afterwards(folder) -> tuple[int, int]:
        left = [int(line) for line in noted(folder / answered)]
        async with opened(url(folder), InFiles(folder / "reports"), fresh=False) as (database, store):
            seals, masked = await read(database, store)
            for number in left:
                assert {report(number)["seal"], report(10 + number)["seal"]} <= set(seals)
            assert len(masked) == len(seals)
            assert len(seals) in {2 * len(left), 2 * len(left) + 2}
            await take(database, store, report(5))
            assert len((await read(database, store))[0]) == len(seals) + 1
        return len(left), len(seals)

    (tmp_path / "origin").mkdir()
    asyncio.run(begun())
    seen = {asyncio.run(afterwards(folder)) for _, folder in deaths(prepare, work)}
    assert {(0, 0), (1, 2), (2, 4)} < seen, "also killed after a commit that nobody was told of"


def test_in_rows_refuses_a_row_without_bytes():
    """A directory that is gone with the setting is said, and no empty vector is summed."""

    async def story():
        row = type("", (), {"seal": None, "masked": None})()
        for part in (InRows().seals, InRows().masked):
            with pytest.raises(BatchRefused, match="directory"):
                await part([row])

    asyncio.run(story())
