"""Which row of a broken chain is the wrong one, and which byte of it.

Row i keeps the digest of row i - 1. Where that link does not hold, either row i - 1 was changed after it was written or
row i was: the link alone cannot say. The next link can: if row i + 1 (or the head, for the last row) names row i as it
stands, row i is what was written, and the wrong one is the row before it. A byte is found by search: the one change of
one byte after which the row has the digest that is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from privacy.accounting.errors import LedgerCorrupt
from privacy.accounting.rows import PREVIOUS, field_at, row_digest


class ChangedByte(NamedTuple):
    """The one byte of a row that is not what was written."""

    offset: int
    written: int
    field: str


def find_change(body: bytes, digest: bytes) -> ChangedByte | None:
    """The byte whose change explains why a body does not have a digest; None if no single byte does.

    Tries 255 values at each place, well within a second for a row.

    Args:
        body: a stored body.
        digest: what the digest of the row was when it was written (32 bytes).
    """
    trial = bytearray(body)
    for offset, found in enumerate(body):
        for value in range(256):
            trial[offset] = value
            if value != found and row_digest(bytes(trial)) == digest:
                return ChangedByte(offset, value, field_at(bytes(trial), offset))
        trial[offset] = found
    return None


def explain(bodies: Sequence[bytes], head: bytes) -> LedgerCorrupt | None:
    """The error for a ledger whose last row differs in one byte from the one that had this head; else None."""
    if not bodies or row_digest(bodies[-1]) == head:
        return None
    change = find_change(bodies[-1], head)
    return None if change is None else _changed(bodies[-1], len(bodies) - 1, change)


def locate(
    bodies: Sequence[bytes], index: int, reason: str, genesis: bytes, head: bytes | None = None
) -> LedgerCorrupt:
    """The error that names the wrong row, given the first one that did not replay.

    Args:
        bodies: the stored rows, in order.
        index: the first row that did not replay; their number if all did and ended in another head.
        reason: why it did not.
        genesis: the digest before the first row.
        head: the digest that the last row must have, if it is known.
    """
    before = row_digest(bodies[index - 1]) if index else genesis
    if index == len(bodies):
        return _wrong(bodies, index - 1, head, reason) if index else LedgerCorrupt(0, "expected rows, got none")
    named = bodies[index][PREVIOUS]
    known = bodies[index + 1][PREVIOUS] if index + 1 < len(bodies) else head
    if named == before:
        return _wrong(bodies, index, known, reason)
    blamed = _of_link(bodies, index, before, as_written=row_digest(bodies[index]) == known)
    return _wrong(bodies, index, known, reason) if blamed is None else blamed


def _of_link(bodies: Sequence[bytes], index: int, before: bytes, *, as_written: bool) -> LedgerCorrupt | None:
    """The error for a link that does not hold, if the link itself or the row before it is to blame."""
    named = bodies[index][PREVIOUS]
    link = None if as_written else _link_change(named, before)
    if link is not None:
        return _changed(bodies[index], index, link)
    # The row is what was written, or nobody knows: then the row before it may be the one that was changed.
    change = find_change(bodies[index - 1], named) if index else None
    if change is not None:
        return _changed(bodies[index - 1], index - 1, change)
    if not as_written or index == 0 or _index(bodies[index]) != index:
        return None  # if as written, then elsewhere: it is another ledger's, or rows before it are missing
    return LedgerCorrupt(index - 1, "is not the row that the next one names")


def _wrong(bodies: Sequence[bytes], index: int, written: bytes | None, reason: str) -> LedgerCorrupt:
    change = None if written is None else find_change(bodies[index], written)
    return LedgerCorrupt(index, reason) if change is None else _changed(bodies[index], index, change)


def _changed(body: bytes, index: int, change: ChangedByte) -> LedgerCorrupt:
    reason = f"was changed: expected 0x{change.written:02x}, got 0x{body[change.offset]:02x}"
    return LedgerCorrupt(index, reason, change.offset, change.field)


def _link_change(named: bytes, before: bytes) -> ChangedByte | None:
    """The changed byte of a link that is otherwise right; a row that was changed would have another digest all over."""
    differing = [at for at, (have, want) in enumerate(zip(named, before, strict=False)) if have != want]
    if len(named) != len(before) or len(differing) != 1:
        return None
    return ChangedByte(PREVIOUS.start + differing[0], before[differing[0]], "previous digest")


def _index(body: bytes) -> int:
    return int.from_bytes(body[1:9], "big")
