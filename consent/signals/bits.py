"""The bits of one segment, read strictly from left to right.

Each read names its field, so that an error says where it happened. Strict means: only the web-safe base64 alphabet and
no ``=``; no read past the end; at the end nothing is left but padding zeros. Every read costs time in proportion to
its bits, and a budget bounds what ranges may expand to, so that a short string cannot ask for gigabytes.
"""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Sequence
from typing import Final

from consent.signals.errors import SignalMalformed, quote

_ALPHABET: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_SEXTETS: Final = {ord(character): f"{value:06b}" for value, character in enumerate(_ALPHABET)}
_LETTERS: Final = string.ascii_uppercase
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

PADDING_BITS: Final = 24
"""Encoders fill up to whole characters, whole bytes, or both: fewer than 24 zeros. More is not padding."""
LONGEST_CHARACTERS: Final = 65_536
"""No string of any framework comes near; a cookie holds 4,096."""
LISTED_IDS: Final = 2**20
"""How many ids the ranges of one segment may name in all: 16 complete lists of 65,535 vendors."""


def check_length(text: str, field: str) -> None:
    """Refuse a text that is longer than any signal, before anything is read from it."""
    if len(text) > LONGEST_CHARACTERS:
        raise SignalMalformed(field, f"at most {LONGEST_CHARACTERS} characters", f"{len(text)}")


class Bits:
    """A cursor over one base64url segment.

    Args:
        text: the segment's characters.
        segment: its name, the first part of every field's name in errors.

    Raises:
        SignalMalformed: a character that is not of the alphabet, or none at all.
    """

    def __init__(self, text: str, segment: str) -> None:
        if not text:
            raise SignalMalformed(segment, "at least one base64url character", "none")
        stray = text.strip(_ALPHABET)
        if stray:
            raise SignalMalformed(segment, "the base64url characters A-Z a-z 0-9 - _ alone", quote(stray))
        self._bits = text.translate(_SEXTETS)
        self._segment = segment
        self._at = 0
        self._ids_left = LISTED_IDS

    @property
    def left(self) -> int:
        """How many bits are not read yet, padding included."""
        return len(self._bits) - self._at

    def integer(self, width: int, field: str) -> int:
        """The next ``width`` bits, big-endian."""
        return int(self._take(width, field), 2) if width else 0

    def between(self, low: int, high: int, width: int, field: str) -> int:
        """An integer that the specification confines.

        Raises:
            SignalMalformed: outside ``low`` to ``high``, both included.
        """
        value = self.integer(width, field)
        if not low <= value <= high:
            raise self.fault(field, f"{low} to {high}" if low < high else f"{low}", value)
        return value

    def boolean(self, field: str) -> bool:
        """One bit."""
        return self._take(1, field) == "1"

    def flags(self, width: int, field: str) -> list[bool]:
        """One bit an id; the first is id 1."""
        return [bit == "1" for bit in self._take(width, field)]

    def letters(self, field: str) -> str:
        """Two letters of six bits each, A = 0.

        Raises:
            SignalMalformed: a value above 25.
        """
        return "".join(_LETTERS[self.between(0, len(_LETTERS) - 1, 6, field)] for _ in range(2))

    def instant(self, field: str) -> dt.datetime:
        """36 bits: tenths of a second since 1970 in UTC (the last is in the year 2187)."""
        return _EPOCH + dt.timedelta(milliseconds=100 * self.integer(36, field))

    def fibonacci(self, field: str, high: int) -> int:
        """A Fibonacci-coded integer from 1 to ``high``: digits of value 1, 2, 3, 5, 8, ..., ended by two ones."""
        value, digit, following, last = 0, 1, 2, False
        while True:
            bit = self.boolean(field)
            if bit and last:
                return value
            value += digit if bit else 0
            if value > high or digit > high:
                raise self.fault(field, f"a Fibonacci-coded number up to {high}", "a larger one")
            digit, following, last = following, digit + following, bit

    def spend(self, ids: int, field: str) -> None:
        """Charge the ids that a range names, before they are listed."""
        self._ids_left -= ids
        if self._ids_left < 0:
            raise self.fault(field, f"ranges of at most {LISTED_IDS} ids in all", "more")

    def finish(self) -> None:
        """Nothing may be left but padding.

        Raises:
            SignalMalformed: bits that no field owns.
        """
        rest = self._bits[self._at :]
        if "1" in rest or len(rest) >= PADDING_BITS:
            raise self.fault("end", f"fewer than {PADDING_BITS} padding zeros", f"{len(rest)} bits that no field owns")

    def fault(self, field: str, expected: str, got: object) -> SignalMalformed:
        """The error for a field of this segment."""
        return SignalMalformed(f"{self._segment}.{field}", expected, got)

    def _take(self, width: int, field: str) -> str:
        taken = self._bits[self._at : self._at + width]
        if len(taken) < width:
            raise self.fault(field, f"{width} bits", f"the end of the segment after {len(taken)}")
        self._at += width
        return taken


def write_instant(instant: dt.datetime) -> str:
    """ISO 8601 in UTC to the millisecond, as the reference decoders print it."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def positions(flags: Sequence[bool]) -> list[int]:
    """Ids whose flag is set."""
    return [position for position, flag in enumerate(flags, start=1) if flag]
