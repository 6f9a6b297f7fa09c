"""Global Privacy Control (W3C): the ``Sec-GPC`` header, the page's property, and ``/.well-known/gpc.json``."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consent.signals.errors import SignalMalformed, quote
from consent.signals.reading import Reading

_HEADER: Final = "sec-gpc"
_ON: Final = "1"
_MEMBERS: Final = {"gpc", "lastUpdate"}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def read_gpc(headers: Iterable[tuple[str, str]]) -> bool:
    """True if and only if a ``Sec-GPC`` header has exactly the value ``1``.

    Any other value is treated as absent, as the specification asks; several headers collapse into one fact.

    Args:
        headers: (name, value) pairs as received; names in any case, values without surrounding space.
    """
    return any(name.lower() == _HEADER and value == _ON for name, value in headers)


def read_gpc_values(values: Sequence[str]) -> Reading:
    """The values of all ``Sec-GPC`` headers of one request, as a reading. Never an error: see ``read_gpc``."""
    on = read_gpc((_HEADER, value) for value in values)
    reason = "Sec-GPC is exactly 1: an opt-out" if on else "no Sec-GPC is exactly 1: as if there were none"
    return Reading("gpc", on, reason, {"gpc": on}, opts_out=on)


def read_navigator(value: object) -> bool:
    """``navigator.globalPrivacyControl`` as a page reports it: the boolean ``true`` alone is the signal.

    Browsers without support have no such property; a script may have written anything into it.
    """
    return value is True


def well_known_gpc(updated: dt.date) -> dict[str, Any]:
    """The document at ``/.well-known/gpc.json``: this site honours the signal, and since when that was last said."""
    return {"gpc": True, "lastUpdate": updated.isoformat()}


@dataclass(frozen=True, slots=True)
class GpcSupport:
    """What a site says about itself.

    Attributes:
        honours: it abides by the signal.
        updated: when it last said so.
    """

    honours: bool
    updated: dt.date


def parse_well_known_gpc(text: str) -> GpcSupport:
    """Check a site's ``/.well-known/gpc.json``.

    Raises:
        SignalMalformed: anything but an object of ``gpc``, a boolean, and ``lastUpdate``, a date.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SignalMalformed("gpc.json", "a JSON object", quote(text)) from error
    if not isinstance(document, dict) or set(document) != _MEMBERS:
        raise SignalMalformed("gpc.json", "an object with gpc and lastUpdate alone", "another shape")
    if not isinstance(document["gpc"], bool):
        raise SignalMalformed("gpc.json.gpc", "true or false", type(document["gpc"]).__name__)
    return GpcSupport(document["gpc"], _date(document["lastUpdate"]))


def _date(value: object) -> dt.date:
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return dt.date.fromisoformat(value)
    except ValueError:
        pass  # a day that no calendar has: as wrong as another shape
    raise SignalMalformed("gpc.json.lastUpdate", "a date such as 2026-01-31", quote(str(value)))
