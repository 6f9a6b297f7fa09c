"""Hostile leaders and peer devices tamper with reports, seals and contexts. The cores give nothing for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from privacy.crypto import SealInvalid, SealPrivateKey, SealPublicKey, SigningKey
from privacy.secure_sum import (
    BatchRefused,
    HelperSum,
    LeaderSum,
    Report,
    SecureSumError,
    SumContext,
    SumParameters,
    ValuesInvalid,
    batches,
    helper,
    make_report,
    masking,
    noised_share,
    reports,
    unmask,
    verify_report,
)
from tests.attacks.hostile import Loot

DIMENSION = 64
PARAMS = SumParameters(
    dimension=DIMENSION,
    clip_norm=1.0,
    sensitivity=2**16,
    noise_multiplier=2.0,
    maximum_cohort=1_000,
    minimum_cohort=3,
)
NOW = 1_900_000_000
ZERO = np.zeros(DIMENSION, dtype=np.int64)
VICTIM = np.arange(-32, 32) * 100
CONTEXT = SumContext(*(b"s" * 32, 3, b"m" * 32, b"l" * 32, b"h" * 32, b"p" * 32))


@dataclass
class Round:
    """A round's key, its context and what its devices sent; index 0 is the victim."""

    key: SealPrivateKey
    context: SumContext
    signers: list[SigningKey]
    reports: list[Report]

    @property
    def others(self) -> np.ndarray:
        return sum((peer_values(index) for index in range(1, len(self.reports))), ZERO)


def peer_values(index: int) -> np.ndarray:
    return np.full(DIMENSION, index, dtype=np.int64)


def report(key: SealPublicKey, signer: SigningKey, values: np.ndarray, context: SumContext = CONTEXT) -> Report:
    return make_report(
        values,
        PARAMS,
        context,
        key,
        seed=os.urandom(32),
        withdrawal_token=os.urandom(32),
        expires_at=NOW + 60,
        signer=signer,
    )


def open_round(context: SumContext = CONTEXT, key: SealPrivateKey | None = None, count: int = 5) -> Round:
    key, signers = key or SealPrivateKey.generate(), [SigningKey.generate() for _ in range(count)]
    values = [VICTIM, *(peer_values(index) for index in range(1, count))]
    made = [report(key.public, signer, each, context) for signer, each in zip(signers, values, strict=True)]
    return Round(key, context, signers, made)


def released(scene: Round, masked: Sequence[bytes], seals: Sequence[bytes], *, in_order: bool = True) -> np.ndarray:
    """What a lying leader gets from a helper without noise: the strongest attacker there is."""
    summing = HelperSum(PARAMS, scene.context, scene.key, now=NOW, withdrawn={})
    by_id = sorted(seals, key=lambda seal: reports.hashlib.sha256(seal).digest())
    for seal in by_id if in_order else seals:
        summing.add(seal)
    received = LeaderSum(PARAMS)
    for each in masked:
        received.add(each)
    return unmask(received.total, noised_share(summing.total, ZERO, PARAMS), ZERO, PARAMS)


def masked_of(items: Sequence[Report]) -> list[bytes]:
    return [item.masked for item in items]


def seals_of(items: Sequence[Report]) -> list[bytes]:
    return [item.seal for item in items]


def run(attack: Callable[..., Loot], *arguments: Any) -> Loot:
    """The attack; a typed refusal is its code."""
    try:
        return attack(*arguments)
    except SecureSumError as error:
        return Loot((error.code,))


def is_random(vector: np.ndarray) -> bool:
    """Masks stayed on: entries lie all over the modulus (2^28 here), nowhere near a sum of vectors (below 2^18)."""
    return float(np.median(np.abs(vector))) > 2 ** (PARAMS.modulus_bits - 5)


def recovers(loot: Loot) -> None:
    assert loot.vector is not None
    np.testing.assert_array_equal(loot.vector, VICTIM)


# One seal counted many times


def duplicated(scene: Round, times: int = 1_000) -> Loot:
    """The victim's seal and vector a thousand times: its part rises a thousandfold over noise meant for one."""
    own = scene.reports[1:]
    masked = masked_of(own) + [scene.reports[0].masked] * times
    total = released(scene, masked, seals_of(own) + [scene.reports[0].seal] * times)
    return Loot(vector=(total - scene.others) // times)


def test_a_duplicated_seal(monkeypatch):
    """Strictly increasing ids take each seal once. Without order the victim is amplified above any noise."""
    assert run(duplicated, open_round(count=4)).refusals == ("batch_refused",)
    monkeypatch.setattr(batches.BatchDigest, "add", _count_only)
    patched = replace(PARAMS, maximum_cohort=2_000)
    monkeypatch.setitem(globals(), "PARAMS", patched)
    recovers(run(duplicated, open_round(count=4)))


def _count_only(self, _report_id):
    self.count += 1


def malleated(scene: Round) -> Loot:
    """The bit of an X25519 point that its reader ignores is flipped: another id, perhaps the same seal again."""
    victim = scene.reports[0]
    twin = bytearray(victim.seal)
    twin[1_119] ^= 0x80
    own = scene.reports[1:]
    total = released(scene, masked_of([*own, victim, victim]), [*seals_of(own), victim.seal, bytes(twin)])
    return Loot(vector=(total - scene.others) // 2)


def test_a_malleated_seal(monkeypatch):
    """The KEM hashes its ciphertext into the secret: the twin does not open. Were it to, one seal would count twice."""
    loot = run(malleated, open_round())
    assert is_random(loot.vector)
    original = SealPrivateKey.open

    def lenient(self, sealed, info):
        try:
            return original(self, sealed, info)
        except SealInvalid:
            fixed = bytearray(sealed)
            fixed[1_119] ^= 0x80
            return original(self, bytes(fixed), info)

    monkeypatch.setattr(SealPrivateKey, "open", lenient)
    recovers(run(malleated, open_round()))


# A report where it does not belong


def replayed(scene: Round, elsewhere: SumContext) -> Loot:
    """A report of one round handed in at another, in a batch that is otherwise the leader's own devices."""
    own = [report(scene.key.public, SigningKey.generate(), ZERO, elsewhere) for _ in range(3)]
    later = Round(scene.key, elsewhere, [], own)
    total = released(later, masked_of([*own, scene.reports[0]]), seals_of([*own, scene.reports[0]]))
    return Loot(vector=total)


CHANGES = {
    "study": {"study_hash": b"x" * 32},
    "round": {"round": 4},
    "model": {"model_hash": b"x" * 32},
    "leader": {"leader_key": b"x" * 32},
    "helper": {"helper_key": b"x" * 32},
    "policy": {"policy_hash": b"x" * 32},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_a_report_replayed_elsewhere(monkeypatch, changed):
    """Seal and mask name study, round, model, keys, policy. Bound to nothing, a report opens wherever it is taken."""
    elsewhere = replace(CONTEXT, **CHANGES[changed])
    assert is_random(run(replayed, open_round(), elsewhere).vector)
    unbind(monkeypatch, seal=True, mask=True)
    loot = run(replayed, open_round(), elsewhere)
    if changed == "policy":  # named inside the seal as well: a second line, which the rules' tests take down
        assert is_random(loot.vector)
        monkeypatch.setattr(helper, "hmac", SimpleNamespace(compare_digest=lambda *_: True))
        loot = run(replayed, open_round(), elsewhere)
    recovers(loot)


def unbind(patch: pytest.MonkeyPatch, *, seal: bool = False, mask: bool = False) -> None:
    """Derive seals, masks or both under no context."""
    if seal:
        for module in (reports, helper):
            patch.setattr(module, "seal_info", lambda _: b"")
    if mask:
        original = masking.expand_mask

        def unbound(seed, params, _context, out=None):
            return original(seed, params, CONTEXT, out)

        for module in (reports, helper):
            patch.setattr(module, "expand_mask", unbound)


def test_two_models_in_one_round(monkeypatch):
    """The victim alone is shown another model: its mask does not cancel. Bound to nothing, the trap closes on it."""

    def trap() -> Loot:
        scene = open_round()
        shown = replace(CONTEXT, model_hash=b"made to measure".ljust(32))
        odd = report(scene.key.public, scene.signers[0], VICTIM, shown)
        own = scene.reports[1:]
        total = released(scene, masked_of([*own, odd]), seals_of([*own, odd]))
        return Loot(vector=total - scene.others)

    assert is_random(run(trap).vector)
    unbind(monkeypatch, seal=True, mask=True)
    recovers(run(trap))


# Reports taken apart and put together


def swapped(scene: Round) -> Loot:
    """One device's vector beside another's seal, so that the leader may leave out one half and keep the other."""
    victim, peer = scene.reports[:2]
    mixed = [replace(victim, seal=peer.seal), replace(peer, seal=victim.seal)]
    for item, signer in zip(mixed, scene.signers, strict=False):
        verify_report(item, PARAMS, CONTEXT, signer.verify_key)
    # The half that bears the peer's name is left out; the victim's vector stays, beside a seal that is not its own.
    rest = [*scene.reports[2:], mixed[0]]
    return Loot(vector=released(scene, masked_of(rest), seals_of(rest)) - scene.others + peer_values(1))


def test_swapped_seeds(monkeypatch):
    """The signature holds vector and seal together; apart they are noise. Only with one seed for all do they fit."""
    assert run(swapped, open_round()).refusals == ("report_invalid",)
    monkeypatch.setattr(reports.VerifyKey, "verify", lambda *_: None)
    assert is_random(run(swapped, open_round()).vector)  # the masks' own defence
    original = masking.expand_mask
    for module in (reports, helper):
        monkeypatch.setattr(
            module, "expand_mask", lambda _s, p, c, out=None: original(b"one seed for all".ljust(32), p, c, out)
        )
    recovers(run(swapped, open_round()))


def adopted(scene: Round) -> Loot:
    """A peer signs the victim's vector and seal as its own, so that the victim counts twice."""
    victim, thief = scene.reports[0], scene.signers[1]
    copy = replace(victim, signature=thief.sign(reports._statement(CONTEXT, victim.masked, victim.seal)))
    verify_report(
        copy, PARAMS, CONTEXT, thief.verify_key
    )  # the thief's signature is good: it is the id that gives it away
    own = scene.reports[1:]
    total = released(scene, masked_of([*own, victim, copy]), seals_of([*own, victim, copy]))
    return Loot(vector=(total - scene.others) // 2)


def test_a_report_signed_again_by_another_device(monkeypatch):
    """The copy has the victim's id, which comes from the seal: it is not counted. Without order it counts twice."""
    assert run(adopted, open_round()).refusals == ("batch_refused",)
    monkeypatch.setattr(batches.BatchDigest, "add", _count_only)
    recovers(run(adopted, open_round()))


def forged(scene: Round) -> Loot:
    """The leader makes up a report in the victim's name."""
    fake = report(scene.key.public, SigningKey.generate(), VICTIM)
    verify_report(fake, PARAMS, CONTEXT, scene.signers[0].verify_key)
    return Loot(note=b"a report that the victim never made")


def test_a_report_in_anothers_name(monkeypatch):
    """Only the device's key signs for it."""
    assert run(forged, open_round()).refusals == ("report_invalid",)
    monkeypatch.setattr(reports.VerifyKey, "verify", lambda *_: None)
    assert run(forged, open_round()).note


# Vectors and points that no honest device makes


def poisoned() -> Loot:
    """One device reports a vector a hundred times the sensitivity and moves the sum as a hundred would."""
    key, signer = SealPrivateKey.generate(), SigningKey.generate()
    own = [report(key.public, signer, ZERO) for _ in range(3)]
    large = report(key.public, signer, VICTIM * 1_000)
    scene = Round(key, CONTEXT, [], [*own, large])
    return Loot(vector=released(scene, masked_of(scene.reports), seals_of(scene.reports)) // 1_000)


def test_an_oversize_vector(monkeypatch):
    """Our own code does not make it. Whoever writes other code can: it spoils a sum, and learns nothing from it."""
    assert np.linalg.norm(VICTIM * 1_000) > 100 * PARAMS.sensitivity / 2
    assert run(poisoned).refusals == ("values_invalid",)
    monkeypatch.setattr(reports, "check_values", lambda *_: None)
    recovers(run(poisoned))


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_low_order_point_in_a_seal(point):
    """A seal whose elliptic half is known to everybody is left out; the others are summed as if it had not been."""
    scene = open_round()
    seal = scene.reports[0].seal
    weak = seal[:1_088] + point + seal[1_120:]
    own = scene.reports[1:]
    np.testing.assert_array_equal(released(scene, masked_of(own), [*seals_of(own), weak]), scene.others)


def test_a_wrong_order_is_a_refusal_not_a_smaller_sum():
    """Handing seals in out of order gives an error, never the sum of those that were in order."""
    scene = open_round()
    seals = sorted(seals_of(scene.reports), key=lambda seal: reports.hashlib.sha256(seal).digest())[::-1]
    with pytest.raises(BatchRefused):
        released(scene, masked_of(scene.reports), seals, in_order=False)


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf])
def test_no_report_is_made_of_what_is_no_number(entry):
    """A typed refusal, before a seed is used."""
    from privacy.secure_sum import encode

    with pytest.raises(ValuesInvalid):
        encode(np.full(DIMENSION, entry), PARAMS)
