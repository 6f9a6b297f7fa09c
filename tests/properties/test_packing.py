"""Packing is a bijection between vectors of b-bit words and byte strings of the stated length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.secure_sum import PackingInvalid, ValuesInvalid, pack, packed_size, unpack

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
