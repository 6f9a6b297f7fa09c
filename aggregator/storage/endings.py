"""What ended for good at the leader, in a file of its own beside the key: a store that is put back does not revive it.

One line each, only ever added: a consent that was taken back, a device that was revoked, a key that was replaced, a
device that was forgotten. A line is on the disk before the change that it is about is committed; a change that fails
after that leaves a line about what was about to end anyway. Lines of changes that share a transaction share one wait
for the disk. Devices stand in it under a keyed digest: without the leader's key nobody can tell whose a line is.

What was taken back and who was revoked is looked at with every device that is looked up: whoever has only the database
revives neither. Keys that were replaced count at the start of a restored store alone (``leader.restored``).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from pathlib import Path
from typing import Final

from aggregator.storage.database import Change
from aggregator.storage.mirror import sync_folder

ENDINGS_FILE: Final = "endings.log"
_DIGEST_BYTES: Final = 16


class Endings:
    """The file, as far as it has been read; processes that share it read what others add.

    Args:
        path: made with mode 0600 at the first line.
        secret: 32 bytes that follow from the leader's key.
    """

    def __init__(self, path: Path, secret: bytes) -> None:
        self._path = path
        self._secret = secret
        self._read_bytes = 0
        self._waiting: list[str] = []
        self._epochs: dict[str, int] = {}
        self._revoked: dict[str, int] = {}
        self._replaced: set[str] = set()

    def __repr__(self) -> str:
        return f"Endings({self._path.name!r})"

    def withdrawn(self, change: Change, device_id: bytes, epoch: int) -> None:
        """A device took consent back in this epoch: what stood in an earlier one counts for nothing."""
        self._add(change, f"withdrawn {self._name(device_id)} {epoch}")

    def revoked(self, change: Change, device_id: bytes, at_ms: int) -> None:
        """A device is gone."""
        self._add(change, f"revoked {self._name(device_id)} {at_ms}")

    def replaced(self, change: Change, key: bytes) -> None:
        """A device has another key than this one from now on."""
        self._add(change, f"replaced {self._name(key)} 0")

    def forgotten(self, change: Change, device_id: bytes) -> None:
        """Everything of a device was deleted: if it comes back, it begins anew."""
        self._add(change, f"forgotten {self._name(device_id)} 0")

    def least_epoch(self, device_id: bytes) -> int:
        """The epoch before which nothing of a device's consent counts."""
        self._look()
        return self._epochs.get(self._name(device_id), 0) if self._epochs else 0

    def revoked_at_ms(self, device_id: bytes) -> int | None:
        """When a device was revoked; None if it was not."""
        self._look()
        return self._revoked.get(self._name(device_id)) if self._revoked else None

    def is_replaced(self, key: bytes) -> bool:
        """Whether a device had this key and has another one."""
        self._look()
        return self._name(key) in self._replaced

    def _name(self, what: bytes) -> str:
        return hmac.digest(self._secret, what, hashlib.sha256)[:_DIGEST_BYTES].hex()

    def _add(self, change: Change, line: str) -> None:
        self._waiting.append(line)
        change.ahead(self._write)

    async def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        if lines:
            await asyncio.to_thread(self._append, lines)

    def _append(self, lines: list[str]) -> None:
        fresh = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            # An empty line first: what a crash cut off before stays a line of its own.
            file.write(("\n" + "\n".join(lines) + "\n").encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self._path.parent)

    def _look(self) -> None:
        """Read what was added since; a line that is still being written is left for the next time."""
        try:
            if self._path.stat().st_size <= self._read_bytes:
                return
        except FileNotFoundError:
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.decode("ascii", "replace").splitlines():
            self._take(line.split())

    def _take(self, words: list[str]) -> None:
        match words:
            case ["withdrawn", name, epoch] if epoch.isdecimal():
                self._epochs[name] = max(int(epoch), self._epochs.get(name, 0))
            case ["revoked", name, at_ms] if at_ms.isdecimal():
                self._revoked.setdefault(name, int(at_ms))
            case ["replaced", name, _]:
                self._replaced.add(name)
            case ["forgotten", name, _]:
                self._epochs.pop(name, None)
                self._revoked.pop(name, None)
            case _:  # empty, or cut off by a crash: its change was never committed
                pass
