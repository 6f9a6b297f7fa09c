"""Lists of vendors, as bit fields and as ranges, and what a publisher restricts for them.

Facts from the IAB Tech Lab's "Consent string and vendor list formats v2" (core string, publisher restrictions) and the
GPP's "Consent String Specification" (data types).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from consent.signals.bits import Bits, positions

LAST_ID: Final = 65_535
PURPOSES: Final = 24
"""Purposes that the formats have room for; restrictions name one of them."""
_RESTRICTION_TYPES: Final = 2
"""0 not allowed, 1 require consent, 2 require legitimate interest; 3 is undefined."""


Listing: TypeAlias = Callable[[Bits, str], list[int]]


class Restriction(NamedTuple):
    """What a publisher does not allow, or on which legal ground alone."""

    purpose: int
    kind: int
    vendors: list[int]


def vendor_list(bits: Bits, field: str) -> list[int]:
    """Largest id, then either one bit an id or ranges up to it (called OptimizedIntRange in the GPP).

    Raises:
        SignalMalformed: truncated, or a range beyond the largest id.
    """
    last = bits.integer(16, f"{field}.MaxVendorId")
    if bits.boolean(f"{field}.IsRangeEncoding"):
        return ranges(bits, field, last)
    return positions(bits.flags(last, f"{field}.BitField"))


def optimised_list(bits: Bits, field: str) -> list[int]:
    """The GPP's OptimizedRange, as the reference encoder writes it: largest id, then a bit field or Fibonacci ranges.

    The specification's table has no largest id before the Fibonacci ranges; the reference encoder and every published
    string do.

    Raises:
        SignalMalformed: truncated, or a range beyond the largest id.
    """
    last = bits.integer(16, f"{field}.MaxId")
    if bits.boolean(f"{field}.IsRangeEncoding"):
        return fibonacci_ranges(bits, field, last)
    return positions(bits.flags(last, f"{field}.BitField"))


def fibonacci_ranges(bits: Bits, field: str, last: int) -> list[int]:
    """Entries that say how far each lies after the one before, and how many ids follow: sorted by construction.

    Raises:
        SignalMalformed: an id beyond ``last``.
    """
    ids: list[int] = []
    reached = 0
    for _ in range(bits.integer(12, f"{field}.NumEntries")):
        group = bits.boolean(f"{field}.IsARange")
        start = reached + bits.fibonacci(f"{field}.Offset", LAST_ID)
        reached = start + (bits.fibonacci(f"{field}.Length", LAST_ID) if group else 0)
        if reached > last:
            raise bits.fault(field, f"ids up to {last}", reached)
        bits.spend(reached - start + 1, field)
        ids.extend(range(start, reached + 1))
    return ids


def ranges(bits: Bits, field: str, last: int = LAST_ID) -> list[int]:
    """Entries of one id or of a first and a last, in any order; platforms write some ids twice, which says no more.

    Raises:
        SignalMalformed: id 0, an end before its start, an id beyond ``last``, more ids than the segment may list.
    """
    ids: set[int] = set()
    for _ in range(bits.integer(12, f"{field}.NumEntries")):
        start, end = _span(bits, field, last)
        ids.update(range(start, end + 1))
    return sorted(ids)


def _span(bits: Bits, field: str, last: int) -> tuple[int, int]:
    group = bits.boolean(f"{field}.IsARange")
    start = bits.between(1, last, 16, f"{field}.StartOrOnlyVendorId")
    end = bits.between(start, last, 16, f"{field}.EndVendorId") if group else start
    bits.spend(end - start + 1, field)
    return start, end


def restrictions(bits: Bits, field: str, listing: Listing = ranges) -> list[Restriction]:
    """Publisher restrictions, in their order.

    Args:
        bits: the segment.
        field: the name of the list.
        listing: how an entry's vendors are written: ranges in the TCF of Europe, optimised lists in Canada's.

    Raises:
        SignalMalformed: a purpose or type that does not exist, one that comes twice, a faulty range.
    """
    found: dict[tuple[int, int], Restriction] = {}
    for _ in range(bits.integer(12, f"{field}.NumPubRestrictions")):
        purpose = bits.between(1, PURPOSES, 6, f"{field}.PurposeId")
        kind = bits.between(0, _RESTRICTION_TYPES, 2, f"{field}.RestrictionType")
        vendors = listing(bits, field)
        if (purpose, kind) in found:
            raise bits.fault(field, "each purpose and restriction type once", f"purpose {purpose}, type {kind} twice")
        found[purpose, kind] = Restriction(purpose, kind, vendors)
    return list(found.values())
