"""b bits per value, vectorised: whole-byte planes, then what is left of b squeezed eight values at a time.

b is written in binary. For each of 32, 16 and 8 that it contains, the next that many bits of every value form a plane
of ``d`` little-endian integers. The r = b mod 8 bits that remain are the low bits of one byte a value; eight such
bytes are one 64-bit word, and three shifts squeeze its eight lanes of r bits together into 8r bits, stored as r planes
of ceil(d/8) bytes. Both ends use the same bijection, and every vector has exactly one encoding.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.secure_sum.errors import PackingInvalid, ValuesInvalid

MAXIMUM_BITS = 62
_PLANES = (32, 16, 8)
_LANES = 8
_NARROW_BITS = 32

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
    if not 1 <= bits <= MAXIMUM_BITS:
        raise ValuesInvalid(f"expected 1 to {MAXIMUM_BITS} bits, got {bits}")
    if len(packed) != packed_size(count, bits):
        raise PackingInvalid(f"expected {packed_size(count, bits)} packed bytes, got {len(packed)}")
    words: Words = np.zeros(count, dtype=word_type(bits))
    at = shift = 0
    for width in _PLANES:
        if bits & width:
            plane = np.frombuffer(packed, dtype=f"<u{width // 8}", count=count, offset=at)
            words |= plane.astype(words.dtype) << shift
            at += plane.nbytes
            shift += width
    if bits % 8:
        words |= _spread(memoryview(packed)[at:], count, bits % 8).astype(words.dtype) << shift
    return words


def _squeeze(lanes: NDArray[np.uint8], bits: int) -> list[Words]:
    padded = np.zeros(-(-lanes.size // _LANES) * _LANES, dtype=np.uint8)
    padded[: lanes.size] = lanes
    word = padded.view("<u8")
    for lane, low in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
        kept = word & np.uint64(low)
        word = kept | ((word ^ kept) >> np.uint64(lane - lane * bits // 8))
    octets = word.view(np.uint8)
    return [np.ascontiguousarray(octets[plane::_LANES]) for plane in range(bits)]


def _spread(planes: memoryview, count: int, bits: int) -> NDArray[np.uint8]:
    groups = -(-count // _LANES)
    word = np.zeros(groups, dtype="<u8")
    octets = word.view(np.uint8)
    for plane in range(bits):
        octets[plane::_LANES] = np.frombuffer(planes, dtype=np.uint8, count=groups, offset=plane * groups)
    for lane, every in ((32, 1), (16, 0x0000000100000001), (8, 0x0001000100010001)):
        kept = word & np.uint64((2 ** (lane * bits // 8) - 1) * every)
        word = kept | ((word ^ kept) << np.uint64(lane - lane * bits // 8))
    lanes = word.view(np.uint8)
    if lanes[count:].any():
        raise PackingInvalid("expected zero bits in the padding, got others")
    return lanes[:count]
