"""Unix seconds and their ISO 8601 spelling in UTC, both ways and exactly."""

from __future__ import annotations

import datetime as dt
from typing import Final

LATEST_SECONDS: Final = 253_402_300_799
"""The last second of the year 9999: the end of what ISO 8601 writes with four digits."""
CLOCK_SKEW_SECONDS: Final = 300
"""How far two honest clocks may differ."""


def write_instant(unix_seconds: int) -> str:
    """ISO 8601 in UTC, to the second, for example ``2026-01-31T08:00:00Z``."""
    return dt.datetime.fromtimestamp(unix_seconds, tz=dt.UTC).isoformat().removesuffix("+00:00") + "Z"


def tell_instant(unix_seconds: int | None) -> str | None:
    """The same to be shown; None for no time, and for one after the year 9999, which only a made-up record has."""
    return None if unix_seconds is None or unix_seconds > LATEST_SECONDS else write_instant(unix_seconds)


def parse_instant(text: str) -> int:
    """Unix seconds of a text that ``write_instant`` wrote.

    Raises:
        ValueError: another spelling.
    """
    instant = dt.datetime.fromisoformat(text)
    if instant.tzinfo is None or not text.endswith("Z"):
        raise ValueError("expected an instant in UTC that ends in Z")
    return int(instant.timestamp())
