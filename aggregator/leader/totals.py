"""A released sum as it is stored: signed integers on the grid, little endian, four or eight bytes each.

Four where the sum's modulus fits, which halves what a large model takes; which it is, the length says. The log has the
digest of eight bytes each in either case, so that what is published does not depend on how it is kept.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aggregator.errors import StoreCorrupt

Total = NDArray[np.signedinteger[Any]]
_BLOCK: Final = 2**14


def to_stored(total: Total) -> memoryview:
    """The bytes to store: those of the array itself, where it is little endian already (int32[d] or int64[d])."""
    return np.ascontiguousarray(total, dtype=total.dtype.newbyteorder("<")).view(np.uint8).data


def from_stored(body: bytes, dimension: int) -> Total:
    """Read a stored sum, without a copy.

    Raises:
        StoreCorrupt: it is no sum of so many entries.
    """
    if not dimension or len(body) not in (4 * dimension, 8 * dimension):
        raise StoreCorrupt(f"expected a stored sum of {dimension} entries, got {len(body)} bytes")
    return np.frombuffer(body, dtype=f"<i{len(body) // dimension}")


def total_sha256(total: Total) -> str:
    """SHA-256 of the sum as int64, little endian (hex), as the log has it."""
    state = hashlib.sha256()
    for start in range(0, total.size, _BLOCK):
        state.update(total[start : start + _BLOCK].astype("<i8").data)
    return state.hexdigest()
