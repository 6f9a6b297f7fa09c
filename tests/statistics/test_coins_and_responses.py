"""The hidden coin and randomised response against their exact probabilities, each test shown to reject 2 %."""

import numpy as np
import pytest

from privacy.mechanisms import NO_ANSWER, RandomStream, flip_coin, respond_many, response_probabilities
from tests.statistics.fits import LEAST_P, fit_counts

COINS = 600_000
RESPONSES = 4_000_000


def stream(label: str) -> RandomStream:
    """A seeded stream of its own for each use."""
    return RandomStream(label.encode().ljust(32, b"\0"))


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.8])
def test_coins_fall_at_their_rate_and_no_other(rate: float) -> None:
    """Chi-square of 600,000 coins does not reject the rate, and rejects one that is 2 % higher."""
    randomness = stream(f"coins {rate}")
    heads = sum(flip_coin(rate, randomness) for _ in range(COINS))
    found = np.array([heads, COINS - heads])
    assert fit_counts(found, np.array([rate, 1 - rate])) > LEAST_P
    assert fit_counts(found, np.array([1.02 * rate, 1 - 1.02 * rate])) < LEAST_P


@pytest.mark.parametrize(("noise", "buckets"), [(0.2, 2), (0.5, 7), (0.9, 40)])
def test_responses_follow_their_exact_probabilities(noise: float, buckets: int) -> None:
    """Four million responses of devices in bucket 1: no rejection at the noise charged, rejection at 2 % more."""
    answers = np.ones(RESPONSES, dtype=np.int64)
    found = np.bincount(respond_many(answers, noise, buckets, stream(f"own {noise}")), minlength=buckets)
    for stated, right in ((noise, True), (1.02 * noise, False)):
        own, other, _ = (float(part) for part in response_probabilities(stated, buckets))
        chances = np.full(buckets, other)
        chances[1] = own
        assert (fit_counts(found, chances) > LEAST_P) is right


@pytest.mark.parametrize("buckets", [2, 7, 20])
def test_devices_without_an_answer_are_uniform(buckets: int) -> None:
    """Four million responses without an answer: uniform; with one bucket 2 % likelier they would be rejected."""
    answers = np.full(RESPONSES, NO_ANSWER)
    found = np.bincount(respond_many(answers, 0.1, buckets, stream(f"none {buckets}")), minlength=buckets)
    chances = np.full(buckets, 1 / buckets)
    assert fit_counts(found, chances) > LEAST_P
    chances[0] *= 1.02
    assert fit_counts(found, chances / chances.sum()) < LEAST_P
