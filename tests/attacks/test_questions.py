"""A hostile leader asks the helper, through its real service, more than one honest question. Nothing comes out."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from aggregator.storage.mirror import MIRROR_FILE
from aggregator.storage.standing import STANDING_FILE
from models.wire.rounds import ShareAnswer, sum_context
from privacy.accounting import open_ledger
from privacy.crypto import SealPrivateKey
from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import HelperSum, LeaderSum, noised_share, unmask
from privacy.secure_sum.masking import expand_mask
from privacy.secure_sum.reports import SealedPayload, seal_info
from tests.aggregator.world import World, code, in_world
from tests.attacks.hostile import (
    DIMENSION,
    Forgetful,
    Loot,
    Scene,
    ask,
    constant_noise,
    exactly,
    nearly,
    nothing,
    stage,
    unit_vectors,
)

RETRIES = 36
GUESS = b"\x11" * 32


async def double_question(scene: Scene, between=None) -> Loot:
    """Flower's SecAgg+ falls to this: the victim is named as active once and as dropped once. n, then n - 1."""
    with_victim, first = await ask(scene, scene.seals)
    if between:
        await between()
    without, second = await ask(scene, scene.seals[1:])
    if with_victim or without:
        return Loot((with_victim, without))
    return Loot(vector=scene.lift(first) - scene.lift(second, scene.reports[1:]))


@in_world()
async def test_the_double_question(world: World):
    """The second batch is refused. A helper that forgets its answer and keeps its noise gives up the victim whole."""
    async with world.helper_up():
        scene = await stage(world)
        loot = await double_question(scene)
        assert loot.refusals == ("", "already-answered")
        nothing(scene, loot)
        careless = await stage(world, study_id="careless")
        helper = await Forgetful(world, careless.study).remember()
        with constant_noise():
            exactly(careless, await double_question(careless, helper.forget))


async def split(scene: Scene, between=None) -> Loot:
    """One batch cut in two, the victim among devices that the leader runs itself: its part of the sum stands alone."""
    own = scene.seals[4:]  # the leader's own devices, which report zeros
    first, _ = await ask(scene, scene.seals[1:4] + own)
    if between:
        await between()
    second, answer = await ask(scene, [scene.seals[0], *own])
    if second:
        return Loot((first, second))
    return Loot(vector=scene.lift(answer, [scene.reports[0], *scene.reports[4:]]))


def with_own_devices(count: int = 9) -> list[np.ndarray]:
    """The victim, three others, and devices of the attacker that report zeros."""
    return unit_vectors(4) + [np.zeros(DIMENSION)] * (count - 4)


@in_world()
async def test_a_batch_cut_in_two(world: World):
    """Only one part is ever answered. Without the rule every device can be asked for alone, under noise it can see."""
    async with world.helper_up():
        scene = await stage(world, 9, vectors=with_own_devices())
        loot = await split(scene)
        assert loot.refusals == ("", "already-answered")
        nothing(scene, loot)
        careless = await stage(world, 9, vectors=with_own_devices(), study_id="careless")
        helper = await Forgetful(world, careless.study).remember()
        with constant_noise(lambda _, size: np.zeros(size, dtype=np.int64)):
            exactly(careless, await split(careless, helper.forget))


async def averaged_retries(scene: Scene, between=None) -> Loot:
    """The same batch, asked again and again, for fresh noise each time; then the mean of the answers."""
    total = np.zeros(DIMENSION)
    for _ in range(RETRIES):
        _, answer = await ask(scene, scene.seals)
        total += scene.lift(answer)
        if between:
            await between()
    return Loot(vector=total / RETRIES - scene.others)


@in_world()
async def test_averaging_retries(world: World):
    """Thirty-six answers are one answer. With noise drawn afresh their mean lies within a sixth of the deviation."""
    async with world.helper_up() as app:
        scene = await stage(world)
        nothing(scene, await averaged_retries(scene))
        assert app.state.office.budget.state.length == 1
        careless = await stage(world, study_id="careless")
        helper = await Forgetful(world, careless.study).remember()
        original = discrete_gaussian
        with constant_noise(lambda sigma, size: original(sigma, size, RandomStream.from_os())):
            nearly(careless, await averaged_retries(careless, helper.forget))


async def small_cohort(scene: Scene, seals: list[bytes]) -> Loot:
    """The victim alone, or among forged seals that only fill the list."""
    refused, answer = await ask(scene, seals)
    return Loot((refused,)) if refused else Loot(vector=scene.lift(answer, scene.reports[:1]))


@in_world()
async def test_a_cohort_of_one(world: World):
    """Refused before the first seal is opened; filled up with forgeries, refused after, and the round is spent."""
    async with world.helper_up() as app:
        scene = await stage(world)
        alone = await small_cohort(scene, scene.seals[:1])
        assert alone.refusals == ("cohort-too-small",)
        assert app.state.office.budget.state.length == 0
        forged = [bytes([index]) * 1_240 for index in range(7)]
        filled = await small_cohort(scene, [scene.seals[0], *forged])
        assert filled.refusals == ("cohort-too-small",)
        nothing(scene, filled)
        assert code(await world.share(scene.study, scene.seals)) == "already-answered"
        tiny = scene.study.document() | {"study_id": "tiny"}
        tiny["plan"] = tiny["plan"] | {"minimum_cohort": 1}
        refused = await world.as_leader("/v1/proposals", json.dumps(tiny).encode())
        assert code(refused) in ("invalid-study", "malformed")


class CountsNobody(HelperSum):
    """A helper that answers below the minimum cohort."""

    @property
    def total(self) -> np.ndarray:
        kept, self.opened = self.opened, self._params.minimum_cohort
        try:
            return super().total
        finally:
            self.opened = kept


@in_world()
async def test_a_cohort_of_one_without_the_rule(world: World):
    """What the minimum stops: one report under the helper's noise alone, and exactly one report under none."""
    async with world.helper_up():
        scene = await stage(world)
        exactly(scene, Loot(vector=await _lone_sum(scene, CountsNobody)))
        with pytest.raises(Exception, match="at least 5 opened seals, got 1"):
            await _lone_sum(scene, HelperSum)


async def _lone_sum(scene: Scene, kind: type[HelperSum]) -> np.ndarray:
    helper = kind(scene.params, _context(scene), await round_key(scene), now=1, withdrawn={})
    helper.add(scene.seals[0])
    zero = np.zeros(DIMENSION, dtype=np.int64)
    received = LeaderSum(scene.params)
    received.add(scene.reports[0].masked)
    return unmask(received.total, noised_share(helper.total, zero, scene.params), zero, scene.params)


def _context(scene: Scene):
    return sum_context(scene.study, scene.opening.round, bytes.fromhex(scene.opening.model_hash))


async def round_key(scene: Scene) -> SealPrivateKey:
    """The round's private key from the helper's own store and vault."""
    return SealPrivateKey(await scene.world.round_key(scene.study, scene.opening.round))


async def thief(scene: Scene) -> Loot:
    """Whoever takes the helper's files after the answer, and the leader's masked vectors: opens the victim's seal."""
    office = scene.world.helper_app.state.office
    async with office.database.reading() as connection:
        known = await office.store.round(connection, scene.study.study_hash(), scene.opening.round)
    if known.wrapping is None:
        return Loot(("no key",))
    payload = SealedPayload.parse((await round_key(scene)).open(scene.seals[0], seal_info(_context(scene))))
    mask = expand_mask(payload.seed, scene.params, _context(scene)).astype(np.uint64)
    received = LeaderSum(scene.params)
    received.add(scene.reports[0].masked)
    bits = scene.params.modulus_bits
    words = ((received.total - mask) & np.uint64(2**bits - 1)).astype(np.int64)
    words[words >= 2 ** (bits - 1)] -= 2**bits
    return Loot(vector=words)


@in_world()
async def test_a_stolen_helper_after_the_round(world: World):
    """Key and noise secret are in no file, and what unwraps them is gone. Kept, it opens each seal of the round."""
    world.helper_secret = b"the noise secret of the helper!!"
    async with world.helper_up():
        scene = await stage(world)
        helper = await Forgetful(world, scene.study).remember()
        key = (await round_key(scene)).private_bytes()
        (wrapping,) = helper._wrapping.values()
        await ask(scene, scene.seals)
        nothing(scene, await thief(scene))
        files = [path.read_bytes() for path in (world.folder / "helper").rglob("*") if path.is_file()]
        assert not any(secret in file for file in files for secret in (key, wrapping, world.helper_secret))
        await helper.forget()  # a helper that had kept the key
        exactly(scene, await thief(scene))


def _kept(world: World, *names: str) -> dict:
    """Files of the helper's folder, by path."""
    folder = world.folder / "helper"
    return {path: path.read_bytes() for name in names for path in folder.glob(name)}


async def restored(world: World, scene: Scene, backup: dict) -> Loot:
    """Files of the helper are put back as they were before the answer, and it is asked for the batch less one."""
    for path in _kept(world, "store.sqlite3*"):
        path.unlink()
    for path, content in backup.items():
        path.write_bytes(content)
    async with world.helper_up():
        refused, answer = await ask(scene, scene.seals[1:])
        return Loot((refused,)) if refused else Loot(vector=scene.lift(answer, scene.reports[1:]))


@in_world()
async def test_a_restored_helper_asked_again(world: World):
    """The heads, kept apart, show an old store, and a store without its wrapping keys opens nothing.

    Three things stand in the way: the ledger's head, the standing's head and the wrapping key. Only with all three put
    back too does nothing show.
    """
    async with world.helper_up():
        scene = await stage(world)
    store, wrapping = _kept(world, "store.sqlite3*"), _kept(world, "wrapping/*")
    genesis = open_ledger(world.helper_settings().contract(), "helper").head
    ledger = {world.folder / "helper" / MIRROR_FILE: genesis.hex().encode()}
    standing = _kept(world, STANDING_FILE)
    with constant_noise():
        async with world.helper_up():
            first = scene.lift((await ask(scene, scene.seals))[1])
        for backup in (store, {**store, **wrapping, **standing}, {**store, **ledger, **standing}):
            loot = await restored(world, scene, backup)
            assert loot.refusals == ("stale",)
            nothing(scene, loot)
        second = await restored(world, scene, {**store, **ledger, **standing, **wrapping})
    assert second.vector is not None
    exactly(scene, Loot(vector=first - second.vector))


async def sybils(scene: Scene, noise: np.ndarray | None = None) -> Loot:
    """All devices but the victim are the leader's: it subtracts what it knows they sent."""
    _, answer = await ask(scene, scene.seals)
    loot = scene.lift(answer) - scene.others
    return Loot(vector=loot if noise is None else loot - noise)


@in_world()
async def test_sybils_meet_the_helpers_noise_alone(world: World):
    """A cohort of Sybils reads the victim under noise of exactly the stated deviation; without it, the victim."""
    async with world.helper_up():
        scene = await stage(world, 8)
        loot = await sybils(scene)
        nothing(scene, loot)
        assert 0.6 < scene.distance(loot.vector) < 1.5  # 64 entries: five standard errors either way
        careless = await stage(world, 8, study_id="careless")
        with constant_noise(lambda _, size: np.zeros(size, dtype=np.int64)):
            exactly(careless, await sybils(careless))


def test_the_deviation_that_sybils_meet():
    """Over 400 rounds of 64 entries the error's deviation is the helper's, to within five standard errors (2.2 %)."""
    sigma = 131_072
    stream = RandomStream(hashlib.sha256(b"sybils").digest())
    errors = np.concatenate([discrete_gaussian(sigma, DIMENSION, stream) for _ in range(400)]).astype(float)
    assert np.sqrt(np.mean(errors**2)) / sigma == pytest.approx(1.0, abs=0.022)
    assert np.mean(errors) / sigma == pytest.approx(0.0, abs=0.032)


async def guessed_withdrawals(scene: Scene, kept: range) -> Loot:
    """A stranger takes back everybody's report but the victim's and its own devices', with a guessed token."""
    for report in scene.reports[1 : kept.start]:
        notice = {"version": 1, "report_id": report.report_id.hex(), "token": GUESS.hex()}
        assert (await scene.world.helper.post("/v1/withdrawals", json=notice)).status_code == 202
    _, answer = await ask(scene, scene.seals)
    left_out = ShareAnswer.model_validate_json(answer.content).failed
    return Loot(tuple(item.reason for item in left_out), scene.lift(answer))


@in_world()
async def test_a_strangers_withdrawal_token(world: World):
    """A guess takes nobody's report out. Were tokens known, the victim would stand alone among Sybils."""
    own = range(4, 10)
    async with world.helper_up():
        scene = await stage(world, 10, vectors=with_own_devices(10))
        loot = await guessed_withdrawals(scene, own)
        assert loot.refusals == ()
        nothing(scene, loot)
        with constant_noise(lambda _, size: np.zeros(size, dtype=np.int64)):
            careless = await stage(world, 10, vectors=with_own_devices(10), study_id="careless", withdrawal_token=GUESS)
            loot = await guessed_withdrawals(careless, own)
        assert loot.refusals == ("withdrawn",) * 3
        exactly(careless, loot)
