"""The batch: an ordered set of report ids, hashed as it streams by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from privacy.crypto import digest
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.errors import BatchRefused

_ID_BYTES = 32


class BatchDigest:
    """Hash a batch in constant memory, and refuse ids that do not strictly increase.

    Strict order makes a repeated id impossible without remembering any: a leader cannot have one seal summed twice.
    The digest binds the context, the bucket, every id and their number. Run by leader and helper; the helper answers
    one digest per (study, round, bucket), ever.
    """

    __slots__ = ("_last", "_state", "count")

    def __init__(self, context: SumContext) -> None:
        prefix = digest("secure-sum/batch", context.digest, context.bucket.to_bytes(8, "big"))
        self._state = hashlib.sha256(prefix)
        self._last = b""
        self.count = 0

    def add(self, report_id: bytes) -> None:
        """Take the next id.

        Raises:
            BatchRefused: it is not 32 bytes, or not above the one before.
        """
        if len(report_id) != _ID_BYTES:
            raise BatchRefused(f"expected a report id of {_ID_BYTES} bytes, got {len(report_id)}")
        if report_id <= self._last:
            raise BatchRefused(f"expected strictly increasing report ids, got one out of order at index {self.count}")
        self._state.update(report_id)
        self._last = bytes(report_id)
        self.count += 1

    def digest(self) -> bytes:
        """The batch's digest so far (32 bytes)."""
        state = self._state.copy()
        state.update(self.count.to_bytes(8, "big"))
        return state.digest()


def batch_digest(context: SumContext, ids: Iterable[bytes]) -> bytes:
    """The digest of a batch of strictly increasing ids (32 bytes).

    Raises:
        BatchRefused: an id is malformed, repeated or out of order.
    """
    batch = BatchDigest(context)
    for report_id in ids:
        batch.add(report_id)
    return batch.digest()
