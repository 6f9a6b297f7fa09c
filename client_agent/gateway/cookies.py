"""The agent's cookies: their names, how they are set, and how they are kept from the site behind the gateway.

Cookies know no ports: one of 127.0.0.1:8300 is sent to every port of 127.0.0.1. So each name carries its port, the
site's cookie is bound to the door's path, and the agent's own page is served under another host name where it can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import urlsplit

DOOR_PATH: Final = "/.hearthside"
LASTING_SECONDS: Final = 180 * 86_400
"""What a browser is told to keep a cookie for, if the person asked for that; the agent itself forgets it sooner."""
_OURS: Final = re.compile(r"(?:__(?:host|secure|http|host-http)-)?hearthside(?:-page)?(?:-[0-9]+)?", re.IGNORECASE)
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
Place = Literal["site", "page"]


def cookie_name(origin: str, place: Place) -> str:
    """The name of the cookie on an origin; the browser itself enforces what the prefixes promise under https."""
    address = urlsplit(origin)
    plain = "hearthside" + ("-page" if place == "page" else "") + (f"-{address.port}" if address.port else "")
    if address.scheme != "https":
        return plain
    return ("__Host-" if place == "page" else "__Secure-") + plain


def set_cookie(origin: str, place: Place, value: str, *, lasting: bool) -> str:
    """A ``Set-Cookie`` header; an empty value deletes the cookie.

    On the site's origin it is ``SameSite=Strict`` and only ever sent to the door. On the agent's own it is ``Lax``: the
    link on the site's pages leads there from another host, and must find the person who is here.
    """
    path, policy = (DOOR_PATH, "Strict") if place == "site" else ("/", "Lax")
    parts = [f"{cookie_name(origin, place)}={value}", f"Path={path}", "HttpOnly", f"SameSite={policy}"]
    if origin.startswith("https://"):
        parts.append("Secure")
    if not value:
        parts.append("Max-Age=0")
    elif lasting:
        parts.append(f"Max-Age={LASTING_SECONDS}")
    return "; ".join(parts)


def presented(headers: Iterable[str], origin: str, place: Place) -> list[str]:
    """Every value that a request's ``Cookie`` headers give our cookie; more than one, and somebody planted one."""
    wanted = cookie_name(origin, place)
    found = []
    for header in headers:
        for pair in header.split(";"):
            name, equals, value = pair.strip().partition("=")
            if name.strip() == wanted and equals:
                found.append(value.strip() if _VALUE.fullmatch(value.strip()) else "")
    return found


def without_ours(header: str) -> str:
    """A ``Cookie`` header as the site may see it; empty where nothing is left."""
    return "; ".join(pair.strip() for pair in header.split(";") if pair.strip() and not _is_ours(pair))


def plants_ours(set_cookie_header: str) -> bool:
    """Whether a ``Set-Cookie`` of the site would look like a cookie of the agent when it comes back.

    A cookie without a name is sent as its bare value: ``=hearthside-8300=x`` comes back as ``hearthside-8300=x``.
    """
    return _is_ours(set_cookie_header.partition(";")[0])


def _is_ours(pair: str) -> bool:
    name = pair.strip(" \t=").partition("=")[0].strip()
    return _OURS.fullmatch(name) is not None
