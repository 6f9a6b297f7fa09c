"""Several processes of the helper behind one database: each may be asked anything, and the answers are one helper's."""

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager

import httpx
import pytest

from aggregator.helper import shares
from aggregator.helper.app import create_app
from aggregator.storage.helper_tables import rounds
from models.wire.frames import SEALS_MEDIA_TYPE
from models.wire.rounds import ANSWER_TYPE, ShareAnswer
from privacy.crypto import verify_document
from privacy.crypto.requests import sign_request
from tests.frames import encode_seals

from .world import HELPER_URL, World, code, sealed, vectors


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request, tmp_path):
    """A world whose helper keeps its store in one of the two databases."""
    world = World(tmp_path)
    if request.param == "postgresql":
        world.helper_options["database_url"] = request.getfixturevalue("postgres").fresh("helper")
    return world


@asynccontextmanager
async def worker(world: World):
    """One process more: an application with memory of its own over the same store, folder and key."""
    app = create_app(world.helper_settings(), clock=world.clock, entropy=os.urandom)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HELPER_URL)
    async with app.router.lifespan_context(app), client:
        client.office = app.state.office
        yield client


def signed_batch(world: World, study, seals: list[bytes], number: int = 1) -> tuple[str, bytes, dict[str, str]]:
    """A batch as the leader sends it: path, body and headers."""
    path = f"/v1/rounds/{study.study_hash().hex()}/{number}/share"
    body = encode_seals(sorted(seals, key=lambda seal: hashlib.sha256(seal).digest()))
    now, audience = world.clock.now_seconds(), world.helper_key.verify_key.fingerprint
    headers = sign_request(world.leader_key, "POST", path, body, now, os.urandom(16), audience=audience)
    return path, body, {**headers, "content-type": SEALS_MEDIA_TYPE}


async def hand_in(world: World, client, study, seals: list[bytes], number: int = 1) -> httpx.Response:
    path, body, headers = signed_batch(world, study, seals, number)
    return await client.post(path, content=body, headers=headers)


def test_one_batch_at_two_processes_is_answered_once(world):
    """Asked at the same moment they give the same bytes: one opens and charges; another batch gets nothing."""

    async def story():
        study, computed = world.study(rounds=2), []
        async with worker(world) as one, worker(world) as other:
            world.helper = one
            seals = await sealed(world, study)
            with pytest.MonkeyPatch.context() as patch:
                compute = shares._compute
                patch.setattr(shares, "_compute", lambda *args: computed.append(args[0].worker) or compute(*args))
                answers = await asyncio.gather(*(hand_in(world, client, study, seals) for client in (one, other, one)))
            assert [answer.status_code for answer in answers] == [200] * 3
            assert len({answer.content for answer in answers}) == 1
            assert len(computed) == 1
            for client in (one, other):
                assert code(await hand_in(world, client, study, seals[1:])) == "already-answered"
                assert (await hand_in(world, client, study, seals)).content == answers[0].content
            states = []
            for client in (one, other):
                office = client.office
                async with office.database.reading() as connection:
                    await office.store.ledger.catch_up(connection, office.budget)
                states.append((office.budget.state.length, office.budget.state.head))
            assert states[0] == states[1]
            assert states[0][0] == 1

    asyncio.run(story())


def test_processes_charge_one_ledger_in_turn(world):
    """What one charged counts at the other, rows make one chain, and the next start finds nothing lost."""

    async def story():
        study = world.study(rounds=3)
        async with worker(world) as one, worker(world) as other:
            world.helper = one
            for number, client in enumerate((one, other, one), 1):
                if number == 1:
                    seals = await sealed(world, study)
                else:
                    opening = await world.opening(study, number)
                    points = zip(world.lone_devices(8), vectors(8), strict=True)
                    seals = [world.report(device, study, opening, vector).seal for device, vector in points]
                assert (await hand_in(world, client, study, seals, number)).status_code == 200
            spent = one.office.budget.spent_epsilon()
            page = await other.get("/")
            assert page.status_code == 200
            assert other.office.budget.spent_epsilon() == pytest.approx(spent)
        async with worker(world) as again:
            assert not again.office.budget.lost
            assert again.office.budget.state.length == 3
            assert again.office.budget.spent_epsilon() == pytest.approx(spent)
            states = [row["state"] for row in (await again.get("/v1/proposals")).json()]
            assert states == ["approved"], "the head of what stands is the last one as well"

    asyncio.run(story())


def test_a_request_is_replayed_at_no_other_process_and_after_no_restart(world):
    """Nonces are in the store."""

    async def story():
        study = world.study()
        async with worker(world) as one, worker(world) as other:
            world.helper = one
            path, body, headers = signed_batch(world, study, await sealed(world, study))
            assert (await one.post(path, content=body, headers=headers)).status_code == 200
            assert code(await other.post(path, content=body, headers=headers)) == "replayed"
        async with worker(world) as again:
            assert code(await again.post(path, content=body, headers=headers)) == "replayed"

    asyncio.run(story())


def test_a_process_takes_over_what_another_one_left(world):
    """One that died while it held the round is waited for until its word runs out; the answer is the marked one."""

    async def story():
        study = world.study()

        async def hold(office, milliseconds: int, by: bytes) -> None:
            until_ms = world.clock.now_ms() + milliseconds
            values = {"answering": by, "answering_until_ms": until_ms}
            await office.database.change(lambda change: change.connection.execute(rounds.update().values(**values)))

        async with worker(world) as other:
            async with worker(world) as one:
                world.helper = one
                seals = await sealed(world, study)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(shares, "_compute", _die)
                    with pytest.raises(ArithmeticError):
                        await hand_in(world, one, study, seals)
                known = await _row(other.office, study)
                assert (known.state, known.answering) == ("marked", None), "one that fails and lives lets go"
                await hold(one.office, 600, b"x" * 16)
            begun = world.clock.monotonic()
            answer = await hand_in(world, other, study, seals)
            assert answer.status_code == 200
            assert world.clock.monotonic() - begun > 0.5
            key = world.helper_key.verify_key
            statement = verify_document(ShareAnswer.model_validate_json(answer.content).answer, ANSWER_TYPE, (key,))
            assert statement["answered_at_ms"] == known.marked_at_ms
            assert (await _row(other.office, study)).answering is None
            async with other.office.database.reading() as connection:
                assert len(await other.office.store.ledger.bodies(connection, study.study_hash())) == 1

    asyncio.run(story())


def _die(*_: object):
    raise ArithmeticError("in the middle of the seals")


async def _row(office, study):
    async with office.database.reading() as connection:
        return await office.store.round(connection, study.study_hash(), 1)


def test_a_process_that_starts_leaves_the_others_work_alone(world):
    """Its tidying removes neither the spools nor the keys of rounds that another process has under way."""

    async def story():
        study = world.study()
        async with worker(world) as one:
            world.helper = one
            seals = await sealed(world, study)
            with one.office.spools.file() as path:
                path.write_bytes(b"half of a batch")
                keys = world.wrapping()
                async with worker(world) as other:
                    assert path.read_bytes() == b"half of a batch"
                    assert world.wrapping() == keys
                    assert len(keys) == 1
                    assert (await hand_in(world, other, study, seals)).status_code == 200
                assert path.exists()
            assert world.wrapping() == []

    asyncio.run(story())
