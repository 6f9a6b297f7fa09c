"""Where a batch waits while it is answered: one file a request, private, gone with the answer and at the next start.

Each process has a folder of its own in the service's, and holds a lock in it for as long as it runs: whoever starts
later removes the folders that nobody holds any more.

A million seals are more than a gigabyte; they go to disk as they arrive, and are hashed on the way: the body for its
signature, the ids for the batch's digest and its ranges. Seals may lie on a disk: they are ciphertext for a key that is
destroyed with the answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from models.wire.frames import SealsReader, framed_size
from models.wire.problems import ProblemError
from privacy.secure_sum import BatchRefused, Span, SpannedBatch, SumContext

SPOOL_FOLDER = "spool"
_LOCK = "lock"
SPAN_REPORTS = 4_096
"""Reports in a range: a third of a second of one core, and one vector on its way back."""


@dataclass(frozen=True)
class Spooled:
    """A batch on disk: its digest, its ranges and where each begins in the file."""

    path: Path
    batch: bytes
    spans: tuple[Span, ...]
    offsets: tuple[int, ...]

    @property
    def count(self) -> int:
        """Seals in the batch."""
        return self.spans[-1].end if self.spans else 0


class Spool:
    """A batch on its way to disk. Written in a thread, in pieces; only one piece stands in memory.

    Args:
        path: where to; must not exist.
        context: the round's context.
        limit_bytes: the most that a batch of this study can have.
        span_reports: reports in a range.
    """

    def __init__(self, path: Path, context: SumContext, limit_bytes: int, span_reports: int = SPAN_REPORTS) -> None:
        self._path = path
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._limit_bytes = limit_bytes
        self._size = 0
        self._body = hashlib.sha256()
        self._reader = SealsReader()
        self._batch = SpannedBatch(context, span_reports)
        self._offsets: list[int] = []

    def write(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            ProblemError: ``too-large``, ``malformed``, or ``batch-invalid`` for ids that do not strictly increase.
        """
        self._size += len(piece)
        if self._size > self._limit_bytes:
            raise ProblemError("too-large", f"a batch of this study has at most {self._limit_bytes} bytes")
        self._body.update(piece)
        self._file.write(piece)
        try:
            for seal in self._reader.feed(piece):
                if self._batch.add(hashlib.sha256(seal).digest()):
                    self._offsets.append(self._reader.consumed - framed_size(seal))
        except BatchRefused as error:
            raise ProblemError("batch-invalid", str(error)) from error

    def finish(self) -> tuple[Spooled, bytes]:
        """The batch, and the SHA-256 of the body (32 bytes).

        Raises:
            ProblemError: ``malformed``: the body ended early.
        """
        self._reader.finish()
        self._file.flush()
        batch, spans = self._batch.finish()
        return Spooled(self._path, batch, spans, tuple(self._offsets)), self._body.digest()

    def close(self) -> None:
        """Close the file; it is the folder's to remove."""
        self._file.close()


class SpoolFolder:
    """A process's private folder of spools. What dead processes left behind is removed when it is opened.

    Args:
        folder: the service's; processes open theirs in it one after another.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.iterdir():
            _remove_unheld(left)
        self.folder = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=folder))
        self._made = 0
        self._lock = os.open(self.folder / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder; run when the process ends."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """A path for one spool, removed at the end whatever happens."""
        self._made += 1
        path = self.folder / str(self._made)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _remove_unheld(left: Path) -> None:
    if not left.is_dir():  # a spool of the layout with one folder for all
        left.unlink()
        return
    try:
        descriptor = os.open(left / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return  # its process has just removed it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left)
    except BlockingIOError:
        return  # another process is at work in it
    finally:
        os.close(descriptor)
