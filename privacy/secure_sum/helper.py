"""The helper's half: open seals, sum masks, add noise. It sees seeds and never a masked vector.

Before the first seal is opened the caller has marked the batch and charged its ledger durably; afterwards it stores
the noised share, answers, and destroys the round's key. One batch per (study, round, bucket), ever.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.crypto import SealInvalid, SealPrivateKey
from privacy.secure_sum.batches import BatchDigest, span_of
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.errors import CohortExceeded, ReportInvalid, SealFailure, ValuesInvalid
from privacy.secure_sum.masking import expand_mask, reduced, residues
from privacy.secure_sum.packing import Words, pack, word_type
from privacy.secure_sum.parameters import SumParameters
from privacy.secure_sum.partials import PartialSum, Role, check_opened, partial_sum
from privacy.secure_sum.reports import SealedPayload, seal_info


@dataclass(frozen=True, slots=True)
class Failure:
    """A report that was left out: its id (32 bytes) and why."""

    report_id: bytes
    reason: SealFailure


class HelperSum:
    """Open seals in strictly increasing id order and sum their masks.

    Memory is two vectors, never the reports, where failures are handed out. A bad seal is dropped with its reason and
    does not stop the batch. Run by the helper; for a range of a batch, by one of its processes
    (:mod:`privacy.secure_sum.partials`).

    Args:
        params: the study's parameters.
        context: the round's context, with the bucket.
        round_key: the round's private key.
        now: Unix seconds, for expiry.
        withdrawn: withdrawal token by report id, as a mapping or a look-up that returns None for the others. A token
            counts only if its SHA-256 is in the seal, so no one can take back another device's report.
        on_failure: is handed each failure as it occurs; without it they are kept in ``failures``.
        start: index of the first seal in the whole batch, where this is a range of it.
    """

    __slots__ = (
        "_batch",
        "_buffer",
        "_context",
        "_hand_out",
        "_info",
        "_key",
        "_now",
        "_params",
        "_start",
        "_tokens",
        "_words",
        "failures",
        "opened",
    )

    def __init__(
        self,
        params: SumParameters,
        context: SumContext,
        round_key: SealPrivateKey,
        *,
        now: int,
        withdrawn: Mapping[bytes, bytes] | Callable[[bytes], bytes | None],
        on_failure: Callable[[Failure], object] | None = None,
        start: int = 0,
    ) -> None:
        self._params = params
        self._context = context
        self._key = round_key
        self._info = seal_info(context)
        self._now = now
        self._tokens = withdrawn.get if isinstance(withdrawn, Mapping) else withdrawn
        self._start = start
        self._batch = BatchDigest(context)
        self._words: Words = np.zeros(params.dimension, dtype=word_type(params.modulus_bits))
        self._buffer: NDArray[Any] = np.empty_like(self._words)
        self.opened = 0
        self.failures: list[Failure] = []
        self._hand_out = on_failure or self.failures.append

    def add(self, seal: bytes) -> None:
        """Take the next seal. Its id is recomputed from its bytes.

        Raises:
            BatchRefused: the id is not above the one before (a repeated seal, or disorder).
            CohortExceeded: more seals than the maximum cohort.
        """
        if self._batch.count >= self._params.maximum_cohort:
            raise CohortExceeded(f"expected at most {self._params.maximum_cohort} seals, got one more")
        report_id = hashlib.sha256(seal).digest()
        self._batch.add(report_id)
        outcome = self._open(report_id, seal)
        if isinstance(outcome, SealFailure):
            self._hand_out(Failure(report_id, outcome))
            return
        self._words += expand_mask(outcome.seed, self._params, self._context, out=self._buffer)
        self.opened += 1

    @property
    def failed(self) -> list[bytes]:
        """Ids of the reports that were left out and kept here, in increasing order; reasons are in ``failures``."""
        return [failure.report_id for failure in self.failures]

    @property
    def batch(self) -> bytes:
        """Digest of the seals seen so far: to compare with the digest that was marked before the first was opened."""
        return self._batch.digest()

    @property
    def total(self) -> NDArray[np.uint64]:
        """The sum of the masks modulo 2^b (uint64[d]). It leaves the helper only through :func:`noised_share`.

        Raises:
            CohortTooSmall: fewer seals opened than the minimum cohort.
        """
        check_opened(self.opened, self._params)
        return reduced(self._words, self._params).astype(np.uint64)

    def partial(self) -> PartialSum:
        """What was summed so far, as a part of the whole: it leaves the helper's own processes never.

        Raises:
            ValuesInvalid: no seal was seen.
        """
        span = span_of(self._batch, self._start)
        return partial_sum(Role.HELPER, self._params, self._context, span, self.opened, self._words)

    def _open(self, report_id: bytes, seal: bytes) -> SealedPayload | SealFailure:
        try:
            payload = SealedPayload.parse(self._key.open(seal, self._info))
        except SealInvalid:
            return SealFailure.UNOPENED
        except ReportInvalid:
            return SealFailure.MALFORMED
        if not hmac.compare_digest(payload.policy_hash, self._context.policy_hash):
            return SealFailure.POLICY
        if payload.expires_at <= self._now:
            return SealFailure.EXPIRED
        token = self._tokens(report_id)
        if token is not None and hmac.compare_digest(hashlib.sha256(token).digest(), payload.withdrawal_hash):
            return SealFailure.WITHDRAWN
        return payload

    def __repr__(self) -> str:
        return f"HelperSum(opened={self.opened}, failed={self._batch.count - self.opened}, total=<redacted>)"


def noised_share(total: NDArray[np.uint64], noise: NDArray[np.int64], params: SumParameters) -> bytes:
    """The helper's answer, packed: sum of masks - noise, mod 2^b, so that the leader's difference gains the noise.

    Args:
        total: uint64[d], from :attr:`HelperSum.total` or, merged from ranges, :attr:`MergedSum.total`.
        noise: int64[d], the discrete Gaussian with ``params.noise_sigma``: each server's noise alone meets the study's
            epsilon (device level, zero-out) against the other. Drawn once per batch, or derived from a durable secret
            and the batch's digest; the share is stored before it is sent, and a retry gets the stored bytes.
        params: the study's parameters.

    Raises:
        ValuesInvalid: total or noise have the wrong shape or dtype.
    """
    for name, array, dtype in (("total", total, np.uint64), ("noise", noise, np.int64)):
        if array.shape != (params.dimension,) or array.dtype != dtype:
            raise ValuesInvalid(f"expected {name} as {np.dtype(dtype)}[{params.dimension}], got {array.dtype}")
    words = total.astype(word_type(params.modulus_bits)) - residues(noise, params)
    return pack(reduced(words, params), params.modulus_bits)
