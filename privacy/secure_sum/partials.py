"""Sums of ranges, and how they become the sum of a batch: nothing counted twice, nothing left out.

One pass over the batch's ids gives its digest and its ranges (:class:`privacy.secure_sum.batches.SpannedBatch`). Each
range is summed wherever there is a core; what comes back says which ids it ran over. :class:`MergedSum` takes a part
only if it ran over exactly the ids of a range that is still missing, and has a total only when none is. Sums modulo 2^b
commute, so the order in which parts arrive, and the number of processes, change no bit of the result.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from privacy.crypto import digest
from privacy.secure_sum.batches import Span
from privacy.secure_sum.context import SumContext
from privacy.secure_sum.errors import CohortExceeded, CohortTooSmall, PackingInvalid, PartialRefused
from privacy.secure_sum.masking import reduced
from privacy.secure_sum.packing import Words, add_packed, pack, word_type
from privacy.secure_sum.parameters import SumParameters

_MAGIC = b"HSP\x01"
_HEAD = struct.Struct(">4sB32sQQ32s32s32sQ")
_PARAMETERS = struct.Struct(">QdQdQQ")


class Role(IntEnum):
    """Whose half a part belongs to: masks and masked vectors are never put together before the release."""

    HELPER = 1
    LEADER = 2


@dataclass(frozen=True, slots=True)
class PartialSum:
    """The sum over one range of a batch. The helper's is as secret as the sum of masks that it is part of.

    Args:
        role: whose half.
        subject: digest of the round's context, its bucket and the parameters: what it is a sum of (32 bytes).
        span: the range of the batch that it ran over.
        counted: how many of the range are in the sum, the others were left out.
        words: the sum modulo 2^b, packed.
    """

    role: Role
    subject: bytes
    span: Span
    counted: int
    words: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """For a private pipe between two processes of one server: 157 bytes and the packed vector."""
        span = self.span
        ids = (span.first, span.last, span.digest)
        head = _HEAD.pack(_MAGIC, self.role, self.subject, span.start, span.count, *ids, self.counted)
        return head + self.words

    @classmethod
    def parse(cls, data: bytes) -> PartialSum:
        """Undo :meth:`to_bytes`.

        Raises:
            PartialRefused: the bytes are no partial sum.
        """
        if len(data) < _HEAD.size:
            raise PartialRefused(f"expected a partial sum of at least {_HEAD.size} bytes, got {len(data)}")
        magic, role, subject, start, count, first, last, ids, counted = _HEAD.unpack_from(data)
        if magic != _MAGIC or role not in tuple(Role):
            raise PartialRefused("expected a partial sum of version 1, got other bytes")
        return cls(Role(role), subject, Span(start, count, first, last, ids), counted, data[_HEAD.size :])

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a partial sum is not pickled; send to_bytes() over a private pipe")


class MergedSum:
    """The sum of a batch from the sums of its ranges, in any order.

    Memory is one vector and the ranges. Run by the helper and by the leader, each over its own half.

    Args:
        role: whose half.
        params: the study's parameters.
        context: the round's context, with the bucket.
        spans: the batch's ranges, from the pass that computed its digest.

    Raises:
        PartialRefused: the ranges are not adjacent, do not strictly increase across a border, or are none.
        CohortExceeded: together they have more reports than the maximum cohort.
    """

    __slots__ = ("_missing", "_params", "_role", "_subject", "_words", "counted", "reports")

    def __init__(self, role: Role, params: SumParameters, context: SumContext, spans: Sequence[Span]) -> None:
        check_spans(spans)
        self.reports = spans[-1].end
        """Reports in all ranges together."""
        if self.reports > params.maximum_cohort:
            raise CohortExceeded(f"expected at most {params.maximum_cohort} reports, got {self.reports}")
        self._role = role
        self._params = params
        self._subject = subject_of(params, context)
        self._missing = {span.start: span for span in spans}
        self._words: Words = np.zeros(params.dimension, dtype=word_type(params.modulus_bits))
        self.counted = 0
        """Reports in the sum so far."""

    def add(self, part: PartialSum) -> None:
        """Take the sum of one range.

        Raises:
            PartialRefused: it is of another role, round, study or range, was taken before, or is malformed.
        """
        if (part.role, part.subject) != (self._role, self._subject):
            raise PartialRefused(f"expected a part of this round's {self._role.name.lower()} sum, got another")
        expected = self._missing.get(part.span.start)
        if expected is None:
            raise PartialRefused(f"expected a range that is still missing, got one from index {part.span.start}")
        if part.span != expected:
            raise PartialRefused(
                f"expected the {expected.count} ids from index {expected.start} on that the batch has, got "
                f"{part.span.count} others"
            )
        if not 0 <= part.counted <= expected.count:
            raise PartialRefused(f"expected at most {expected.count} counted reports, got {part.counted}")
        try:
            add_packed((part.words,), self._params.modulus_bits, self._words)
        except PackingInvalid as error:
            raise PartialRefused(str(error)) from error
        del self._missing[expected.start]
        self.counted += part.counted

    @property
    def total(self) -> NDArray[np.uint64]:
        """The whole sum modulo 2^b (uint64[d]).

        Raises:
            PartialRefused: a range is missing.
            CohortTooSmall: the helper's sum has fewer opened seals than the minimum cohort.
        """
        if self._missing:
            raise PartialRefused(f"expected every range of the batch, got all but {len(self._missing)}")
        if self._role is Role.HELPER:
            check_opened(self.counted, self._params)
        return reduced(self._words, self._params).astype(np.uint64)

    def __repr__(self) -> str:
        return f"MergedSum({self._role.name.lower()}, counted={self.counted}, missing={len(self._missing)}, <redacted>)"


def partial_sum(
    role: Role, params: SumParameters, context: SumContext, span: Span, counted: int, words: Words
) -> PartialSum:
    """A part from a running sum's native words."""
    packed = pack(reduced(words, params), params.modulus_bits)
    return PartialSum(role, subject_of(params, context), span, counted, packed)


def subject_of(params: SumParameters, context: SumContext) -> bytes:
    """What a partial sum is of: the context, its bucket and every parameter (32 bytes)."""
    fixed = _PARAMETERS.pack(
        params.dimension,
        params.clip_norm,
        params.sensitivity,
        params.noise_multiplier,
        params.maximum_cohort,
        params.minimum_cohort,
    )
    return digest("secure-sum/partial", context.digest, context.bucket.to_bytes(8, "big"), fixed)


def check_spans(spans: Sequence[Span]) -> None:
    """Insist on ranges that are one batch: from index 0, adjacent, ids strictly increasing across every border.

    Raises:
        PartialRefused: they are not.
    """
    if not spans:
        raise PartialRefused("expected at least one range, got none")
    end, last = 0, b""
    for span in spans:
        if span.count < 1 or span.start != end:
            raise PartialRefused(f"expected a range from index {end} on, got {span.count} reports from {span.start}")
        if not last < span.first <= span.last:
            raise PartialRefused(f"expected ids that strictly increase across index {span.start}, got a step back")
        end, last = span.end, span.last


def check_opened(opened: int, params: SumParameters) -> None:
    """Insist on the minimum cohort, counted in opened seals.

    Raises:
        CohortTooSmall: fewer were opened.
    """
    if opened < params.minimum_cohort:
        raise CohortTooSmall(f"expected at least {params.minimum_cohort} opened seals, got {opened}")
