"""The leader's half: a streaming sum of masked vectors, and the release once the helper has answered."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms import RandomStream, add_discrete_gaussian
from privacy.secure_sum.batches import BatchDigest, span_of
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.errors import CohortExceeded, PackingInvalid, ShareInvalid, ValuesInvalid
from privacy.secure_sum.masking import reduced, residues
from privacy.secure_sum.packing import Words, add_packed, unpack_words, word_type
from privacy.secure_sum.parameters import SumParameters
from privacy.secure_sum.partials import PartialSum, Role, partial_sum


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
        self.add_all((masked,))

    def add_all(self, masked: Sequence[bytes]) -> None:
        """Add many reports' masked vectors at once: all of them, or none where one is refused.

        The same sum as :meth:`add` one by one; for short vectors many times faster.

        Raises:
            CohortExceeded: they would pass the maximum cohort.
            PackingInvalid: the bytes of one are no packed vector.
        """
        if self.count + len(masked) > self._params.maximum_cohort:
            raise CohortExceeded(
                f"expected at most {self._params.maximum_cohort} reports, got {self.count + len(masked)}"
            )
        add_packed(masked, self._params.modulus_bits, self._words)
        self.count += len(masked)

    def remove(self, masked: bytes) -> None:
        """Take out one report that was added before (withdrawn, or left out by the helper).

        Raises:
            ValuesInvalid: nothing was added.
            PackingInvalid: the bytes are no packed vector.
        """
        if self.count == 0:
            raise ValuesInvalid("expected a report that was added before, got an empty sum")
        self._words -= unpack_words(masked, self._params.dimension, self._params.modulus_bits)
        self.count -= 1

    def take(self) -> Words:
        """The running words themselves, of which only the low b bits count; the sum starts anew."""
        words, self._words = self._words, np.zeros_like(self._words)
        self.count = 0
        return words

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum of the masked vectors modulo 2^b (uint64[d]): uniformly random without the helper's share."""
        return reduced(self._words, self._params).astype(np.uint64)


class LeaderSpan:
    """A range of a closed batch, summed with its ids, so that ranges can be put together and checked.

    Run by the leader, over the whole batch or in one of its processes.

    Args:
        params: the study's parameters.
        context: the round's context, with the bucket.
        start: index of the first report in the whole batch.
    """

    __slots__ = ("_batch", "_context", "_params", "_start", "_sum")

    def __init__(self, params: SumParameters, context: SumContext, start: int = 0) -> None:
        self._params = params
        self._context = context
        self._start = start
        self._batch = BatchDigest(context)
        self._sum = LeaderSum(params)

    def add(self, reports: Iterable[tuple[bytes, bytes]], left_out: Container[bytes] = ()) -> None:
        """Take (report id, masked vector) pairs in strictly increasing id order.

        Args:
            reports: the next of the batch.
            left_out: ids that the helper did not count: they stay in the range, their vectors out of the sum.

        Raises:
            BatchRefused: ids repeated or out of order.
            CohortExceeded: more counted reports than the maximum cohort.
            PackingInvalid: the bytes of one are no packed vector.
        """
        counted = []
        for report_id, masked in reports:
            self._batch.add(report_id)
            if report_id not in left_out:
                counted.append(masked)
        self._sum.add_all(counted)

    @property
    def counted(self) -> int:
        """Reports in the sum so far."""
        return self._sum.count

    @property
    def batch(self) -> bytes:
        """Digest of the ids so far; the batch's, where the range is all of it."""
        return self._batch.digest()

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum of the counted masked vectors modulo 2^b (uint64[d])."""
        return self._sum.total

    def release(self, share: bytes, noise: RandomStream) -> NDArray[np.signedinteger[Any]]:
        """As :func:`unmask` with ``discrete_gaussian(params.noise_sigma, params.dimension, noise)``, in place.

        The memory is that of the sum, which is used up: there is one release.

        Args:
            share: the helper's answer, packed.
            noise: the leader's own stream, whose key was stored before this call.

        Returns:
            int32[d] for b up to 32, else int64[d], in [-2^(b-1), 2^(b-1)).

        Raises:
            ShareInvalid: the share is no packed vector of this study.
        """
        words = self._sum.take()
        _subtract(share, words, self._params)
        add_discrete_gaussian(self._params.noise_sigma, words, noise)
        return _centred(words, self._params)

    def partial(self) -> PartialSum:
        """What was summed so far, as a part of the whole.

        Raises:
            ValuesInvalid: no report was taken.
        """
        span = span_of(self._batch, self._start)
        return partial_sum(Role.LEADER, self._params, self._context, span, self._sum.count, self._sum.total)

    def __repr__(self) -> str:
        return f"LeaderSpan(start={self._start}, reports={self._batch.count}, counted={self._sum.count})"


def unmask(
    leader_total: NDArray[np.uint64], share: bytes, leader_noise: NDArray[np.int64], params: SumParameters
) -> NDArray[np.int64]:
    """The noisy sum: (total - share + leader noise) mod 2^b, centred. Run by the leader.

    It equals sum of x + helper's noise + leader's noise, unless noise wrapped (probability at most 2^-40).

    Args:
        leader_total: uint64[d], from :attr:`LeaderSum.total` or, merged from ranges, :attr:`MergedSum.total`, over
            exactly the reports that the helper counted.
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
    words = leader_total.astype(word_type(params.modulus_bits))
    _subtract(share, words, params)
    words += residues(leader_noise, params)
    return _centred(words, params).astype(np.int64)


def _subtract(share: bytes, words: Words, params: SumParameters) -> None:
    """Take the packed share off the words, in place: the words' complement gains it."""
    np.negative(words, out=words)
    try:
        add_packed((share,), params.modulus_bits, words)
    except PackingInvalid as error:
        raise ShareInvalid(str(error)) from error
    np.negative(words, out=words)


def _centred(words: Words, params: SumParameters) -> NDArray[np.signedinteger[Any]]:
    """The words' low b bits as signed integers, in place: bit b - 1 goes to the top and comes back as the sign."""
    spare = 8 * words.itemsize - params.modulus_bits
    words <<= words.dtype.type(spare)
    signed: NDArray[np.signedinteger[Any]] = words.view(f"<i{words.itemsize}")
    signed >>= spare
    return signed
