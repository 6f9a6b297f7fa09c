"""The head of a service's ledger, kept in a file of its own beside the key: what a restored store does not bring back.

Before a commit the file names the present head and the next one, after it the next one alone. A crash in between is
recognised by either; a store that was restored from a back-up, or emptied, has a head that the file does not name. The
next start settles what a crash left: else the head before it would go on being named, and a back-up from then would
pass for the store that was last used.

Processes that share a store share the file. Changes are made one at a time, so what they announce comes in the order
of their commits; a process that settles late, after another one has announced its own change, leaves that in place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.errors import StoreCorrupt

MIRROR_FILE = "ledger.head"


class HeadMirror:
    """The file.

    Args:
        path: made with mode 0600 at the first write; a file beside it, ``.lock``, keeps writers apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def named(self, genesis: bytes) -> list[bytes]:
        """The heads that a store may have if it is the one that was last written here; without a file, an empty one's.

        Raises:
            StoreCorrupt: the file cannot be read.
        """
        try:
            return [bytes.fromhex(line) for line in self._path.read_text("ascii").split()]
        except FileNotFoundError:
            return [genesis]
        except (OSError, ValueError) as error:
            raise StoreCorrupt(f"{self._path} cannot be read ({type(error).__name__})") from None

    def announce(self, present: bytes, following: bytes) -> None:
        """Name both heads, durably; run before the commit that moves from one to the other."""
        with self._alone():
            self._write((present, following))

    def settle(self, head: bytes) -> None:
        """Name one head alone; run after the commit that leads to it, or after a start that found the store there.

        Where the next change has been announced since, that stays.
        """
        with self._alone():
            names = self.named(head)
            if names[-1:] == [head] and len(names) > 1:
                self._write((head,))

    def begin_again(self, head: bytes) -> None:
        """Name one head, whatever the file named before; run when the loss that it showed is durable."""
        with self._alone():
            self._write((head,))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process reads and writes the file meanwhile; one that is killed lets go."""
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, heads: tuple[bytes, ...]) -> None:
        draft = self._path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(head.hex() + "\n" for head in heads)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        sync_folder(self._path.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable: a file that was made, replaced or removed in it stays so after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
