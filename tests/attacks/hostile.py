"""What attackers hold: the leader's key and files, peer devices, the network. And how much they got out of it.

Every attack is a function ``attack(...) -> Loot`` that runs against the real code. A test runs it twice: as it is,
where it must get nothing, and with one defence switched off, where it must get the victim's vector. *Nothing* means
that a service refused, or that what came out lies as far from the victim's vector as the noise it should be under: at
least a quarter of the helper's standard deviation, root mean square over the entries. For true noise of 64 entries
that fails with probability below 10^-20; a vector that was recovered has distance 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import delete, select, update

from aggregator.helper import shares
from aggregator.storage.helper_tables import ledger_rows, rounds
from models.wire.message import from_base64
from models.wire.rounds import Opening, ShareAnswer
from models.wire.studies import Study
from privacy.secure_sum import LeaderSum, Report, SumParameters, encode, unmask
from tests.aggregator.world import Device, World, code

DIMENSION = 64
PLAN = {"dimension": DIMENSION, "sensitivity": 2**16, "noise_multiplier": 2.0}
QUARTER = 0.25


@dataclass
class Loot:
    """What an attack came home with.

    Attributes:
        refusals: codes with which the services refused.
        vector: the attacker's estimate of the victim's vector on the grid (float64[d]); None if it has none.
        note: any other thing of value; empty if there is none.
    """

    refusals: tuple[str, ...] = ()
    vector: np.ndarray | None = None
    note: bytes = b""


@dataclass
class Scene:
    """One open round with a victim among other devices; index 0 is the victim."""

    world: World
    study: Study
    opening: Opening
    devices: list[Device]
    vectors: list[np.ndarray]
    reports: list[Report]

    @property
    def params(self) -> SumParameters:
        return self.study.plan.parameters()

    @property
    def victim(self) -> np.ndarray:
        """The victim's vector on the grid: what every attack is after."""
        return encode(self.vectors[0], self.params)

    @property
    def others(self) -> np.ndarray:
        """The sum of everybody else's."""
        return sum((encode(vector, self.params) for vector in self.vectors[1:]), np.zeros(DIMENSION, dtype=np.int64))

    @property
    def seals(self) -> list[bytes]:
        return [report.seal for report in self.reports]

    def lift(self, response: httpx.Response, reports: Sequence[Report] | None = None) -> np.ndarray:
        """What a leader without noise of its own reads from an answer: the sum of its reports plus the helper's."""
        assert response.status_code == 200, response.text
        answer = ShareAnswer.model_validate_json(response.content)
        left_out = {bytes.fromhex(item.report_id) for item in answer.failed}
        received = LeaderSum(self.params)
        for report in self.reports if reports is None else reports:
            if report.report_id not in left_out:
                received.add(report.masked)
        return unmask(received.total, from_base64(answer.share), np.zeros(DIMENSION, dtype=np.int64), self.params)

    def distance(self, estimate: np.ndarray) -> float:
        """RMS distance from the victim's vector, in the helper's standard deviations."""
        return float(np.sqrt(np.mean((estimate - self.victim) ** 2.0))) / self.params.noise_sigma


def unit_vectors(count: int, seed: int = 5) -> list[np.ndarray]:
    points = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return list(points / np.linalg.norm(points, axis=1, keepdims=True))


async def stage(
    world: World,
    count: int = 8,
    *,
    study_id: str = "moves",
    vectors: Sequence[np.ndarray] | None = None,
    **secrets: bytes,
) -> Scene:
    """An approved study and an open round at the helper, and one report of each device."""
    world.helper_secret = secrets_of(world)
    study = world.study(study_id, plan=PLAN)
    await world.approved(study)
    opening = await world.opening(study)
    devices, vectors = world.lone_devices(count), list(vectors or unit_vectors(count))
    reports = [world.report(d, study, opening, v, **secrets) for d, v in zip(devices, vectors, strict=True)]
    return Scene(world, study, opening, devices, vectors, reports)


def secrets_of(world: World) -> bytes:
    """The helper's noise secret of this world: bytes that stand nowhere else in its files."""
    return hashlib.sha256(str(world.folder).encode()).digest()


async def ask(scene: Scene, seals: Iterable[bytes], **options: Any) -> tuple[str, httpx.Response]:
    """Ask the helper for a share; the code of its refusal, or nothing."""
    response = await scene.world.share(scene.study, list(seals), **options)
    return ("" if response.status_code == 200 else code(response)), response


def nothing(scene: Scene, loot: Loot) -> None:
    """The attack got nothing: no vector, or one that lies under noise, and nothing else."""
    assert loot.note == b""
    assert loot.vector is None or scene.distance(loot.vector) > QUARTER


def exactly(scene: Scene, loot: Loot) -> None:
    """The attack got the victim's vector to the last digit."""
    assert loot.vector is not None
    np.testing.assert_array_equal(np.rint(loot.vector).astype(np.int64), scene.victim)


def nearly(scene: Scene, loot: Loot) -> None:
    """The attack got the victim's vector to well within the noise that should hide it."""
    assert loot.vector is not None
    assert scene.distance(loot.vector) < QUARTER


def ids(seals: Iterable[bytes]) -> list[bytes]:
    return [hashlib.sha256(seal).digest() for seal in seals]


# Defences switched off, for the second half of each test


class Forgetful:
    """A helper that forgets that it has answered: row, wrapping keys and ledger are as when the round was opened.

    Each of them stands in the way of a second batch: the row names the one batch, its secrets need their wrapping key,
    and the ledger refuses to be charged twice for a round, so a helper that lost only the row would fail before it
    answered.
    """

    def __init__(self, world: World, study: Study) -> None:
        self._office = world.helper_app.state.office
        self._where = rounds.c.study_hash == study.study_hash()
        self._row: dict[str, Any] = {}

    async def remember(self) -> Forgetful:
        async with self._office.database.reading() as connection:
            row = (await connection.execute(select(rounds).where(self._where))).one()
        self._row = {name: value for name, value in row._mapping.items() if name != "round_id"}
        self._ledger = self._office.budget.state
        folder = self._office.settings.vault_folder()
        self._wrapping = {path: path.read_bytes() for path in folder.iterdir()}
        return self

    async def forget(self) -> None:
        for path, content in self._wrapping.items():
            path.write_bytes(content)

        async def act(change: Any) -> None:
            await change.connection.execute(update(rounds).where(self._where).values(self._row))
            spent = ledger_rows.c.row_index >= self._ledger.length
            await change.connection.execute(delete(ledger_rows).where(spent))

        await self._office.database.change(act)
        self._office.budget.state = self._ledger


@contextmanager
def constant_noise(draw: Any = None) -> Iterator[None]:
    """A helper whose noise is the same whatever the batch is, or what ``draw(sigma, size)`` says."""
    kept: dict[int, np.ndarray] = {}
    original = shares.discrete_gaussian

    def same(sigma: float, size: int, stream: Any) -> np.ndarray:
        return draw(sigma, size) if draw else kept.setdefault(size, original(sigma, size, stream))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "discrete_gaussian", same)
        yield
