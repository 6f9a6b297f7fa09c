"""b bits per value, vectorised: whole-byte planes, then what is left of b squeezed eight values at a time.

b is written in binary. For each of 32, 16 and 8 that it contains, the next that many bits of every value form a plane
of ``d`` little-endian integers. The r = b mod 8 bits that remain are the low bits of one byte a value; eight such
bytes are one 64-bit word, and three shifts squeeze its eight lanes of r bits together into 8r bits, stored as r planes
of ceil(d/8) bytes. Both ends use the same bijection, and every vector has exactly one encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.secure_sum.errors import PackingInvalid, ValuesInvalid

MAXIMUM_BITS = 62
_PLANES = (32, 16, 8)
_LANES = 8
_NARROW_BITS = 32
_BLOCK_VALUES = 2**14
_PASS_VALUES = 2**16

Words: TypeAlias = NDArray[np.unsignedinteger[Any]]


def word_type(bits: int) -> np.dtype[Any]:
    """The narrowest word that the arithmetic modulo 2^b runs in: uint32 up to 32 bits, else uint64."""
    return np.dtype("<u4") if bits <= _NARROW_BITS else np.dtype("<u8")


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` values of ``bits`` bits take: at most 7 more than count * bits / 8 rounded up."""
    return count * (bits // 8) + (bits % 8) * -(-count // _LANES)


def pack(words: Words, bits: int) -> bytes:
    """Pack words below 2^b (``packed_size(d, b)`` bytes).

    Args:
        words: uint64[d] or uint32[d], every word below 2^b.
        bits: b, 1 to 62.

    Raises:
        ValuesInvalid: a word does not fit, or b is out of range.
    """
    if not 1 <= bits <= MAXIMUM_BITS:
        raise ValuesInvalid(f"expected 1 to {MAXIMUM_BITS} bits, got {bits}")
    if words.size and int(words.max()) >> bits:
        raise ValuesInvalid(f"expected words below 2^{bits}, got a larger one")
    rest = words.astype(word_type(bits), copy=False)
    planes: list[Words] = []
    for width in _PLANES:
        if bits & width:
            planes.append(rest.astype(f"<u{width // 8}"))
            # A plane as wide as the word leaves nothing, and a shift by the whole width is undefined.
            rest = rest >> width if width < 8 * rest.itemsize else np.zeros_like(rest)
    if bits % 8:
        planes.extend(_squeeze(rest.astype(np.uint8), bits % 8))
    return b"".join(plane.data for plane in planes)


def unpack(packed: bytes, count: int, bits: int) -> NDArray[np.uint64]:
    """Undo :func:`pack` (uint64[count]).

    Raises:
        PackingInvalid: the length does not fit, or bits are set in the padding.
    """
    return unpack_words(packed, count, bits).astype(np.uint64)


def unpack_words(packed: bytes, count: int, bits: int) -> Words:
    """Undo :func:`pack`, in the narrowest word (:func:`word_type`)."""
    words: Words = np.zeros(count, dtype=word_type(_width(bits)))
    add_packed([packed], bits, words)
    return words


def add_packed(packed: Sequence[bytes], bits: int, words: Words) -> None:
    """Add packed vectors to native words, modulo the word's size, a multiple of 2^b.

    Planes are added before they are put together, so that many short vectors cost little more than one long one, and
    long ones go in blocks that stay in the cache. Memory is that of ``_PASS_VALUES`` values, beside what is given.

    Args:
        packed: vectors of ``packed_size(d, bits)`` bytes each.
        bits: b, 1 to 62.
        words: d words of ``word_type(bits)``, changed in place; only if every vector is well formed.

    Raises:
        PackingInvalid: a length does not fit, or bits are set in the padding.
        ValuesInvalid: b is out of range.
    """
    count, size = words.size, packed_size(words.size, _width(bits))
    for item in packed:
        check_packed(item, count, bits)
    run = max(1, _PASS_VALUES // max(1, min(count, _BLOCK_VALUES)))
    for start in range(0, len(packed), run):
        part = packed[start : start + run]
        rows = np.frombuffer(part[0] if len(part) == 1 else b"".join(part), dtype=np.uint8).reshape(len(part), size)
        for column in range(0, count, _BLOCK_VALUES):
            _add_block(rows, column, bits, words)


def _add_block(rows: NDArray[np.uint8], column: int, bits: int, words: Words) -> None:
    """Add ``_BLOCK_VALUES`` values of every row, from ``column`` on, a multiple of eight."""
    out = words[column : column + _BLOCK_VALUES]
    at = shift = 0
    for width in _PLANES:
        if bits & width:
            start = at + column * width // 8
            lanes = rows[:, start : start + out.size * width // 8].view(f"<u{width // 8}")
            out += _column_sums(lanes, out.dtype) << shift
            at, shift = at + words.size * width // 8, shift + width
    if bits % 8:
        groups = -(-words.size // _LANES)
        here = -(-out.size // _LANES)
        planes = (rows[:, at + plane * groups + column // _LANES :][:, :here] for plane in range(bits % 8))
        out += _column_sums(_spread(planes, rows.shape[0], here, bits % 8)[:, : out.size], out.dtype) << shift


def _column_sums(lanes: Words, dtype: np.dtype[Any]) -> Words:
    """Sums modulo the word's size; one row is only widened."""
    sums: Words = lanes[0].astype(dtype) if lanes.shape[0] == 1 else np.add.reduce(lanes, axis=0, dtype=dtype)
    return sums


def check_packed(packed: bytes, count: int, bits: int) -> None:
    """Return if the bytes are one packed vector of ``count`` values: right length, padding clear. Costs O(b), not O(d).

    Raises:
        PackingInvalid: they are not.
    """
    size = packed_size(count, _width(bits))
    if len(packed) != size:
        raise PackingInvalid(f"expected {size} packed bytes, got {len(packed)}")
    _check_padding(packed, count, bits)


def _check_padding(packed: bytes, count: int, bits: int) -> None:
    """The last group's word, squeezed: value j of the group has bits j r to (j + 1) r, those beyond d are clear."""
    spare = -count % _LANES
    if not (spare and bits % 8):
        return
    groups = -(-count // _LANES)
    ends = range(len(packed) - 1, len(packed) - 1 - groups * (bits % 8), -groups)
    tail = int.from_bytes(bytes(packed[at] for at in reversed(ends)), "little")
    if tail >> (_LANES - spare) * (bits % 8):
        raise PackingInvalid("expected zero bits in the padding, got others")


def _width(bits: int) -> int:
    if not 1 <= bits <= MAXIMUM_BITS:
        raise ValuesInvalid(f"expected 1 to {MAXIMUM_BITS} bits, got {bits}")
    return bits


def _squeeze(lanes: NDArray[np.uint8], bits: int) -> list[Words]:
    padded = np.zeros(-(-lanes.size // _LANES) * _LANES, dtype=np.uint8)
    padded[: lanes.size] = lanes
    word = padded.view("<u8")
    for lane, low in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
        kept = word & np.uint64(low)
        word = kept | ((word ^ kept) >> np.uint64(lane - lane * bits // 8))
    octets = word.view(np.uint8)
    return [np.ascontiguousarray(octets[plane::_LANES]) for plane in range(bits)]


def _spread(planes: Iterable[NDArray[np.uint8]], rows: int, groups: int, bits: int) -> NDArray[np.uint8]:
    """The low bits of every value, one byte each (uint8[rows, 8 groups]), from their planes (uint8[rows, groups])."""
    word = np.zeros((rows, groups), dtype="<u8")
    octets = word.view(np.uint8)
    for index, plane in enumerate(planes):
        octets[:, index::_LANES] = plane
    for lane, every in ((32, 1), (16, 0x0000000100000001), (8, 0x0001000100010001)):
        kept = word & np.uint64((2 ** (lane * bits // 8) - 1) * every)
        word = kept | ((word ^ kept) << np.uint64(lane - lane * bits // 8))
    return word.view(np.uint8)
