"""Errors of the signals' decoders.

::

    ConsentError
    └── SignalError             names the field, what was expected there and what was got
        ├── SignalMalformed     not a string of its framework, or damaged
        └── SignalUnsupported   a version or section that is not read here, such as TCF v1
"""

from __future__ import annotations

from typing import Final

from consent.errors import ConsentError

_SHOWN_CHARACTERS: Final = 24
"""How much of a faulty text an error repeats: enough to find it, too little to carry the string around."""


class SignalError(ConsentError):
    """A signal that does not decode. No fact follows from it, least of all a consent.

    Attributes:
        field: where, by the specification's name, for example ``Core.CmpId``.
        expected: what the specification has there.
        got: what stands there; foreign text is quoted and shortened.
    """

    def __init__(self, field: str, expected: str, got: object) -> None:
        self.field, self.expected, self.got = field, expected, str(got)
        super().__init__(f"{field}: expected {expected}, got {self.got}")


class SignalMalformed(SignalError):
    """The string is damaged, too long, or never was one of its framework."""


class SignalUnsupported(SignalError):
    """A version or section that this house does not read; nothing is guessed about it."""


def quote(got: str) -> str:
    """Foreign text as an error repeats it: quoted, printable, short."""
    quoted = ascii(got[:_SHOWN_CHARACTERS])
    return quoted if len(got) <= _SHOWN_CHARACTERS else f"{quoted} and {len(got) - _SHOWN_CHARACTERS} more"
