"""k-ary randomised response: a device randomises its own answer, so that it is protected from both servers together.

With probability ``t`` the device says its true bucket, otherwise a uniformly random one of the k (which may be the true
one). ``t = floor((1 - p) 2^64) / 2^64`` for the noise parameter p that was charged: a response is never more truthful
than its charge (:class:`privacy.accounting.ResponseEvent`); all coins are comparisons of integers. A device without an
answer says a uniformly random bucket. That is what zero-out means here, and what makes the figure right: the two output
distributions of the relation are then

    P(answer x):   t + (1 - t)/k on x,  (1 - t)/k elsewhere;        P(no answer):  1/k everywhere,

the pair that dp-accounting prices as randomised response under ``REPLACE_SPECIAL``. Any other behaviour without an
answer (silence, a fixed bucket) would be told apart, and the figure would not hold.

Pure epsilon (Kairouz, Oh and Viswanath 2016, "Extremal Mechanisms for Local Differential Privacy", section 3, for
replace-one; the same arithmetic for zero-out), with p = 1 - t:

    zero-out:      max( ln(k (1 - p) + p),  -ln p )
    replace-one:   ln(1 + k (1 - p) / p)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privacy.accounting.events import MAXIMUM_BUCKETS, MINIMUM_SAMPLING_RATE
from privacy.mechanisms.errors import ResponseInvalid
from privacy.mechanisms.randomness import RandomStream

Relation = Literal["zero-out", "replace-one"]
NO_ANSWER = -1
"""In an array of answers: this device has none."""

_WORD = 2**64
_DECIMAL = Context(prec=60)
_GUARD = Fraction(1, 10**50)
_MOST_EPSILON = 40.0
"""Beyond it the noise parameter is below 10^-17, where it no longer is noise."""


@dataclass(frozen=True, slots=True)
class ResponseEstimate:
    """Estimated counts and how far they may be off.

    Attributes:
        counts: float64[k], unbiased; may be negative or exceed the number of devices.
        variances: float64[k], of each count, over the devices' coins (and the sum's noise, where it was given).
    """

    counts: NDArray[np.float64]
    variances: NDArray[np.float64]


def respond(answer: int | None, noise: float, buckets: int, stream: RandomStream) -> int:
    """Randomise one answer. Run by the device, once per question, after the charge; the response is kept, not redrawn.

    Coin and random bucket are both drawn whatever the answer, so neither time nor the stream's position tells which
    one was used.

    Args:
        answer: the true bucket, 0 to k - 1, or None for a device that has none.
        noise: p, the probability of a uniformly random bucket, in [1e-9, 1], as charged.
        buckets: k, 2 to 2^20.
        stream: the device's randomness.

    Returns:
        A bucket, 0 to k - 1.

    Raises:
        ResponseInvalid: an answer, noise or number of buckets out of range.
    """
    given = NO_ANSWER if answer is None else answer
    if answer is not None and not (isinstance(answer, int | np.integer) and 0 <= answer < buckets):
        raise ResponseInvalid(f"expected an answer from 0 to {buckets - 1} or None, got one outside")
    return int(respond_many(np.array([given], dtype=np.int64), noise, buckets, stream)[0])


def respond_many(answers: NDArray[np.int64], noise: float, buckets: int, stream: RandomStream) -> NDArray[np.int64]:
    """Randomise the answers of many devices at once, for simulations: the arithmetic is that of :func:`respond`.

    Args:
        answers: int64[n], each 0 to k - 1, or :data:`NO_ANSWER`.
        noise: p, in [1e-9, 1].
        buckets: k, 2 to 2^20.
        stream: randomness of all these devices.

    Returns:
        int64[n], buckets.

    Raises:
        ResponseInvalid: as :func:`respond`.
    """
    _check(noise, buckets)
    if answers.ndim != 1 or answers.dtype != np.int64:
        raise ResponseInvalid(f"expected int64 answers in one dimension, got {answers.dtype} of shape {answers.shape}")
    if bool(((answers < NO_ANSWER) | (answers >= buckets)).any()):
        raise ResponseInvalid(f"expected answers from 0 to {buckets - 1} or {NO_ANSWER}, got one outside")
    truthful = stream.uint64(answers.size) < np.uint64(truthful_words(noise))
    anything = _uniform(buckets, answers.size, stream)
    return np.where(truthful & (answers != NO_ANSWER), answers, anything)


def truthful_words(noise: float) -> int:
    """How many of the 2^64 values of a word make a device tell the truth: floor((1 - p) 2^64), below 2^64 for p > 0."""
    return math.floor((1 - Fraction(noise)) * _WORD)


def response_probabilities(noise: float, buckets: int) -> tuple[Fraction, Fraction, Fraction]:
    """Exactly how a device responds: P(its own bucket), P(each other bucket), P(each bucket without an answer).

    Args:
        noise: p, in [1e-9, 1].
        buckets: k, 2 to 2^20.
    """
    _check(noise, buckets)
    truth = Fraction(truthful_words(noise), _WORD)
    other = (1 - truth) / buckets
    return truth + other, other, Fraction(1, buckets)


def response_epsilon(noise: float, buckets: int, relation: Relation) -> float:
    """Pure epsilon of one response (unit: one device's answer; neighbours: as named), delta 0.

    Args:
        noise: p, in [1e-9, 1].
        buckets: k, 2 to 2^20.
        relation: "zero-out", the contract's (an answer replaced by none), or "replace-one" (by another answer), which
            is what epsilon of randomised response means in most papers. Zero-out is the smaller of the two.
    """
    _check(noise, buckets)
    gain = buckets * (1.0 - noise) + noise
    if relation == "replace-one":
        return math.log(gain) - math.log(noise)
    _check_relation(relation)
    return max(math.log(gain), -math.log(noise))


def response_noise(epsilon: float, buckets: int, relation: Relation) -> float:
    """The least noise parameter at which one response is epsilon-DP, rounded up.

    ``max(e^-epsilon, (k - e^epsilon) / (k - 1))`` under zero-out, ``k / (e^epsilon + k - 1)`` under replace-one. The
    result is computed to 50 digits and rounded up to a float, so its true epsilon is at most the one asked for.

    Args:
        epsilon: at least 0, at most 40 (unit: one device's answer).
        buckets: k, 2 to 2^20.
        relation: "zero-out" or "replace-one".

    Raises:
        ResponseInvalid: epsilon, buckets or relation out of range.
    """
    _check(1.0, buckets)
    _check_relation(relation)
    if not 0.0 <= epsilon <= _MOST_EPSILON:
        raise ResponseInvalid(f"expected an epsilon in [0, {_MOST_EPSILON:g}], got {epsilon!r}")
    odds = Fraction(_DECIMAL.exp(Decimal(epsilon)))
    if relation == "replace-one":
        exact = buckets / (odds + buckets - 1)
    else:
        exact = max(1 / odds, (buckets - odds) / (buckets - 1))
    least = min(Fraction(1), exact + _GUARD)
    noise = float(least)
    return max(MINIMUM_SAMPLING_RATE, noise if Fraction(noise) >= least else math.nextafter(noise, 2.0))


def estimate_counts(
    responses: NDArray[np.float64] | NDArray[np.int64],
    devices: int,
    noise: float,
    *,
    unanswered_at_most: int = 0,
    count_variance: float = 0.0,
) -> ResponseEstimate:
    """Unbiased counts from the histogram of responses: ``(c_j - (1 - t) n / k) / t``.

    Each of n devices adds ``t [its bucket is j] + (1 - t)/k`` to the expectation of c_j, one without an answer 1/k. So
    the estimate's expectation is the number of devices in bucket j plus 1/k of those without an answer: they are spread
    evenly, and no more can be learned about them, since the responses sum to n whatever they are. A study that must
    tell them apart gives "none of these" a bucket of its own.

    With a = t + (1 - t)/k and b = (1 - t)/k the variance of c_j is ``n b (1 - b) + N_j t (1 - a - b)``, linear in the
    count N_j, so putting the estimate for N_j leaves the variance unbiased. Each device without an answer adds
    ``(1/k)(1 - 1/k) t^2`` to that. All of it is divided by t^2. Run by whoever decodes the sum.

    Args:
        responses: [k], how often each bucket was said, exactly or as a private sum's noisy figures.
        devices: n, how many responses there are, public; at least 0.
        noise: p, in [1e-9, 1), as charged.
        unanswered_at_most: an upper bound on the devices without an answer, if there may be any; widens the variances.
        count_variance: variance of the noise in each entry of ``responses``, 0 for exact counts.

    Raises:
        ResponseInvalid: shapes or figures out of range, or p so near to 1 that no response is truthful.
    """
    _check(noise, responses.size)
    _check_histogram(responses, devices, unanswered_at_most, count_variance)
    own, other, _ = (float(part) for part in response_probabilities(noise, responses.size))
    truth = truthful_words(noise) / _WORD
    if truth == 0.0:
        raise ResponseInvalid("expected a noise parameter below 1: from responses without truth nothing is estimated")
    counts: NDArray[np.float64] = (np.asarray(responses, dtype=np.float64) - devices * other) / truth
    of_coins = devices * other * (1.0 - other) + counts * truth * (1.0 - own - other)
    even = 1.0 / responses.size
    variances = (of_coins + count_variance) / truth**2 + unanswered_at_most * even * (1.0 - even)
    return ResponseEstimate(counts, np.maximum(variances, 0.0))  # a wildly negative count must not make it negative


def _uniform(buckets: int, size: int, stream: RandomStream) -> NDArray[np.int64]:
    """Uniform buckets, exactly: words at or above the largest multiple of k are drawn again (chance below 2^-44)."""
    words = stream.uint64(size)
    beyond = _WORD - _WORD % buckets
    if beyond < _WORD:  # else k divides 2^64 and every word is good
        again = np.flatnonzero(words >= np.uint64(beyond))
        if again.size:
            words = words.copy()
        while again.size:
            words[again] = stream.uint64(again.size)
            again = again[words[again] >= np.uint64(beyond)]
    return (words % np.uint64(buckets)).astype(np.int64)


def _check(noise: float, buckets: int) -> None:
    if not MINIMUM_SAMPLING_RATE <= noise <= 1.0:  # false for NaN too
        raise ResponseInvalid(f"expected a noise parameter in [{MINIMUM_SAMPLING_RATE:g}, 1], got {noise!r}")
    if isinstance(buckets, bool) or not isinstance(buckets, int) or not 2 <= buckets <= MAXIMUM_BUCKETS:  # noqa: PLR2004  # one bucket is no question
        raise ResponseInvalid(f"expected 2 to {MAXIMUM_BUCKETS} buckets, got {buckets!r}")


def _check_relation(relation: Relation) -> None:
    if relation not in ("zero-out", "replace-one"):
        raise ResponseInvalid(f"expected relation 'zero-out' or 'replace-one', got {relation!r}")


def _check_histogram(
    responses: NDArray[np.float64] | NDArray[np.int64], devices: int, unanswered: int, variance: float
) -> None:
    if responses.ndim != 1 or not bool(np.isfinite(responses).all()):
        raise ResponseInvalid(f"expected a finite histogram in one dimension, got shape {responses.shape}")
    if not 0 <= unanswered <= devices:
        raise ResponseInvalid(f"expected 0 to {devices} devices without an answer, got {unanswered}")
    if not 0.0 <= variance < math.inf:
        raise ResponseInvalid(f"expected a finite variance of at least 0, got {variance!r}")
