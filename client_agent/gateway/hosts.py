"""Host names. Cookies know no ports (RFC 6265, section 8.5): who listens under a name of ours is sent our cookies."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


class UpstreamHere(ValueError):
    """The site's own server is under a host name of the agent's, or on its machine.

    Args:
        upstream: the site's address.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(
            f"expected a site on another machine and under another host name, got {upstream}: browsers send a server "
            "here the agent's cookies, and with them it reads and presses what the person can. Where that is meant, as "
            "in a trial, say --upstream-here (upstream_here=True)"
        )


def host_of(address: str) -> str:
    """The host of an address, as it is compared: in lower case, without a final dot or brackets."""
    return (urlsplit(address).hostname or "").rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether a name or a literal address of any spelling means this machine without asking anybody."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))  # 127.1 and 0x7f000001, as browsers read them
        except OSError:
            return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def is_of_this_machine(host: str) -> bool:
    """Whether a name resolves to an address of this machine at this moment; False where it does not resolve.

    An address is this machine's if a socket can be bound to it.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(_is_bindable(family, address) for family, _, _, _, address in found)


def _is_bindable(family: int, address: tuple[object, ...]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True
