"""The private sum attacked: with its declared noise no audit refutes the claim; with less noise one does.

The adversary is the strongest that the claim covers: the leader, who knows its own noise and takes it off, so that
only the helper's noise protects. Claims are device level, zero-out: a canary is one device's report or its null.
"""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from privacy.accounting import SumEvent, epsilon
from privacy.audit import OneRunAudit, membership_lower_bound, one_run_audit
from privacy.mechanisms import RandomStream, discrete_gaussian, flip_coin
from privacy.secure_sum import SumContext, SumParameters, exchange, noised_share, unmask

DELTA = 1e-6
SIGNIFICANCE = 0.05
DECLARED = SumParameters(
    dimension=2_000,
    clip_norm=1.0,
    sensitivity=2**20,
    noise_multiplier=1.0,
    maximum_cohort=2_000,
    minimum_cohort=2,
)
CONTEXT = SumContext(
    study_hash=b"s" * 32,
    round=0,
    model_hash=b"m" * 32,
    leader_key=b"l" * 32,
    helper_key=b"h" * 32,
    policy_hash=b"p" * 32,
)
TRIALS = 200_000


def stream(*label: object) -> RandomStream:
    """A seeded stream of its own for each use."""
    return RandomStream(hashlib.sha256(repr(label).encode()).digest())


def audit_one_round(params: SumParameters) -> OneRunAudit:
    """One whole exchange of 2,000 canary devices, each with a coordinate of its own and in by its own coin."""
    members = (stream("members").uint64(params.dimension) & np.uint64(1)).astype(bool)
    identity = np.eye(params.dimension)
    vectors = [identity[index] if member else None for index, member in enumerate(members.tolist())]
    release = exchange(
        vectors,
        params,
        CONTEXT,
        devices=stream("devices"),
        helper=stream("helper"),
        leader=stream("leader"),
        now=1_000_000,
    )
    own = discrete_gaussian(params.noise_sigma, params.dimension, stream("leader"))
    seen = (release.total - own).astype(np.float64)
    return one_run_audit(seen, members, delta=DELTA, significance=SIGNIFICANCE)


@pytest.fixture(scope="module")
def claimed() -> float:
    """The claim for one round without hidden sampling, by the tightest accountant."""
    return epsilon([SumEvent(DECLARED.noise_multiplier, 1.0)], DELTA, "pld")


def test_one_round_with_the_declared_noise_stays_below_the_claim(claimed: float) -> None:
    """The audit of one exchange finds something (the attack works) and no more than the claimed epsilon."""
    audit = audit_one_round(DECLARED)
    assert 0.5 < audit.lower_bound <= claimed


def test_one_round_nearly_without_noise_exceeds_the_claim(claimed: float) -> None:
    """The audit can fail: a helper that adds a tenth of the declared noise is caught in one run."""
    audit = audit_one_round(replace(DECLARED, noise_multiplier=DECLARED.noise_multiplier / 10))
    assert audit.lower_bound > claimed


def attack(threshold: float, *, noise: float = 1.0, rate: float = 1.0, honest: bool = True) -> float:
    """Attack the noise path in 200,000 independent trials each way, one per entry of two vectors; the lower bound.

    Each entry is a trial of one device: in one world it sends the largest value that a report may hold, or null if its
    coin says so; in the other world it is null. A mask, the helper's noised share and the leader's unmasking are those
    of a round; the leader's own noise is off, since the leader knows it.

    Args:
        threshold: the fixed rule: guess "in" above this many sensitivities.
        noise: how much of the declared noise the helper adds.
        rate: q, the chance that a report is real.
        honest: False is a broken device that sends its real report whatever the coin says.
    """
    above: list[int] = []
    for value in (DECLARED.sensitivity, 0):
        coins = stream("coins", rate)
        heads = np.array([flip_coin(rate, coins) or not honest for _ in range(TRIALS)])
        seen = seen_by_leader(np.where(heads, np.int64(value), np.int64(0)), noise, stream("world", value))
        above.append(int((seen > threshold * DECLARED.sensitivity).sum()))
    return membership_lower_bound(above[0], TRIALS, above[1], TRIALS, DELTA, SIGNIFICANCE)


def seen_by_leader(values: np.ndarray, noise: float, randomness: RandomStream) -> np.ndarray:
    """Mask the values, let the helper answer with its noise, unmask."""
    params = replace(DECLARED, dimension=values.size)
    masks = randomness.uint64(values.size) & np.uint64(2**params.modulus_bits - 1)
    masked = (masks + values.astype(np.uint64)) & np.uint64(2**params.modulus_bits - 1)
    helpers_noise = discrete_gaussian(params.noise_sigma * noise, values.size, randomness)
    none = np.zeros(values.size, dtype=np.int64)
    return unmask(masked, noised_share(masks, helpers_noise, params), none, params)


def test_many_trials_with_the_declared_noise_stay_below_the_claim(claimed: float) -> None:
    """Membership inference finds something and no more than the claimed epsilon."""
    assert 2.0 < attack(3.0) <= claimed


def test_many_trials_with_half_the_noise_exceed_the_claim(claimed: float) -> None:
    """The audit can fail: a helper that adds half the declared noise is caught."""
    assert attack(2.0, noise=0.5) > claimed


def test_the_hidden_coin_is_worth_its_amplification() -> None:
    """At q = .05 the attack stays below the amplified claim; a device that ignores its coin exceeds it."""
    amplified = epsilon([SumEvent(DECLARED.noise_multiplier, 0.05)], DELTA, "pld")
    assert 0.1 < attack(3.0, rate=0.05) <= amplified
    assert attack(3.0, rate=0.05, honest=False) > amplified
