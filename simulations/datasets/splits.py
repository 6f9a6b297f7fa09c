"""Which devices train and which are held out: fixed by a seed, blind to the data."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

HELD_OUT_SHARE: Final = 0.2


def split_devices(
    devices: int, seed: int, held_out_share: float = HELD_OUT_SHARE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split device numbers at random into those that train and those held out.

    Returns:
        int64[devices - h] and int64[h], each ascending, h = round(held_out_share * devices).
    """
    if not 0.0 < held_out_share < 1.0:
        raise ValueError(f"expected a held-out share inside (0, 1), got {held_out_share}")
    order = np.random.default_rng(seed).permutation(devices)
    held_out = round(held_out_share * devices)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
