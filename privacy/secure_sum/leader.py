"""The leader's half: a streaming sum of masked vectors, and the release once the helper has answered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.secure_sum.errors import CohortExceeded, PackingInvalid, ShareInvalid, ValuesInvalid
from privacy.secure_sum.masking import reduced, residues
from privacy.secure_sum.packing import Words, unpack_words, word_type
from privacy.secure_sum.parameters import SumParameters


class LeaderSum:
    """Sum masked vectors modulo 2^b, one at a time; memory is one vector, however many reports.

    Reports that the helper left out are left out here too (added after its answer, or taken out by ``remove``):
    their masks are not in the share. Run by the leader.
    """

    __slots__ = ("_params", "_words", "count")

    def __init__(self, params: SumParameters) -> None:
        self._params = params
        self._words: Words = np.zeros(params.dimension, dtype=word_type(params.modulus_bits))
        self.count = 0

    def add(self, masked: bytes) -> None:
        """Add one report's masked vector.

        Raises:
            CohortExceeded: the maximum cohort is reached.
            PackingInvalid: the bytes are no packed vector.
        """
        if self.count >= self._params.maximum_cohort:
            raise CohortExceeded(f"expected at most {self._params.maximum_cohort} reports, got one more")
        self._words += self._unpack(masked)
        self.count += 1

    def remove(self, masked: bytes) -> None:
        """Take out one report that was added before (withdrawn, or left out by the helper).

        Raises:
            ValuesInvalid: nothing was added.
            PackingInvalid: the bytes are no packed vector.
        """
        if self.count == 0:
            raise ValuesInvalid("expected a report that was added before, got an empty sum")
        self._words -= self._unpack(masked)
        self.count -= 1

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum of the masked vectors modulo 2^b (uint64[d]): uniformly random without the helper's share."""
        return reduced(self._words, self._params).astype(np.uint64)

    def _unpack(self, masked: bytes) -> Words:
        return unpack_words(masked, self._params.dimension, self._params.modulus_bits)


def unmask(
    leader_total: NDArray[np.uint64], share: bytes, leader_noise: NDArray[np.int64], params: SumParameters
) -> NDArray[np.int64]:
    """The noisy sum: (total - share + leader noise) mod 2^b, centred. Run by the leader.

    It equals sum of x + helper's noise + leader's noise, unless noise wrapped (probability at most 2^-40).

    Args:
        leader_total: uint64[d], from :attr:`LeaderSum.total` over exactly the reports that the helper counted.
        share: the helper's answer, packed.
        leader_noise: int64[d], drawn with ``params.noise_sigma`` and stored before this call, never redrawn.
        params: the study's parameters.

    Returns:
        int64[d] in [-2^(b-1), 2^(b-1)).

    Raises:
        ShareInvalid: the share is no packed vector of this study.
        ValuesInvalid: total or noise have the wrong shape or dtype.
    """
    for name, array, dtype in (("total", leader_total, np.uint64), ("noise", leader_noise, np.int64)):
        if array.shape != (params.dimension,) or array.dtype != dtype:
            raise ValuesInvalid(f"expected {name} as {np.dtype(dtype)}[{params.dimension}], got {array.dtype}")
    bits = params.modulus_bits
    try:
        masks = unpack_words(share, params.dimension, bits)
    except PackingInvalid as error:
        raise ShareInvalid(str(error)) from error
    words = reduced(leader_total.astype(masks.dtype) - masks + residues(leader_noise, params), params)
    signed = words.astype(np.int64)
    signed[signed >= 2 ** (bits - 1)] -= 2**bits
    return signed
