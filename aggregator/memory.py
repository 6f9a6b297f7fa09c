"""How a service's process gives memory back: what one large model took is not kept for the next one.

glibc raises the size from which it maps a block by itself to that of the largest block freed so far. After one large
model, vectors come from the heap, and between two of them a small object keeps the pages of both. With a fixed size
every vector is returned when it is dropped; and few arenas leave little over in each.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Names of ``mallopt(3)``."""
_MAPPED_BYTES: Final = 2**20
"""Larger blocks are mapped: vectors and bodies of large models, not what ordinary requests need."""
_KEPT_BYTES: Final = 2**22
_ARENAS: Final = 2


def return_large_blocks() -> bool:
    """Set it for this process; says whether the C library has it. For the start, before there are threads."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library, which has its own ways
        return False
    options = ((_MMAP_THRESHOLD, _MAPPED_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_ARENA_MAX, _ARENAS))
    return bool(sum(mallopt(option, value) for option, value in options) == len(options))
