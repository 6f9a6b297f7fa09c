"""Reports' bytes in files: for each round a folder, in it one file for each process that took reports in.

A process appends to files of its own alone, whose names are drawn at random, and flushes them once for all reports that
share a transaction, before its commit. A row names file and place; a seal is held to the report's id, which is its
SHA-256, and a masked vector to the SHA-256 in its row. So a file that is missing, cut or damaged is found, and its
round is given up: no sum is taken over other bytes.

What a crash leaves is bytes that no row names; they go with their round, and rounds that are over go when the leader
tidies up.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row

from aggregator.clock import OS_ENTROPY, Entropy
from aggregator.storage.database import Change
from aggregator.storage.mirror import sync_folder
from aggregator.storage.report_bytes import InRows, present
from privacy.secure_sum import BatchRefused

_NAME: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NAME_BYTES: Final = 16
_ZEROS: Final = bytes(2**16)
_Descriptor = Callable[[Row[Any]], int]
"""The open file that a row names."""
_LOST: Final = (errno.ENOENT, errno.ENOTDIR, errno.EIO)
"""What a read fails with where the bytes will not come back; anything else may pass, and is tried again."""


@dataclass
class _Segment:
    """One file of this process.

    Attributes:
        path: of the file.
        end: where the next report goes.
        descriptor: while something in it is not flushed.
    """

    path: Path
    end: int = 0
    descriptor: int | None = None


class InFiles:
    """Bytes in a folder, which the workers of one leader share. As ``report_bytes.ReportBytes``.

    Args:
        folder: made when it is needed, mode 0700.
        takes_new: whether new reports go there, or only those are read that do already.
        entropy: where the names of files come from.
    """

    def __init__(self, folder: Path, *, takes_new: bool = True, entropy: Entropy = OS_ENTROPY) -> None:
        self._folder = folder
        self._takes_new = takes_new
        self._entropy = entropy
        self._rows = InRows()
        self._segments: dict[int, _Segment] = {}
        self._owed: list[Row[Any]] = []

    # Keeping: inside a change, so one at a time

    async def keep(self, change: Change, reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """As ``ReportBytes``."""
        if not self._takes_new:
            return await self._rows.keep(change, reports)
        if not reports:
            return []
        change.ahead(self._flush)
        return await asyncio.to_thread(self._append, reports)

    def _append(self, reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for round_id in {report["round_id"] for report in reports}:
            here = [report for report in reports if report["round_id"] == round_id]
            segment = self._open(round_id)
            position = segment.end
            for report in here:
                rows.append(_placed(report, segment.path.name, position))
                position += len(report["seal"]) + len(report["masked"])
            _write(segment, b"".join(part for report in here for part in (report["seal"], report["masked"])))
            segment.end = position  # what a failed write has left is written over by the next one
        return rows

    def _open(self, round_id: int) -> _Segment:
        segment = self._segments.get(round_id)
        if segment is not None and segment.descriptor is None:
            try:
                segment.descriptor = os.open(segment.path, os.O_WRONLY)
            except FileNotFoundError:
                segment = None  # somebody removed it: its reports are lost, and are missed when the batch is read
        if segment is None:
            segment = self._segments[round_id] = self._begin(round_id)
        return segment

    def _begin(self, round_id: int) -> _Segment:
        idle = [known for known, segment in self._segments.items() if segment.descriptor is None]
        for over in [known for known in idle if not self._segments[known].path.exists()]:
            del self._segments[over]
        folder = self._folder / str(round_id)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / self._entropy(_NAME_BYTES).hex()
        segment = _Segment(path, descriptor=os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        for changed in (folder, self._folder, self._folder.parent):
            sync_folder(changed)
        return segment

    async def _flush(self) -> None:
        """Before the commit, once for the whole transaction."""
        await asyncio.to_thread(self._flush_all)

    def _flush_all(self) -> None:
        unflushed = [descriptor for each in self._segments.values() if (descriptor := each.descriptor) is not None]
        try:
            for descriptor in unflushed:
                os.fsync(descriptor)
        except OSError:
            self._segments.clear()  # a later flush of the same file may succeed and have lost these bytes
            raise
        finally:
            for segment in self._segments.values():
                segment.descriptor = None
            for descriptor in unflushed:
                os.close(descriptor)

    # Reading

    async def seals(self, rows: Sequence[Row[Any]]) -> list[bytes]:
        """As ``ReportBytes``."""
        return await asyncio.to_thread(self._read, rows, _seal)

    async def masked(self, rows: Sequence[Row[Any]]) -> list[bytes]:
        """As ``ReportBytes``."""
        return await asyncio.to_thread(self._read, rows, _masked)

    def _read(self, rows: Sequence[Row[Any]], part: Callable[[Row[Any], _Descriptor], bytes]) -> list[bytes]:
        with self._files() as files:
            return [part(row, files) for row in rows]

    @contextmanager
    def _files(self) -> Iterator[_Descriptor]:
        """Opens the file of a row, once for all rows of it."""
        opened: dict[Path, int] = {}

        def descriptor(row: Row[Any]) -> int:
            path = self._path(row)
            if path not in opened:
                with _found("missing"):
                    opened[path] = os.open(path, os.O_RDONLY)
            return opened[path]

        try:
            yield descriptor
        finally:
            for each in opened.values():
                os.close(each)

    def _path(self, row: Row[Any]) -> Path:
        if not _NAME.fullmatch(row.segment):
            raise BatchRefused("a report's row names no file of reports")
        return self._folder / str(row.round_id) / str(row.segment)

    # The end

    def overwrite(self, row: Row[Any]) -> None:
        """As ``ReportBytes``; what a failing disk has left is tried again with the next one, or goes with its round."""
        if row.segment is None:
            return
        owed, self._owed = [*self._owed, row], []
        for each in owed:
            try:
                self._overwrite(each)
            except FileNotFoundError:
                continue
            except OSError:
                self._owed.append(each)

    def _overwrite(self, row: Row[Any]) -> None:
        descriptor = os.open(self._path(row), os.O_WRONLY)
        try:
            at, end = row.position, row.position + row.seal_bytes + row.masked_bytes
            while at < end:
                at += os.pwrite(descriptor, _ZEROS[: end - at], at)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rounds(self) -> set[int]:
        """As ``ReportBytes``."""
        if not self._folder.is_dir():
            return set()
        return {int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()}

    async def remove(self, round_ids: set[int]) -> None:
        """As ``ReportBytes``; what a failing disk keeps is tried again by whoever tidies up."""
        if round_ids:
            await asyncio.to_thread(self._remove, round_ids)

    def _remove(self, round_ids: set[int]) -> None:
        for round_id in round_ids:
            shutil.rmtree(self._folder / str(round_id), ignore_errors=True)
        with suppress(OSError):
            sync_folder(self._folder)


def _placed(report: Mapping[str, Any], segment: str, position: int) -> dict[str, Any]:
    """A report's row, with the place of its bytes instead of them."""
    row = {name: value for name, value in report.items() if name not in {"seal", "masked"}}
    return {
        **row,
        "segment": segment,
        "position": position,
        "seal_bytes": len(report["seal"]),
        "masked_bytes": len(report["masked"]),
        "masked_sha256": hashlib.sha256(report["masked"]).digest(),
    }


def _write(segment: _Segment, body: bytes) -> None:
    assert segment.descriptor is not None, "it was opened for this"
    left, at = memoryview(body), segment.end
    while left:
        count = os.pwrite(segment.descriptor, left, at)
        left, at = left[count:], at + count


def _seal(row: Row[Any], files: _Descriptor) -> bytes:
    if row.segment is None:  # kept before the settings named a directory
        return present(row.seal)
    return _held_to(row.report_id, files(row), row.seal_bytes, row.position)


def _masked(row: Row[Any], files: _Descriptor) -> bytes:
    if row.segment is None:
        return present(row.masked)
    return _held_to(row.masked_sha256, files(row), row.masked_bytes, row.position + row.seal_bytes)


def _held_to(expected: bytes, descriptor: int, count: int, position: int) -> bytes:
    with _found("unreadable"):
        body = os.pread(descriptor, count, position)
    if len(body) != count:
        raise BatchRefused(f"a file of reports is short: expected {count} bytes of a report, got {len(body)}")
    if hashlib.sha256(body).digest() != expected:
        raise BatchRefused("a file of reports is damaged: a report's bytes are not those that were taken in")
    return body


@contextmanager
def _found(how: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _LOST:
            raise
        raise BatchRefused(f"a file of reports is {how} ({errno.errorcode[error.errno]})") from error
