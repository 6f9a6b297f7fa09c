"""The batch: an ordered set of report ids, hashed as it streams by, whole and in ranges that can be summed apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from privacy.crypto import digest
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.errors import BatchRefused, ValuesInvalid

_ID_BYTES = 32


class BatchDigest:
    """Hash a batch in constant memory, and refuse ids that do not strictly increase.

    Strict order makes a repeated id impossible without remembering any: a leader cannot have one seal summed twice.
    The digest binds the context, the bucket, every id and their number. Run by leader and helper; the helper answers
    one digest per (study, round, bucket), ever.
    """

    __slots__ = ("_state", "count", "first", "last")

    def __init__(self, context: SumContext) -> None:
        prefix = digest("secure-sum/batch", context.digest, context.bucket.to_bytes(8, "big"))
        self._state = hashlib.sha256(prefix)
        self.first = b""
        """The lowest id so far; empty before the first."""
        self.last = b""
        """The highest id so far; empty before the first."""
        self.count = 0

    def add(self, report_id: bytes) -> None:
        """Take the next id.

        Raises:
            BatchRefused: it is not 32 bytes, or not above the one before.
        """
        if len(report_id) != _ID_BYTES:
            raise BatchRefused(f"expected a report id of {_ID_BYTES} bytes, got {len(report_id)}")
        if report_id <= self.last:
            raise BatchRefused(f"expected strictly increasing report ids, got one out of order at index {self.count}")
        self._state.update(report_id)
        self.last = bytes(report_id)
        self.first = self.first or self.last
        self.count += 1

    def digest(self) -> bytes:
        """The batch's digest so far (32 bytes)."""
        state = self._state.copy()
        state.update(self.count.to_bytes(8, "big"))
        return state.digest()


@dataclass(frozen=True, slots=True)
class Span:
    """A contiguous range of a batch, which one process can sum alone.

    Args:
        start: index of its first report in the batch, from 0.
        count: how many reports, at least 1.
        first: its lowest report id, 32 bytes.
        last: its highest report id, 32 bytes.
        digest: digest of its ids as if they were a batch (:class:`BatchDigest`), 32 bytes. It is only ever compared
            with the digest of the same range; the helper answers for whole batches.
    """

    start: int
    count: int
    first: bytes
    last: bytes
    digest: bytes

    @property
    def end(self) -> int:
        """Index of the first report after it."""
        return self.start + self.count


def span_of(batch: BatchDigest, start: int) -> Span:
    """The range that a digest has run over.

    Raises:
        ValuesInvalid: it has run over nothing.
    """
    if batch.count == 0:
        raise ValuesInvalid("expected a range of at least one report, got an empty one")
    return Span(start, batch.count, batch.first, batch.last, batch.digest())


class SpannedBatch:
    """One pass over a batch's ids that gives its digest and cuts it into ranges of equal size.

    Both are computed from the same ids in the same pass, so ranges whose digests match are, together, that batch.
    Memory: one :class:`Span` per ``span_reports`` reports.

    Args:
        context: the round's context, with the bucket.
        span_reports: reports in a range; the last one may have fewer.
    """

    __slots__ = ("_context", "_part", "_size", "_spans", "_whole")

    def __init__(self, context: SumContext, span_reports: int) -> None:
        if span_reports < 1:
            raise ValuesInvalid(f"expected ranges of at least one report, got {span_reports}")
        self._context = context
        self._size = span_reports
        self._whole = BatchDigest(context)
        self._part = BatchDigest(context)
        self._spans: list[Span] = []

    def add(self, report_id: bytes) -> bool:
        """Take the next id; says whether it is the first of a range.

        Raises:
            BatchRefused: as :meth:`BatchDigest.add`.
        """
        self._whole.add(report_id)
        if self._part.count == self._size:
            self._close()
        self._part.add(report_id)
        return self._part.count == 1

    @property
    def count(self) -> int:
        """Ids so far."""
        return self._whole.count

    def finish(self) -> tuple[bytes, tuple[Span, ...]]:
        """The batch's digest (32 bytes) and its ranges, in order."""
        if self._part.count:
            self._close()
        return self._whole.digest(), tuple(self._spans)

    def _close(self) -> None:
        start = self._spans[-1].end if self._spans else 0
        self._spans.append(span_of(self._part, start))
        self._part = BatchDigest(self._context)


def batch_digest(context: SumContext, ids: Iterable[bytes]) -> bytes:
    """The digest of a batch of strictly increasing ids (32 bytes).

    Raises:
        BatchRefused: an id is malformed, repeated or out of order.
    """
    batch = BatchDigest(context)
    for report_id in ids:
        batch.add(report_id)
    return batch.digest()
