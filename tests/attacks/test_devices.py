"""A hostile leader against real agents: its own key and approvals, models to measure, coins and errors to watch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client_agent.federation import federation as shell
from client_agent.federation import trust
from client_agent.federation.contribution import Slots
from models.wire.rounds import model_hash, sum_context
from privacy.crypto import SealPrivateKey
from privacy.secure_sum import LeaderSum, encode, make_report, unmask
from privacy.secure_sum.masking import expand_mask
from privacy.secure_sum.reports import SealedPayload, seal_info
from tests.attacks.hostile import Loot
from tests.client_agent.world import World, federate, make_store, populate

VECTOR = np.array([0.5, 0.25, 0.0, 0.5])
ALWAYS = {"plan": {"sampling_rate": 1.0}}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(tmp_path):
    opened = make_store(tmp_path / "agent")
    yield opened
    opened.close()


def take_part(world: World, federation, vector: np.ndarray | None = VECTOR) -> int:
    """Poll, reserve, flip, answer, send; returns how many heads there were."""
    heads = []
    for found in federation.open_rounds():
        reserved = federation.reserve_all(found)
        heads = federation.flip_all(reserved)
        for head in heads:
            federation.answer(head, federation.encode_answer(found, vector))
        federation.finalise(found, reserved)
    world.clock.advance(9.5)
    federation.send_due()
    return len(heads)


def read(world: World) -> np.ndarray | None:
    """The first report that arrived, opened by whoever holds its round's private key; None if none came."""
    if not world.reports:
        return None
    report = next(iter(world.reports.values()))
    params, context = world.rounds[report.context]
    payload = SealedPayload.parse(world.round_keys[report.context].open(report.seal, seal_info(context)))
    received = LeaderSum(params)
    received.add(report.masked)
    bits = params.modulus_bits
    words = (received.total - expand_mask(payload.seed, params, context)) & np.uint64(2**bits - 1)
    signed = words.astype(np.int64)
    signed[signed >= 2 ** (bits - 1)] -= 2**bits
    return signed


def victims(world: World) -> np.ndarray:
    return encode(VECTOR, world.study(**ALWAYS).plan.parameters())


def own_key(world: World, store, **study) -> Loot:
    """The leader makes the round's key itself and signs the opening: then every seal is for the leader to open."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study(**ALWAYS, **study), opener=world.leader)
    take_part(world, federation)
    return Loot(tuple(federation.refused.values()), read(world))


def trusting(monkeypatch, **changes) -> None:
    """Agents whose pins are not what the person compared out of band."""
    pins = World.pins.fget
    monkeypatch.setattr(World, "pins", property(lambda self: replace(pins(self), **changes)))


def test_the_leaders_own_key(world, store, tmp_path, monkeypatch):
    """A key that came through the leader only is refused. An agent that took it would send its vector in clear."""
    assert own_key(world, store) == Loot(("opening",))
    other = make_store(tmp_path / "other")
    named = own_key(World(leader=world.leader), other, helper_key=world.leader.verify_key.raw.hex())
    assert named == Loot(("opening",))
    other.close()
    trusting(monkeypatch, helper_key=world.leader.verify_key)
    fooled, deceived = World(leader=world.leader), make_store(tmp_path / "fooled")
    loot = own_key(fooled, deceived, helper_key=world.leader.verify_key.raw.hex())
    np.testing.assert_array_equal(loot.vector, victims(fooled))
    deceived.close()


def no_approval(world: World, store) -> Loot:
    """A study that no officer has seen, approved with the leader's key."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study(**ALWAYS), by=world.leader)
    take_part(world, federation)
    return Loot(tuple(federation.refused.values()), read(world))


def test_a_forged_approval(world, store, tmp_path, monkeypatch):
    """Only a pinned officer approves. An agent that took the leader's word would answer whatever it asks."""
    assert no_approval(world, store) == Loot(("approval",))
    trusting(monkeypatch, officers=(world.leader.verify_key,))
    careless = make_store(tmp_path / "careless")
    unseen = World(leader=world.leader)
    np.testing.assert_array_equal(no_approval(unseen, careless).vector, victims(unseen))
    careless.close()


def made_to_measure(world: World, store, *, serve: bytes) -> Loot:
    """The leader serves one person another model than the opening names, to see how its answer changes."""
    populate(world, store, 1)
    federation = federate(world, store)
    model = np.zeros(4, dtype="<f4").tobytes()
    item = world.open_round(world.study(**ALWAYS), model=model)
    world.models = dict.fromkeys(world.models, serve)
    try:
        take_part(world, federation)
    finally:
        assert item.study.study_hash() in world.rounds
    return Loot(tuple(federation.refused.values()), read(world) if world.reports else None)


def test_another_model_for_one_person(world, store, tmp_path, monkeypatch):
    """The model's digest stands in the helper's opening. Unchecked, the trap is answered."""
    trap = np.ones(4, dtype="<f4").tobytes()
    assert made_to_measure(world, store, serve=trap) == Loot(("model",))
    honest = trust.model_hash
    monkeypatch.setattr(trust, "model_hash", lambda _: honest(np.zeros(4, dtype="<f4").tobytes()))
    careless = make_store(tmp_path / "careless")
    fooled = World()
    assert made_to_measure(fooled, careless, serve=trap).vector is not None
    careless.close()


RESTARTS, PEOPLE, RATE = 10, 30, 0.2


def crash_loop(world: World, folder, *, forgetful: bool) -> float:
    """The leader makes agents die and start again until their coin shows heads; returns the share that ever did."""
    world.open_round(world.study(plan={"sampling_rate": RATE}))
    ever: set[str] = set()
    for attempt in range(RESTARTS):
        store = make_store(folder / (str(attempt) if forgetful else "agent"))
        if forgetful or attempt == 0:
            populate(world, store, PEOPLE)
        federation = federate(world, store, seed=bytes([attempt + 1]))
        (found,) = federation.open_rounds()
        people = {member.participant_id: index for index, member in enumerate(federation.roster)}
        heads = federation.flip_all(federation.reserve_all(found))
        ever |= {str(people[head.participant.participant_id]) for head in heads}
        store.close()
    return len(ever) / PEOPLE


def test_coins_thrown_again_after_a_crash(world, tmp_path):
    """Null and charge lie on the disk before the coin: a restart throws none. In memory, heads are a matter of time."""
    (tmp_path / "durable").mkdir()
    (tmp_path / "forgetful").mkdir()
    assert crash_loop(world, tmp_path / "durable", forgetful=False) < 2.5 * RATE
    assert crash_loop(World(), tmp_path / "forgetful", forgetful=True) > 0.75


def watched(world: World, store, vector: np.ndarray | None) -> tuple[list[int], list[int]]:
    """What the network sees of eight agents: the slots of their reports, and the lengths of those that came."""
    populate(world, store, 8)
    federation = federate(world, store)
    world.open_round(world.study(**ALWAYS))
    (found,) = federation.open_rounds()
    reserved = federation.reserve_all(found)
    for head in federation.flip_all(reserved):
        federation.answer(head, federation.encode_answer(found, vector))
    federation.finalise(found, reserved)
    world.clock.advance(9.5)
    assert federation.send_due().unreachable is None
    sizes = [len(report.masked) + len(report.seal) for report in world.reports.values()]
    return sorted(reservation.slot_ms for reservation in reserved), sizes


@pytest.mark.parametrize("vector", [np.full(4, np.nan), np.array([np.inf, 0, 0, 0]), np.zeros(3), None])
def test_an_error_is_no_channel(world, store, tmp_path, monkeypatch, vector):
    """Data that break the answer look like data that do not: same slots, sizes and number. Else they name who."""
    other = make_store(tmp_path / "other")
    assert watched(world, store, vector) == watched(World(), other, VECTOR)
    other.close()
    finalise = shell.Federation.finalise

    def only_real(self, found, reservations):
        finalise(self, found, [reservation for reservation in reservations if reservation.real])

    monkeypatch.setattr(shell.Federation, "finalise", only_real)
    leaky = make_store(tmp_path / "leaky")
    assert watched(World(), leaky, vector)[1] == []  # nothing was sent: the failure shows
    leaky.close()


def asked_twice(world: World, store) -> set[bytes]:
    """The leader takes a report in, says that something went wrong, and waits for another one."""
    populate(world, store, 1)
    federation = federate(world, store)
    world.open_round(world.study(**ALWAYS))
    kept = world._take
    seen: set[bytes] = set()

    def lie(frame) -> str:
        kept(frame)
        seen.add(frame.report.masked + frame.report.seal)
        return "internal"

    world._take = lie
    take_part(world, federation)
    for _ in range(3):
        world.clock.advance(0.1)
        federation.send_due()
    return seen


def test_a_report_asked_for_again(world, store):
    """The device sends the bytes that it stored, however often. Two reports from one seed give up their difference."""
    assert len(asked_twice(world, store)) == 1
    study = world.study(**ALWAYS)
    params, context = study.plan.parameters(), sum_context(study, 1, model_hash(b""))
    values, key = victims(world), SealPrivateKey.generate()
    same = {"seed": b"s" * 32, "withdrawal_token": b"w" * 32, "expires_at": 2**40, "signer": world.officer}
    null, real = (
        make_report(each, params, context, key.public, **same) for each in (np.zeros(4, dtype=np.int64), values)
    )
    received = LeaderSum(params)
    received.add(real.masked)
    share = null.masked  # what a leader that got both holds in the place of the helper's share
    np.testing.assert_array_equal(unmask(received.total, share, np.zeros(4, dtype=np.int64), params), values)


def test_slots_are_drawn_before_the_coin(world, store):
    """A report's time is fixed before its coin, so it says nothing about it."""
    populate(world, store, 30)
    federation = federate(world, store, slots=Slots(0.2, 0.9))
    world.open_round(world.study())
    (found,) = federation.open_rounds()
    reserved = federation.reserve_all(found)
    before = [reservation.slot_ms for reservation in reserved]
    for head in federation.flip_all(reserved):
        federation.answer(head, federation.encode_answer(found, VECTOR))
    assert [reservation.slot_ms for reservation in reserved] == before
