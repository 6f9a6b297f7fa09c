"""What the leader keeps as proof, for how long, and that it is gone after: receipts and enrolments."""

import asyncio
import os
import time

import pytest
from sqlalchemy import func, select

from aggregator.clock import Clock
from aggregator.errors import SettingsInvalid
from aggregator.leader import forgetting, tidying
from aggregator.leader.app import create_app
from aggregator.leader.forgetting import Forgetting
from aggregator.settings import SHORTEST_RETENTION_DAYS, LeaderSettings
from aggregator.storage.leader_tables import consent_rows, devices
from client_agent.connection import LeaderConnection
from client_agent.consenting import ConsentKeeper
from client_agent.delivering import Courier
from client_agent.enrolment import Pins, enrol
from consent.choices import grant
from consent.documents import example_facts, generate, read_facts
from consent.instants import CLOCK_SKEW_SECONDS
from consent.ledger import open_ledger
from consent.notices import notice
from consent.receipts import DAY_SECONDS, DEFAULT_VALID_DAYS, MAXIMUM_VALID_DAYS
from models.wire.enrolment import make_enrolment
from simulations.transport import InProcessServices
from tests.client_agent.world import TurnableClock, make_store

from .world import LEADER_URL, SITE, Turnable, World, in_world

START_SECONDS = 1_800_000_000
DEFAULT_DAYS = 1_095


def _clock() -> Clock:
    return Clock(wall=Turnable())


def _wait(world: World, days: float) -> None:
    world.clock.wall.seconds += days * DAY_SECONDS


async def _daily(world: World, rounds: Forgetting | None = None) -> int:
    """One daily round, to its end, by a leader that looked a day before."""
    rounds = rounds or Forgetting(world.leader_app.state.desk)
    _wait(world, -1)
    await rounds._is_due()
    _wait(world, 1)
    gone = await rounds.step()
    while rounds._left:
        gone += await rounds.step()
    return gone


async def _stored(world: World) -> tuple[set[bytes], set[bytes]]:
    """The devices, and the devices with receipts, that the leader's store holds."""
    async with world.leader_app.state.desk.database.reading() as connection:
        known = set((await connection.execute(select(devices.c.device_id))).scalars())
        proven = set((await connection.execute(select(consent_rows.c.device_id))).scalars())
    return known, proven


async def _looked(world: World, seconds: float = 10.0) -> None:
    """Wait until the running service has begun a daily round at the present time."""
    desk, deadline = world.leader_app.state.desk, time.monotonic() + seconds
    while time.monotonic() < deadline:
        async with desk.database.reading() as connection:
            if await desk.store.ledger.fact(connection, forgetting._LOOKED_AT) == str(int(world.clock.wall())).encode():
                return
        await asyncio.sleep(0.01)
    raise AssertionError("expected the service to look")


async def _enrol_again(world: World, device) -> None:
    token, key = await world.token("enrol"), world.leader_key.verify_key
    again = make_enrolment(device.key, key, token, os.urandom(16), world.clock.now_ms()).document()
    (result,) = (await world.leader.post("/v1/enrolments", json={"enrolments": [again]})).json()["results"]
    assert result["device_id"] == device.name.hex(), result


# How long


def test_the_setting_carries_out_what_the_documents_promise(tmp_path):
    """The default is the example's figure, and the notice's sentence says it."""
    facts = read_facts(example_facts())
    assert LeaderSettings.read(tmp_path).receipt_retention_days == facts.receipts_days == DEFAULT_DAYS
    made = generate(facts)
    assert f"{DEFAULT_DAYS} days after the last yes ended" in made["privacy-notice.en.md"]
    assert f"{DEFAULT_DAYS} Tage, nachdem das letzte Ja geendet hat" in made["privacy-notice.de.md"]


def test_no_retention_is_shorter_than_a_receipt_can_live(tmp_path):
    """Shorter ones are refused: a receipt whose epoch is forgotten must have run out, also by a clock that differs."""
    assert SHORTEST_RETENTION_DAYS * DAY_SECONDS > MAXIMUM_VALID_DAYS * DAY_SECONDS + CLOCK_SKEW_SECONDS
    assert LeaderSettings.read(tmp_path, receipt_retention_days=SHORTEST_RETENTION_DAYS)
    with pytest.raises(SettingsInvalid, match="receipt_retention_days"):
        LeaderSettings.read(tmp_path, receipt_retention_days=SHORTEST_RETENTION_DAYS - 1)


# What goes, and what stays


@in_world(clock=_clock())
async def test_receipts_and_devices_go_when_their_time_is_up(world):
    """A yes that was taken back, one that ran out and a device that never answered go; on the day, not before."""
    async with world.up():
        withdrawn, expired, silent = [(await world.devices(1, ("measurement",) * bool(i)))[0] for i in (1, 1, 0)]
        await world.receipts([(withdrawn, world.withdrawal(withdrawn, ("measurement",)))])
        _wait(world, DEFAULT_DAYS - 1)
        (standing,) = await world.devices(1)
        assert await _daily(world) == 0
        _wait(world, 1)
        assert await _daily(world) == 2
        assert await _stored(world) == ({expired.name, standing.name},) * 2
        _wait(world, DEFAULT_VALID_DAYS - 1)
        assert await _daily(world) == 0, "a yes that ran out is proof from then on, as long as any other"
        _wait(world, 1)
        assert await _daily(world) == 1
        assert await _stored(world) == ({standing.name},) * 2
        answers = await world.receipts([(gone, world.grant(gone, ("measurement",))) for gone in (expired, silent)])
        assert [answer["problem"]["type"].rpartition(":")[2] for answer in answers] == ["unknown-device"] * 2
    async with world.up():
        assert await _stored(world) == ({standing.name},) * 2, "the store says the same"


@in_world(clock=_clock())
async def test_a_partial_no_keeps_the_proof_of_the_rest(world):
    """What counts is the end of the last yes."""
    async with world.up():
        (device,) = await world.devices(1, ("measurement", "persona"))
        _wait(world, 100)
        await world.receipts([(device, world.withdrawal(device, ("persona",)))])
        _wait(world, DEFAULT_DAYS)
        assert await _daily(world) == 0
        _wait(world, DEFAULT_VALID_DAYS - 100)
        assert await _daily(world) == 1


@in_world(clock=_clock(), leader_options={"receipt_retention_days": SHORTEST_RETENTION_DAYS})
async def test_no_old_receipt_passes_once_its_epoch_is_forgotten(world):
    """At the shortest retention, with the longest validity and a fast clock, whoever kept the receipts gains nothing.

    The device itself has to enrol again for them to be looked at at all.
    """
    async with world.up():
        (device,) = await world.devices(1, ())
        choice = grant(
            device.consent, ("measurement",), notice=notice(SITE, "en"),
            issued_at=world.clock.now_seconds() + CLOCK_SKEW_SECONDS, valid_days=MAXIMUM_VALID_DAYS,
        )  # fmt: skip
        old = world._signed(device, choice)
        assert (await world.receipts([(device, old)]))[0]["countersignature"]
        taken_back = world.withdrawal(device, ("measurement",))
        assert (await world.receipts([(device, taken_back)]))[0]["countersignature"]
        (refused,) = await world.receipts([(device, old)])
        assert "epoch_not_after" in refused["problem"]["detail"]
        _wait(world, SHORTEST_RETENTION_DAYS)
        assert await _daily(world) == 1
        (unknown,) = await world.receipts([(device, old)])
        assert "unknown-device" in unknown["problem"]["type"]
        await _enrol_again(world, device)
        (expired,) = await world.receipts([(device, old)])
        assert "expired" in expired["problem"]["detail"]
        (harmless,) = await world.receipts([(device, taken_back)])
        assert harmless["countersignature"], "a no counts whenever it comes"
        assert await world.consenting("measurement") == 0


@in_world(clock=_clock())
async def test_a_yes_between_the_look_and_the_deletion_stands(world):
    """The last look is under the store's lock: nothing is deleted of a device that has answered since."""
    async with world.up():
        (device,) = await world.devices(1)
        _wait(world, DEFAULT_DAYS + DEFAULT_VALID_DAYS)
        rounds, yes = Forgetting(world.leader_app.state.desk), world.grant(device, ("measurement",))
        _wait(world, -1)
        await rounds._is_due()
        _wait(world, 1)
        ended = world.leader_app.state.desk.store.ended_devices

        async def slow(connection, before):
            found = await ended(connection, before)
            assert found == [device.name]
            assert (await world.receipts([(device, yes)]))[0]["countersignature"]
            return found

        world.leader_app.state.desk.store.ended_devices = slow
        assert await rounds.step() == 0
        assert await _stored(world) == ({device.name},) * 2


@in_world(clock=_clock())
async def test_a_receipt_that_is_overtaken_by_the_deletion_is_answered(world):
    """The device is known when the request comes and forgotten when its turn comes: it hears that, and no error."""
    async with world.up():
        (device,) = await world.devices(1, ())
        desk, looked, go_on = world.leader_app.state.desk, asyncio.Event(), asyncio.Event()
        join = desk.database.join

        async def slow(act):
            looked.set()
            await go_on.wait()
            return await join(act)

        desk.database.join = slow
        answering = asyncio.create_task(world.receipts([(device, world.grant(device, ("measurement",)))]))
        await looked.wait()
        _wait(world, DEFAULT_DAYS)
        assert await _daily(world) == 1
        go_on.set()
        (answer,) = await answering
        assert "unknown-device" in answer["problem"]["type"]


# While the service runs


@in_world(clock=_clock())
async def test_the_service_forgets_by_itself(world):
    """Nobody has to ask: the leader looks once a day while it runs, and after a restart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tidying, "_PAUSE_SECONDS", 0.01)
        async with world.up():
            (device,) = await world.devices(1, ())
            await _looked(world)
            _wait(world, DEFAULT_DAYS)
            await _looked(world)
        _wait(world, 0.6)
        async with world.up():
            assert await _stored(world) == ({device.name}, set()), "a day has to pass, also through a restart"
            _wait(world, 0.6)
            await _looked(world)
            deadline = time.monotonic() + 10
            while device.name in (await _stored(world))[0]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)


@in_world(clock=_clock())
async def test_a_clock_that_jumps_deletes_nothing_for_a_day(world):
    """Years ahead for less than a day, then set right: everything is still there. If it stays, the round is run."""
    async with world.up():
        (device,) = await world.devices(1)
        rounds = Forgetting(world.leader_app.state.desk)
        assert await rounds.step() == 0, "the first round of all is a day later"
        _wait(world, 1)
        assert await rounds.step() == 0
        _wait(world, 5_000)
        assert [await rounds.step() for _ in range(3)] == [0, 0, 0]
        _wait(world, -5_000)
        assert [await rounds.step() for _ in range(3)] == [0, 0, 0]
        assert await _stored(world) == ({device.name},) * 2
        _wait(world, 5_000)
        assert await rounds.step() == 0
        _wait(world, 1)
        assert await rounds.step() == 1


@in_world(clock=_clock())
async def test_a_step_is_bounded_and_the_round_reaches_everybody(world):
    """Each step looks at so many devices; the next goes on where it ended."""
    async with world.up():
        await world.devices(7, ())
        rounds = Forgetting(world.leader_app.state.desk)
        await rounds._is_due()
        _wait(world, 20)
        for _ in range(DEFAULT_DAYS // 20):
            await rounds._is_due()
            _wait(world, 20)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forgetting, "_PART", 3)
            assert [await rounds.step() for _ in range(4)] == [3, 3, 1, 0]
        async with world.leader_app.state.desk.database.reading() as connection:
            assert (await connection.execute(select(func.count()).select_from(devices))).scalar_one() == 0


# A device that comes back


def test_an_agent_that_comes_back_enrols_and_chooses_anew(tmp_path):
    """The real agent: its yes is refused once, as the leader knows it no more; enrolled again, the next yes counts."""
    world, clock = World(tmp_path, clock=_clock()), TurnableClock()
    clock.ms = START_SECONDS * 1_000
    services = InProcessServices(lambda: {"leader": create_app(world.leader_settings(), clock=world.clock)})
    with services:
        world.leader_app = services.apps["leader"]
        token = services.call(world.token("enrol", uses=2, seconds=10**9))
        leader = LeaderConnection(LEADER_URL, services.transport("leader"))
        pins = Pins(world.leader_key.verify_key, world.helper_key.verify_key, (), SITE)
        store = make_store(tmp_path / "agent")
        keeper, courier = ConsentKeeper(store, pins, clock), Courier(store, pins, clock)

        def join():
            return enrol(store, leader, pins, ["anna"], token=token, clock=clock, entropy=os.urandom)[0]

        first = join()
        keeper.grant(first.participant_id, ["measurement"])
        assert courier.deliver(leader) == 1
        days = DEFAULT_DAYS + DEFAULT_VALID_DAYS
        clock.advance(days * DAY_SECONDS)
        _wait(world, days)
        assert services.call(_daily(world)) == 1
        keeper.grant(first.participant_id, ["measurement"])
        assert courier.deliver(leader) == 0
        again = join()
        assert again == first, "the same key, the same name there: nothing here has to be made anew"
        keeper.grant(first.participant_id, ["measurement"])
        assert courier.deliver(leader) == 1
        assert services.call(world.consenting("measurement")) == 1
        store.close()


@in_world(clock=_clock())
async def test_a_forgotten_device_is_refused_until_it_enrols(world):
    """Its reports too: nothing of it is known, and an enrolment costs a token as any other."""
    async with world.up():
        (device,) = await world.devices(1, ())
        _wait(world, DEFAULT_DAYS)
        assert await _daily(world) == 1
        enrolment = make_enrolment(
            device.key, world.leader_key.verify_key, "x" * 43, os.urandom(16), world.clock.now_ms()
        )
        (refused,) = (await world.leader.post("/v1/enrolments", json={"enrolments": [enrolment.document()]})).json()[
            "results"
        ]
        assert refused["device_id"] is None
        device.consent = open_ledger(device.consent.parties)
        await _enrol_again(world, device)
        assert (await world.receipts([(device, world.grant(device, ("measurement",)))]))[0]["countersignature"]
