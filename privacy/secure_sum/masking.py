"""A seed becomes a mask: HKDF-SHA256, then the AES-128-CTR keystream, read as words modulo 2^b.

The counter block is derived beside the key, so that equal AES keys of two devices (after 2^64 of them) do not share
a keystream and one guess of a key is not tested against every report at once. A mask is used once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from privacy.secure_sum.context import SumContext
from privacy.secure_sum.packing import Words, word_type
from privacy.secure_sum.parameters import SumParameters

SEED_BYTES = 32
_MASK_TAG = b"hearthside/1/secure-sum/mask"
_KEY_BYTES = 16


def expand_mask(seed: bytes, params: SumParameters, context: SumContext, out: NDArray[Any] | None = None) -> Words:
    """The mask of a seed under a context, in native words of which only the low b bits count.

    Words are uint32 for b up to 32, else uint64: sums of them wrap modulo 2^32 or 2^64, a multiple of 2^b, so the
    reduction can wait until the end. Run by the device (once) and by the helper (once per report).

    Args:
        seed: 32 secret bytes, uniform.
        params: give d and b.
        context: bound into the key.
        out: a buffer of d native words to fill, or None for a new one.
    """
    keys = HKDF(SHA256(), 2 * _KEY_BYTES, salt=None, info=_MASK_TAG + context.digest).derive(seed)
    words: NDArray[Any] = np.empty(params.dimension, dtype=word_type(params.modulus_bits)) if out is None else out
    encryptor = Cipher(AES(keys[:_KEY_BYTES]), CTR(keys[_KEY_BYTES:])).encryptor()
    encryptor.update_into(_zeros(words.nbytes), words.data.cast("B"))
    return words


def reduced(words: Words, params: SumParameters) -> Words:
    """The words modulo 2^b."""
    return words & words.dtype.type(2**params.modulus_bits - 1)


def residues(values: NDArray[np.int64], params: SumParameters) -> Words:
    """Signed values as native words: congruent modulo 2^b, in two's complement."""
    return values.view(np.uint64).astype(word_type(params.modulus_bits))


@lru_cache(maxsize=4)
def _zeros(count: int) -> bytes:
    return bytes(count)
