"""Hostile devices and gateways against the real leader: whatever they send, the others' round goes on."""

from __future__ import annotations

import numpy as np
import pytest

from models.wire.rounds import sum_context
from privacy.secure_sum import Report, pack
from privacy.secure_sum.reports import _statement
from tests.aggregator.world import World, in_world, vectors


async def joined(world: World, spoil) -> tuple[list[str], dict]:
    """A round of eight devices of which the last is hostile: the leader's answers, and what became of the study."""
    async with world.up():
        devices, study = await world.devices(8), world.study(window_seconds=3.0)
        await world.run(study)
        _, opening = await world.work()
        reports = [world.report(d, study, opening, v) for d, v in zip(devices, vectors(8), strict=True)]
        context = sum_context(study, opening.round, bytes.fromhex(opening.model_hash))
        seal, masked = spoil(reports, study.plan.parameters())
        statement = _statement(context, masked, seal)  # signed with the device's own key: the signature is good
        reports[-1] = Report(context.digest, seal, masked, devices[-1].key.sign(statement))
        results = await world.send(*zip(devices, reports, strict=True))
        return results, await world.until(study, "finished", "failed")


def no_seal(reports, _params) -> tuple[bytes, bytes]:
    """A seal of zeros."""
    return bytes(len(reports[-1].seal)), reports[-1].masked


def any_vector(reports, params) -> tuple[bytes, bytes]:
    """A vector that is not x + mask of anything."""
    words = np.random.default_rng(1).integers(0, 2**params.modulus_bits, params.dimension, dtype=np.uint64)
    return reports[-1].seal, pack(words, params.modulus_bits)


def same_seal(reports, _params) -> tuple[bytes, bytes]:
    """A gateway sends one of its own seals under two of its devices."""
    return reports[0].seal, reports[-1].masked


def padding(reports, _params) -> tuple[bytes, bytes]:
    """A vector of the right length with bits set where there are no entries."""
    return reports[-1].seal, reports[-1].masked[:-1] + b"\xff"


@pytest.mark.parametrize("spoil", [no_seal, any_vector, same_seal, padding])
def test_one_hostile_device_does_not_end_a_study(tmp_path, spoil):
    """Its report is refused, left out by the helper, or spoils a sum: a study never ends by one device."""

    async def act(world: World) -> None:
        answers, account = await joined(world, spoil)
        assert account["state"] == "finished"
        assert answers[:-1] == ["accepted"] * 7

    in_world()(act)(tmp_path)
