"""Global Privacy Control (W3C): the ``Sec-GPC`` request header and ``/.well-known/gpc.json``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

_HEADER: Final = "sec-gpc"


def read_gpc(headers: Iterable[tuple[str, str]]) -> bool:
    """True if and only if a ``Sec-GPC`` header has exactly the value ``1``.

    Any other value is treated as absent, as the specification asks; several headers collapse into one fact.

    Args:
        headers: (name, value) pairs as received; names in any case, values without surrounding space.
    """
    return any(name.lower() == _HEADER and value == "1" for name, value in headers)


def well_known_gpc(updated: dt.date) -> dict[str, Any]:
    """The document at ``/.well-known/gpc.json``: this site honours the signal, and since when that was last said."""
    return {"gpc": True, "lastUpdate": updated.isoformat()}
