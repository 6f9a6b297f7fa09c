"""A small writer of TC strings and GPP headers: the decoders' counterpart in tests, and a way to make bad ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
CREATED = 17_000_000_000  # deciseconds: November 2023


def pack(bits: str) -> str:
    """Bits as base64url, filled up with zeros."""
    bits += "0" * (-len(bits) % 6)
    return "".join(ALPHABET[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def number(value: int, width: int) -> str:
    """Big-endian."""
    return f"{value:0{width}b}"


def flags(ids: Iterable[int], width: int) -> str:
    """One bit an id."""
    chosen = set(ids)
    return "".join("1" if one in chosen else "0" for one in range(1, width + 1))


def letters(text: str) -> str:
    """Six bits a letter."""
    return "".join(number(ord(letter) - ord("A"), 6) for letter in text)


def spans(ranges: Sequence[tuple[int, int]]) -> str:
    """NumEntries and the entries."""
    entries = ("0" + number(a, 16) if a == b else "1" + number(a, 16) + number(b, 16) for a, b in ranges)
    return number(len(ranges), 12) + "".join(entries)


def in_bit_field(ids: Sequence[int]) -> str:
    """A vendor list with one bit an id."""
    last = max(ids, default=0)
    return number(last, 16) + "0" + flags(ids, last)


def in_ranges(ids: Sequence[int]) -> str:
    """A vendor list with one entry a run of ids."""
    runs: list[tuple[int, int]] = []
    for one in sorted(ids):
        if runs and runs[-1][1] == one - 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    return number(max(ids, default=0), 16) + "1" + spans(runs)


def fibonacci(value: int) -> str:
    """Fibonacci code."""
    digits = [1, 2]
    while digits[-1] <= value:
        digits.append(digits[-1] + digits[-2])
    code = ""
    for digit in reversed(digits[:-1]):
        code = ("1" if digit <= value else "0" if code else "") + code
        value -= digit if digit <= value else 0
    return code + "1"


def header(ids: Sequence[int]) -> str:
    """A GPP header that lists each id by itself."""
    before = [0, *ids]
    offsets = (one - last for last, one in zip(before, ids, strict=False))
    return pack(number(3, 6) + number(1, 6) + number(len(ids), 12) + "".join("0" + fibonacci(one) for one in offsets))


@dataclass
class TcCore:
    """Fields of a core segment with values that would be accepted."""

    version: int = 2
    created: int = CREATED
    updated: int = CREATED
    cmp: int = 880
    cmp_version: int = 3
    screen: int = 1
    language: str = "EN"
    vendor_list: int = 48
    policy: int = 5
    specific: bool = True
    texts: bool = False
    features: Sequence[int] = ()
    consents: Sequence[int] = (1, 2, 3)
    interests: Sequence[int] = ()
    purpose_one: bool = False
    country: str = "DE"
    vendor_consents: str = in_bit_field([1, 2, 4])
    vendor_interests: str = in_bit_field([])
    restrictions: Sequence[tuple[int, int, Sequence[tuple[int, int]]]] = field(default_factory=tuple)

    def bits(self) -> str:
        """The segment before it is packed."""
        head = number(self.version, 6) + number(self.created, 36) + number(self.updated, 36)
        made = number(self.cmp, 12) + number(self.cmp_version, 12) + number(self.screen, 6) + letters(self.language)
        lists = number(self.vendor_list, 12) + number(self.policy, 6) + f"{self.specific:d}{self.texts:d}"
        purposes = flags(self.features, 12) + flags(self.consents, 24) + flags(self.interests, 24)
        place = f"{self.purpose_one:d}" + letters(self.country)
        restricted = "".join(number(p, 6) + number(t, 2) + spans(r) for p, t, r in self.restrictions)
        vendors = self.vendor_consents + self.vendor_interests + number(len(self.restrictions), 12) + restricted
        return head + made + lists + purposes + place + vendors

    def text(self) -> str:
        """The packed segment."""
        return pack(self.bits())


DISCLOSED = pack(number(1, 3) + in_bit_field([1, 2, 4]))


def tc_string(core: TcCore | None = None, *segments: str) -> str:
    """A core and its segments; with disclosed vendors where none are given."""
    return ".".join([(core or TcCore()).text(), *(segments or (DISCLOSED,))])
