"""Which language a person is shown, and how that language writes numbers and moments.

Asked for in the address (``?lang=de``), else what the browser prefers, else English.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from consent.registry import LANGUAGES, Language

DEFAULT: Final[Language] = "en"
NAMES: Final[dict[Language, str]] = {"en": "English", "de": "Deutsch"}
"""Each language by its own name, for the switch."""
_POINT: Final = {"en": ".", "de": ","}
_GROUPING: Final = {"en": ",", "de": "."}
_MONTHS: Final = {
    "en": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "de": ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."],
}
_PREFERENCES_MAXIMUM: Final = 32
"""No browser sends more; the rest of a longer header is not read."""


def negotiate(asked: str | None, accept_language: str) -> Language:
    """The language to show.

    Args:
        asked: ``lang`` of the address or form; whatever is not a language that we have is as if not asked.
        accept_language: the header as received (RFC 9110, section 12.5.4); what cannot be read is skipped.
    """
    if asked in LANGUAGES:
        return asked
    known = [(-quality, place, name) for place, (name, quality) in enumerate(_preferences(accept_language)) if quality]
    return min(known)[2] if known else DEFAULT


def _preferences(header: str) -> list[tuple[Language, float]]:
    found: list[tuple[Language, float]] = []
    for part in header.split(",")[:_PREFERENCES_MAXIMUM]:
        tag, *parameters = (piece.strip().lower() for piece in part.split(";"))
        name = tag.partition("-")[0]
        quality = _quality(parameters)
        if quality is not None and (name in LANGUAGES or name == "*"):
            found.append((name if name in LANGUAGES else DEFAULT, quality))
    return found


def _quality(parameters: list[str]) -> float | None:
    """The weight of one preference, 0 to 1; None where it cannot be read."""
    if not parameters:
        return 1.0
    name, _, value = parameters[0].partition("=")
    try:
        quality = float(value)
    except ValueError:
        return None
    return quality if name.strip() == "q" and 0 <= quality <= 1 else None


def number(value: float, language: Language, digits: int = 0) -> str:
    """A number with grouped thousands and so many digits after the point."""
    swap = {",": _GROUPING[language], ".": _POINT[language]}
    return "".join(swap.get(sign, sign) for sign in f"{value:,.{digits}f}")


def general(value: float, language: Language, digits: int = 6) -> str:
    """A number in at most so many significant digits, such as 2, 0.5 or 1e-06."""
    return f"{value:.{digits}g}".replace(".", _POINT[language])


def percent(share: float, language: Language) -> str:
    """A share in whole percent; German sets a (no-break) space before the sign."""
    return f"{100 * share:.0f}{chr(0xA0) if language == 'de' else ''}%"


def moment(at_ms: float, language: Language) -> str:
    """A moment to the minute, in UTC: the same words on whichever machine the agent runs."""
    at = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC)
    month = _MONTHS[language][at.month - 1]
    day = f"{at.day}. {month}" if language == "de" else f"{at.day} {month}"
    return f"{day} {at.year}, {at:%H:%M} UTC"


def size(size_bytes: int, language: Language) -> str:
    """Bytes: exact below ten thousand, else in kB or MB."""
    if size_bytes < 10_000:  # noqa: PLR2004 - below it exact bytes read better
        return f"{number(size_bytes, language)} {'Byte' if language == 'de' else 'bytes'}"
    if size_bytes < 10_000_000:  # noqa: PLR2004 - likewise
        return f"{number(size_bytes / 1_000, language)} kB"
    return f"{number(size_bytes / 1_000_000, language, 1)} MB"
