"""The sampler's distribution, computed from its own tables and compared with the exact one in big integers."""

import hashlib
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from privacy.mechanisms import (
    RandomStream,
    SigmaInvalid,
    add_discrete_gaussian,
    discrete_gaussian,
    gaussian,
    sampler_delta,
    tv_error,
)
from privacy.mechanisms.tables import TABLE_BITS, InversionTable, inversion_table, table_tv_error

KEY = b"noise".ljust(32, b"\0")


class Scripted(RandomStream):
    """A stream that says what it was told to: for draws that chance would not reach in the age of the universe."""

    def __init__(self, words: list[int], *low: int) -> None:
        self._words = words
        self._low = list(low)

    def uint64(self, count: int) -> np.ndarray:
        assert count <= len(self._words)
        drawn, self._words = self._words[:count], self._words[count:]
        return np.array(drawn, dtype=np.uint64)

    def bytes(self, count: int) -> bytes:
        assert not self._words, "low bits are drawn after every high word"
        return self._low.pop(0).to_bytes(count, "little")


def exact(variance: Fraction, reach: int) -> dict[int, Fraction]:
    """The exact probabilities of -reach..reach, each weight by its own decimal exponential."""
    with localcontext(prec=90):
        weights = [
            (Decimal(-x * x * variance.denominator) / Decimal(2 * variance.numerator)).exp() for x in range(reach + 1)
        ]
        total = 2 * sum(weights) - weights[0]
        return {x: Fraction(weights[abs(x)] / total) for x in range(-reach, reach + 1)}


def of_table(table: InversionTable) -> dict[int, int]:
    """The table's probabilities in units of 2^-192."""
    bounds = [0, *table._thresholds, 1 << TABLE_BITS]
    return {index - table.radius: bounds[index + 1] - bounds[index] for index in range(len(bounds) - 1)}


def total_variation(one: dict[int, Fraction], other: dict[int, Fraction]) -> Fraction:
    return sum((abs(one.get(x, Fraction()) - other.get(x, Fraction())) for x in one | other), Fraction()) / 2


@pytest.mark.parametrize("variance", [Fraction(1, 100), Fraction(1, 4), Fraction(9), Fraction(12345, 7)])
def test_a_table_is_within_its_stated_error(variance: Fraction) -> None:
    """Total variation between table and exact distribution, in rational arithmetic, is below the bound."""
    table = inversion_table(variance)
    found = {x: Fraction(units, 1 << TABLE_BITS) for x, units in of_table(table).items()}
    distance = total_variation(found, exact(variance, 6 * table.radius))
    assert 0 < distance <= Fraction(table_tv_error(variance))


def test_the_composition_is_within_its_stated_error() -> None:
    """The sum k Y + Z, convolved exactly from the table at sigma 300, is within tv_error of the exact distribution."""
    sigma = 300
    variance = Fraction(sigma * sigma)
    factor, part_variance = gaussian._split(variance)
    assert variance > gaussian._LEAF_VARIANCE
    assert factor > 1
    part = of_table(inversion_table(part_variance))
    sums: Counter[int] = Counter()
    for y, y_units in part.items():
        for z, z_units in part.items():
            sums[factor * y + z] += y_units * z_units
    found = {x: Fraction(units, 1 << 2 * TABLE_BITS) for x, units in sums.items()}
    assert total_variation(found, exact(variance, 20 * sigma)) <= Fraction(tv_error(sigma, 1))


@pytest.mark.parametrize("step", [1, 2, 0])
def test_a_composition_that_is_too_coarse_is_worse_than_stated(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor of 9/4 under tau holds the error: with a larger k the sums leave the bound (the test can fail)."""
    variance = Fraction(30 * 30)
    monkeypatch.setattr(gaussian, "_LEAF_VARIANCE", 20**2)
    factor = gaussian._split(variance)[0] + step
    part = of_table(inversion_table(variance / (factor * factor + 1)))
    sums: Counter[int] = Counter()
    for y, y_units in part.items():
        for z, z_units in part.items():
            sums[factor * y + z] += y_units * z_units
    found = {x: Fraction(units, 1 << 2 * TABLE_BITS) for x, units in sums.items()}
    within = total_variation(found, exact(variance, 600)) <= Fraction(tv_error(30, 1))
    assert within == (step == 0)


@pytest.mark.parametrize("position", [0, 7, -1])
def test_equal_high_words_are_decided_by_the_low_bits(position: int) -> None:
    """On a tie the 128 low bits decide exactly: one unit below a threshold and the threshold itself fall apart."""
    table = inversion_table(Fraction(9))
    threshold = table._thresholds[position]
    high, low = divmod(threshold, 1 << 128)
    outcome = position % len(table._thresholds) + 1 - table.radius
    if low:
        assert table.sample(1, Scripted([high], low - 1)).tolist() == [outcome - 1]
    assert table.sample(1, Scripted([high], low)).tolist() == [outcome]


def test_ties_of_every_block_are_decided_after_all_high_words() -> None:
    """The low bits of a vector longer than a block come after its last high word, in the order of the entries."""
    table = inversion_table(Fraction(9))
    high, low = divmod(table._thresholds[7], 1 << 128)
    words = [2**63 + 1] * 40_000
    ties = (3, 20_000, 39_999)
    for at in ties:
        words[at] = high
    stream = Scripted(words, *(low - (at == 20_000) for at in ties))
    drawn = table.sample(40_000, stream)
    assert [int(drawn[at]) for at in ties] == [8 - table.radius, 7 - table.radius, 8 - table.radius]


def test_the_guide_agrees_with_plain_inversion() -> None:
    """Draws through the guide equal a search of the whole 64-bit table."""
    table = inversion_table(Fraction(200**2))
    words = RandomStream(KEY).uint64(50_000)
    plain = np.searchsorted(table._high, words, side="left") - table.radius
    assert np.array_equal(table.sample(50_000, RandomStream(KEY)), plain)


@pytest.mark.parametrize("sigma", [1e-9, 0.01, 0.05, 0.2])
def test_tiny_scales_are_sampled_too(sigma: float) -> None:
    """A sigma far below one step gives (almost) only zeros, and no overflow."""
    samples = discrete_gaussian(sigma, 1_000, RandomStream(KEY))
    assert np.count_nonzero(samples) <= 1


def test_equal_keys_draw_equal_noise() -> None:
    """A durable key yields the same noise after a crash, another key yields other noise."""
    first = discrete_gaussian(65_536, 1_000, RandomStream(KEY))
    assert np.array_equal(first, discrete_gaussian(65_536, 1_000, RandomStream(KEY)))
    assert not np.array_equal(first, discrete_gaussian(65_536, 1_000, RandomStream(bytes(32))))
    assert first.dtype == np.int64


def test_the_largest_scale_stays_within_64_bits() -> None:
    """At sigma 2^56 the samples have the right scale, so nothing wrapped on the way."""
    samples = discrete_gaussian(2.0**56, 4_000, RandomStream(KEY)).astype(np.float64)
    assert 0.9 < samples.std() / 2.0**56 < 1.1


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), 2.0**57])
def test_a_scale_out_of_range_is_refused(sigma: float) -> None:
    """A zero, negative, infinite or undefined scale is no noise at all."""
    with pytest.raises(SigmaInvalid):
        discrete_gaussian(sigma, 1, RandomStream(KEY))
    with pytest.raises(SigmaInvalid):
        tv_error(sigma, 1)


def test_the_error_adds_over_samples() -> None:
    """The bound is linear in the size and stays below 2^-132 a sample up to sigma 10^8."""
    assert tv_error(10**6, 1_000) == pytest.approx(1_000 * tv_error(10**6, 1))
    assert all(0 < tv_error(sigma, 1) < 2.0**-132 for sigma in (1, 1_000, 50_000, 10**6, 10**8))
    assert discrete_gaussian(1_000, 0, RandomStream(KEY)).shape == (0,)


@pytest.mark.parametrize("epsilon", [0.0, 4.0, 30.0])
def test_the_sampler_s_share_of_delta_is_the_formula(epsilon: float) -> None:
    """(1 + e^epsilon) T d times the error of one sample, never less; a million entries, 10,000 rounds: 1e-16."""
    added = sampler_delta(epsilon, 2e6, 10**10)
    exactly = (1 + Decimal(epsilon).exp()) * 10**10 * Decimal(tv_error(2e6, 1))
    assert exactly <= Decimal(added) < exactly * Decimal("1.000002")
    assert added < 1e-16


def test_the_sampler_s_share_of_delta_holds_for_a_pair_of_neighbours() -> None:
    """On a coarse sampler, whose error shows: delta of the real pair exceeds that of the exact one by at most it.

    The hockey-stick divergence at epsilon 1 of noise at 0 and at 1, for a table of sigma 1 cut to 10 bits.
    """
    variance, epsilon = Fraction(1), 1.0
    ideal = exact(variance, 40)
    coarse = {x: Fraction(int(mass * 2**10), 2**10) for x, mass in ideal.items()}
    coarse[0] += 1 - sum(coarse.values())
    tau = total_variation(coarse, ideal)
    factor = Fraction(Decimal(epsilon).exp())

    def delta(table: dict[int, Fraction]) -> Fraction:
        reach = range(-41, 42)
        return sum(
            (max(Fraction(), table.get(x, Fraction()) - factor * table.get(x - 1, Fraction())) for x in reach),
            Fraction(),
        )

    assert delta(ideal) < delta(coarse) <= delta(ideal) + (1 + factor) * tau


def test_a_claim_without_an_epsilon_has_no_share() -> None:
    """NaN, negative and absurd claims are refused."""
    for epsilon in (-1.0, float("nan"), 701.0):
        with pytest.raises(SigmaInvalid, match="epsilon"):
            sampler_delta(epsilon, 1_000.0, 1)


@pytest.mark.parametrize(
    ("sigma", "size", "known"),
    [
        (3.0, 16385, "f07d310ce01bc684"),
        (1000.0, 16385, "87559f320e015126"),
        (50000.5, 100003, "72525fba385107e8"),
        (100000000.0, 16384, "2c2ee8ec54c9320e"),
        (1125899906842624.0, 7, "f42afb1255f2fe81"),
    ],
)
def test_a_stored_secret_gives_the_noise_that_it_always_gave(sigma: float, size: int, known: str) -> None:
    """Known answers: a round under way is released with the same noise before and after an upgrade."""
    stream = RandomStream(bytes(range(32)))
    drawn = discrete_gaussian(sigma, size, stream)
    assert hashlib.sha256(drawn.astype("<i8").tobytes() + stream.bytes(8)).hexdigest()[:16] == known


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int64])
def test_noise_is_added_in_place_modulo_the_word(dtype: type) -> None:
    """Adding gives what drawing and then adding gives, in words that wrap."""
    words = np.arange(40_000, dtype=dtype) * np.array(2**31 - 7, dtype=dtype)
    expected = words + discrete_gaussian(50_000.5, words.size, RandomStream(KEY)).astype(dtype)
    add_discrete_gaussian(50_000.5, words, RandomStream(KEY))
    np.testing.assert_array_equal(words, expected)
