"""A leader whose log is shorter than what the helper saw; and what the privacy office says, in log and work."""

from __future__ import annotations

import asyncio

import pytest

from aggregator.clock import Clock
from aggregator.commands import logs, tokens
from aggregator.errors import LogHeldBack, StoreCorrupt
from aggregator.leader.hearing import SLOWEST_SECONDS, Paces
from aggregator.storage.backup import mark
from aggregator.storage.database import Database
from models.wire.message import from_base64, to_base64

from .world import Turnable, code, in_world, vectors


async def log_of(world) -> tuple[str, list[bytes]]:
    entries = (await world.leader.get("/v1/log/entries?count=1000")).json()["entries"]
    newest = (await world.leader.get("/v1/log/checkpoint")).json()["checkpoint"]
    return newest, [from_base64(item) for item in entries]


async def decisions(world) -> list[bytes]:
    found = [entry.split(b"\0", 1) for entry in (await log_of(world))[1]]
    return [body for name, body in found if name == b"decision"]


@in_world(clock=Clock(wall=Turnable()))
async def test_a_leader_with_a_shorter_log_appends_nothing_until_it_is_whole(world):
    """A store of yesterday, started before its entries are back: no entry, no step of a study; then it goes on."""
    store = world.folder / "leader" / "store.sqlite3"
    async with world.helper_up():
        study = world.study()
        async with world.leader_up():
            crowd = await world.devices(5)
            await world.propose(study)
            await world.decide(study)
            plan = {"starts_at_ms": world.clock.now_ms() + 60_000}
            path, headers = f"/v1/studies/{study.study_id}/schedule", await world.bearer("analyst")
            assert (await world.leader.post(path, json=plan, headers=headers)).status_code == 202
        yesterday = store.read_bytes()
        world.clock.wall.seconds += 61
        async with world.leader_up():
            await world.work()
            newest, entries = await log_of(world)
        store.write_bytes(yesterday)
        async with world.leader_up() as service:
            size = service.state.desk.ledger_log.size
            assert size < len(entries)
            assert code(await world.propose(world.study("later"))) == "log-unproven"
            await asyncio.sleep(0.5)
            account = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()
            assert (account["state"], account["rounds"]) == ("scheduled", [])
            assert service.state.desk.ledger_log.size == size
        with pytest.raises(LogHeldBack):
            await tokens._revoke(world.leader_settings(), await made_token(world))
        saved = "\n".join([newest, *map(to_base64, entries)])
        assert await logs.put_back(world.leader_settings(), saved) == len(entries) - size
        async with world.leader_up():
            _, opening = await world.work()
            await world.send(*[(d, world.report(d, study, opening, v)) for d, v in zip(crowd, vectors(5), strict=True)])
            await world.until(study, "finished")
            assert (await log_of(world))[1][: len(entries)] == entries


async def made_token(world) -> str:
    """The number of a token that a test made."""
    from aggregator.storage.tokens import create_token

    database = Database(world.leader_settings().url())
    await database.open("leader")
    now_ms = world.clock.now_ms()
    text = await database.change(
        lambda change: create_token(change.connection, "enrol", now_ms, now_ms + 1_000, uses=None)
    )
    async with database.reading() as connection:
        row = (await tokens._token_store(world.leader_settings()).all(connection))[-1]
    await database.close()
    assert text
    return row.token_id


@in_world()
async def test_a_marked_leader_asks_the_helper_before_it_appends(world):
    """While the helper does not answer nothing is appended, not even from the command line; its word ends that."""
    async with world.helper_up():
        async with world.leader_up():
            await world.run(world.study())
            size = len((await log_of(world))[1])
        mark(world.folder / "leader")
        with pytest.raises(StoreCorrupt, match="start the leader first"):
            await tokens._revoke(world.leader_settings(), await made_token(world))
        world.line.cut = True
        async with world.leader_up() as service:
            assert code(await world.propose(world.study("later"))) == "log-unproven"
            assert service.state.desk.ledger_log.size == size
            world.line.cut = False
            for _ in range(100):
                if (await world.propose(world.study("later"))).status_code == 201:
                    break
                await asyncio.sleep(0.05)
            assert (await log_of(world))[1][size:]


@in_world()
async def test_a_decision_is_heard_although_nobody_starts_the_study(world):
    """A refusal, an approval and a stop are in the log, each once, without a request of an analyst's."""
    async with world.up():
        refused, stopped = world.study(), world.study("other")
        for study in (refused, stopped):
            await world.propose(study)
        await world.decide(refused, "refuse")
        await world.decide(stopped)
        await world.until(refused, "refused")
        await world.until(stopped, "approved")
        await world.decide(stopped, "stop")
        await world.until(stopped, "stopped")
        assert len(await decisions(world)) == 3
        assert len((await world.leader.get("/v1/work")).json()["stopped"]) == 1


@in_world()
async def test_a_study_is_stopped_by_the_officers_word_alone(world):
    """The helper says stopped, and its word cannot be read: the round is over, the study is not, until it can be."""
    async with world.up():
        study, crowd = world.study(rounds=2), await world.devices(5)
        await world.run(study)
        _, opening = await world.work()
        world.line.lose_answers_to = "/v1/decisions/"
        await world.decide(study, "stop")
        items = [(d, world.report(d, study, opening, v)) for d, v in zip(crowd, vectors(5), strict=True)]
        await world.send(*items)
        await world.until_rounds(study, "abandoned")
        await asyncio.sleep(0.3)  # time enough to end the study, which needs the document
        account = (await world.leader.get(f"/v1/studies/{study.study_id}")).json()
        assert account["state"] == "running"
        world.line.lose_answers_to = ""
        await world.until(study, "stopped")
        assert len(await decisions(world)) == 2
        assert len((await world.leader.get("/v1/work")).json()["stopped"]) == 1
        entries = [entry for entry in (await log_of(world))[1] if entry.startswith(b"state")]
        assert len(entries) == 1, "started; no step of the leader's says stopped"


def test_questions_grow_rarer_and_are_never_many_at_once():
    """Forty studies: twenty at a time; one that nothing happens to is asked about once a minute in the end."""
    from types import SimpleNamespace

    rows = [SimpleNamespace(study_hash=bytes([number]), state="proposed") for number in range(40)]
    paces = Paces(1.0)
    assert [len(paces.due(rows, 0.0)) for _ in range(3)] == [20, 20, 0]
    lone, paces, times, now = rows[:1], Paces(1.0), [], 0.0
    while now < 600:
        if paces.due(lone, now):
            times.append(now)
        now += 0.5
    assert times[:4] == [0.0, 1.0, 3.0, 7.0]
    assert times[-1] - times[-2] == SLOWEST_SECONDS
    lone[0].state = "approved"
    assert paces.due(lone, now) == lone
