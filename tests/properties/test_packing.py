"""Packing is a bijection between vectors of b-bit words and byte strings of the stated length."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.wire.frames import ReportFrame, encode_report
from privacy.secure_sum import (
    PackingInvalid,
    ParametersRefused,
    Report,
    SumParameters,
    ValuesInvalid,
    pack,
    packed_size,
    unmask,
    unpack,
)
from privacy.secure_sum.packing import add_packed, word_type
from privacy.secure_sum.reports import SEAL_BYTES

MANY = settings(max_examples=150, deadline=None)


@st.composite
def words(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    bits = draw(st.integers(1, 62))
    values = draw(st.lists(st.integers(0, 2**bits - 1), max_size=41))
    return np.array(values, dtype=np.uint64), bits


@MANY
@given(words())
def test_unpack_undoes_pack(case: tuple[np.ndarray, int]) -> None:
    """Every vector comes back, in the stated number of bytes."""
    values, bits = case
    packed = pack(values, bits)
    assert len(packed) == packed_size(values.size, bits)
    assert packed_size(values.size, bits) <= -(-values.size * bits // 8) + 7
    assert np.array_equal(unpack(packed, values.size, bits), values)


@MANY
@given(st.integers(1, 62), st.integers(0, 41), st.randoms(use_true_random=False))
def test_bytes_have_one_reading_or_none(bits: int, count: int, random: object) -> None:
    """Any bytes of the right length either fail, or are exactly what packs to them."""
    packed = random.randbytes(packed_size(count, bits))  # type: ignore[attr-defined]  # hypothesis' Random has no public type
    try:
        values = unpack(packed, count, bits)
    except PackingInvalid:
        assert count % 8
        assert bits % 8
    else:
        assert pack(values, bits) == packed


@pytest.mark.parametrize("bits", range(1, 63))
def test_extreme_words_of_every_width_survive(bits: int) -> None:
    """Zero, one and the largest word of each width, in an awkward length."""
    values = np.array([0, 1, 2**bits - 1] * 7, dtype=np.uint64) % np.uint64(2**bits)
    assert np.array_equal(unpack(pack(values, bits), 21, bits), values)


@pytest.mark.parametrize(("bits", "word"), [(1, 2), (29, 2**29), (32, 2**32), (62, 2**63)])
def test_a_word_that_does_not_fit_is_refused(bits: int, word: int) -> None:
    """No silent truncation."""
    with pytest.raises(ValuesInvalid):
        pack(np.array([0, word], dtype=np.uint64), bits)


@pytest.mark.parametrize("bits", [0, -1, 63, 64])
def test_a_width_out_of_range_is_refused(bits: int) -> None:
    """1 to 62 bits, both ways."""
    with pytest.raises(ValuesInvalid):
        pack(np.zeros(1, dtype=np.uint64), bits)
    with pytest.raises(ValuesInvalid):
        unpack(b"", 0, bits)


@pytest.mark.parametrize("length", [0, 14, 16])
def test_a_wrong_length_is_refused(length: int) -> None:
    """Eight words of 15 bits are 15 bytes, no more and no less."""
    with pytest.raises(PackingInvalid, match=f"expected 15 packed bytes, got {length}"):
        unpack(bytes(length), 8, 15)


@MANY
@given(words(), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_adding_packed_vectors_is_adding_vectors(case: tuple[np.ndarray, int], rows: int, seed: int) -> None:
    """Many at once or one by one, on top of what is there: the same sum modulo 2^b."""
    first, bits = case
    random = np.random.default_rng(seed)
    vectors = [first, *(random.integers(0, 2**bits, first.size, dtype=np.uint64) for _ in range(rows))]
    start = random.integers(0, 2**bits, first.size, dtype=np.uint64)
    total = start.astype(word_type(bits))
    add_packed([pack(vector, bits) for vector in vectors], bits, total)
    expected = [sum(map(int, column)) % 2**bits for column in zip(start, *vectors, strict=True)]
    assert [int(word) % 2**bits for word in total] == expected


@pytest.mark.parametrize("bits", [1, 7, 12, 28, 30, 32, 33, 62])
@pytest.mark.parametrize("count", [2**14 - 1, 2**14, 2**14 + 3, 40_000])
def test_long_vectors_are_added_in_blocks(bits: int, count: int) -> None:
    """Across every border between blocks, also where a vector is longer than one and its rest is no group of eight."""
    random = np.random.default_rng(bits)
    vectors = random.integers(0, 2**bits, (5, count), dtype=np.uint64)
    total = np.zeros(count, dtype=word_type(bits))
    add_packed([pack(vector, bits) for vector in vectors], bits, total)
    kept = np.uint64(2**bits - 1)
    assert np.array_equal(total.astype(np.uint64) & kept, vectors.sum(axis=0, dtype=np.uint64) & kept)
    assert np.array_equal(unpack(pack(vectors[0], bits), count, bits), vectors[0])


def test_padding_is_checked_in_every_vector() -> None:
    """One stray bit in one of many: nothing is added."""
    good = pack(np.arange(5, dtype=np.uint64), 3)  # 15 bits in three planes of one byte
    for stray in range(15, 24):
        bad = bytearray(good)
        bad[stray // 8] |= 1 << stray % 8
        total = np.zeros(5, dtype=np.uint32)
        with pytest.raises(PackingInvalid, match="padding"):
            add_packed([good, bytes(bad), good], 3, total)
        assert not total.any()


@MANY
@given(st.integers(1, 62), st.integers(1, 2**24))
def test_a_report_is_a_tenth_above_its_bits_at_most(bits: int, dimension: int) -> None:
    """Packed vector, seal, signature and frame: at most 1.1 d b / 8 bytes and 2 KB, for every b and d."""
    frame = encode_report(ReportFrame(bytes(16), 0, Report(bytes(32), bytes(SEAL_BYTES), b"", bytes(64))))
    assert len(frame) + packed_size(dimension, bits) <= 1.1 * dimension * bits / 8 + 2_000


def test_the_report_of_the_stated_study() -> None:
    """100,000 entries for a cohort of 1,000 at 2^17 grid steps: 28 bits, 351 kB; Flower sends 820."""
    params = SumParameters(100_000, 1.0, 2**17, 1.0, maximum_cohort=1_000, minimum_cohort=2)
    assert params.modulus_bits == 28
    assert params.packed_bytes + SEAL_BYTES + 122 <= 357_000


@MANY
@given(st.data())
def test_a_full_cohort_of_extremes_never_wraps(data: st.DataObject) -> None:
    """Any parameters that are accepted: n reports of +-Delta in one entry, with noise at its bound, come out exact."""
    dimension = data.draw(st.integers(1, 9))
    sensitivity = data.draw(st.integers(1_000, 2**40))
    cohort = data.draw(st.integers(2, 2**32))
    multiplier = data.draw(st.floats(1.0, 8.0))
    try:
        params = SumParameters(dimension, 1.0, sensitivity, multiplier, maximum_cohort=cohort, minimum_cohort=2)
    except ParametersRefused as refusal:
        assert "62 bits" in str(refusal)  # noqa: PT017 - only for width, and then for width alone
        return
    deviations = math.sqrt(2 * math.log(2 * dimension * 2**40))
    noise = math.floor(deviations * math.sqrt(2) * params.noise_sigma)
    for sign in (1, -1):
        value = sign * (cohort * sensitivity + noise)
        total = np.full(dimension, value % 2**params.modulus_bits, dtype=np.uint64)
        share = pack(np.zeros(dimension, dtype=np.uint64), params.modulus_bits)
        assert unmask(total, share, np.zeros(dimension, dtype=np.int64), params).tolist() == [value] * dimension
    assert cohort * sensitivity + noise > 2 ** (params.modulus_bits - 2) - 4, "not a bit more than is needed"
