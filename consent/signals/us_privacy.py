"""The US Privacy string (IAB Tech Lab, "U.S. Privacy String", version 1): four characters, retired in January 2024.

Version; whether explicit notice was given; whether the person opted out of the sale of their data; whether the Limited
Service Provider Agreement covers the transaction. Each answer is Y, N or ``-`` (not applicable, or not known).
"""

from __future__ import annotations

import re
from typing import Any, Final

from consent.signals.errors import SignalMalformed, quote
from consent.signals.reading import Reading, verdict

_GRAMMAR: Final = re.compile(r"([12])([YyNn-])([YyNn-])([YyNn-])")
_NOT_APPLICABLE: Final = "-"
_PUBLISHED_VERSION: Final = "1"


def read_us_privacy(text: str) -> Reading:
    """Decode a us_privacy string.

    ``1---`` decodes to ``applies: false``: the site says that the law does not apply to this visit.

    Raises:
        SignalMalformed: it does not have the four characters of the grammar.
    """
    version, notice, opt_out, covered = parse_us_privacy(text)
    if {notice, opt_out, covered} == {_NOT_APPLICABLE}:
        return Reading("us_privacy", False, "the site says that US privacy law does not apply", {"applies": False})
    accepted, reason = verdict(
        _objections(version, opt_out), "a valid us_privacy string; it tells about sale, and is no consent here"
    )
    return Reading("us_privacy", accepted, reason, _fields(notice, opt_out, covered))


def parse_us_privacy(text: str) -> tuple[str, str, str, str]:
    """Version, notice, opt-out of sale and agreement, letters in upper case.

    Raises:
        SignalMalformed: another form.
    """
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise SignalMalformed("us_privacy", "a version 1 or 2 and three of Y, N and -", quote(text))
    version, notice, opt_out, covered = found.group(1, 2, 3, 4)
    return version, notice.upper(), opt_out.upper(), covered.upper()


def _objections(version: str, opt_out: str) -> list[str]:
    checks = (
        (version != _PUBLISHED_VERSION, "version 1 is the only one that was published"),
        (opt_out == _NOT_APPLICABLE, "whether sale was opted out of may not be left open where the law applies"),
    )
    return [text for holds, text in checks if holds]


def _fields(notice: str, opt_out: str, covered: str) -> dict[str, Any]:
    named = {"notice": notice, "opt_out_sale": opt_out, "lspa": covered}
    return {name: None if value == _NOT_APPLICABLE else value for name, value in named.items()}
