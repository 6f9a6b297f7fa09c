"""What the agent's processes may write to a log: nothing about a person.

The agent's own lines name studies, rounds and what is wrong, never a name, a page or an event. Libraries do not know
what is personal: an HTTP client's line quotes the address of every page that the gateway fetches. They stay silent
below a warning, whatever level the operator sets for everything else.
"""

from __future__ import annotations

import logging
from typing import Final

TALKATIVE: Final = ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "python_multipart", "asyncio", "tuf")
"""Loggers of libraries that may quote addresses, headers or bodies."""


def quieten() -> None:
    """Keep libraries from quoting what passes through them. Run wherever the agent opens a door or a connection."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
