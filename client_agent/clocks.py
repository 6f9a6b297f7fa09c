"""Time as an argument: a wall clock for windows, a monotonic one for the expiry of charges."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, Protocol

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PROCESS: Final = os.urandom(16).hex()


class Clock(Protocol):
    """What the agent asks for the time."""

    def now_ms(self) -> int:
        """Unix time in milliseconds; may be turned by anyone."""
        ...

    def monotonic_seconds(self) -> float:
        """Running time since an arbitrary start; nobody turns it back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_seconds(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


def boot_id() -> str:
    """Identifies the running boot, within which the monotonic clock is one count; else this process."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return _PROCESS
