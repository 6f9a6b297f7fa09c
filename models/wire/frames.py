"""Reports on the wire: a strict binary frame, so that a report costs its packed bytes and not a third more.

One batch is ``magic (4) | count (2)`` and then, for each report, big endian::

    device id (16) | consent epoch (4) | context (32) | seal length (2) | seal
    | masked length (4) | masked | signature (64)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from models.wire.enrolment import BATCH_MAXIMUM
from models.wire.message import Message
from models.wire.problems import ProblemError
from privacy.crypto.keys import SIGNATURE_BYTES
from privacy.secure_sum import Report

REPORTS_MEDIA_TYPE = "application/vnd.hearthside.reports"
SEALS_MEDIA_TYPE = "application/vnd.hearthside.seals"
_MAGIC = b"HSR\x01"
_SEALS_MAGIC = b"HSS\x01"
_HEAD = struct.Struct(">4sH")
_REPORT = struct.Struct(">16sI32sH")
_LENGTH = struct.Struct(">I")
_SEAL_LENGTH = struct.Struct(">H")
_SEALS_HEAD = struct.Struct(">4sI")
FRAMING_BYTES = _REPORT.size + _LENGTH.size + SIGNATURE_BYTES
"""Of a report in a batch, besides its seal and its packed values."""


@dataclass(frozen=True, slots=True)
class ReportFrame:
    """A report with who sends it and under which consent epoch."""

    device_id: bytes
    consent_epoch: int
    report: Report


class ReportResponse(Message):
    """What became of each report, in the order of the batch: ``accepted`` or a problem code."""

    version: Literal[1] = 1
    results: tuple[str, ...]


def encode_report(frame: ReportFrame) -> bytes:
    """Serialise one report as it stands in a batch: the bytes that a device stores and sends. Run by the device."""
    report = frame.report
    return b"".join(
        (
            _REPORT.pack(frame.device_id, frame.consent_epoch, report.context, len(report.seal)),
            report.seal,
            _LENGTH.pack(len(report.masked)),
            report.masked,
            report.signature,
        )
    )


def join_reports(encoded: Sequence[bytes]) -> bytes:
    """One batch of 1 to 256 reports that were serialised before. Run by the device."""
    if not 1 <= len(encoded) <= BATCH_MAXIMUM:
        raise ValueError(f"expected 1 to {BATCH_MAXIMUM} reports in a batch, got {len(encoded)}")
    return b"".join((_HEAD.pack(_MAGIC, len(encoded)), *encoded))


def decode_batch(body: bytes) -> list[ReportFrame]:
    """Parse a batch, exactly to its last byte. Run by the leader.

    Raises:
        ProblemError: ``malformed``, with the position that did not fit.
    """
    reader = _Reader(body)
    magic, count = reader.unpack(_HEAD)
    if magic != _MAGIC:
        raise ProblemError("malformed", "expected a report batch of version 1")
    if not 1 <= count <= BATCH_MAXIMUM:
        raise ProblemError("malformed", f"expected 1 to {BATCH_MAXIMUM} reports in a batch, got {count}")
    frames = [_read_frame(reader) for _ in range(count)]
    reader.finish()
    return frames


def _read_frame(reader: _Reader) -> ReportFrame:
    device_id, epoch, context, seal_length = reader.unpack(_REPORT)
    seal = reader.take(seal_length)
    (masked_length,) = reader.unpack(_LENGTH)
    masked = reader.take(masked_length)
    signature = reader.take(SIGNATURE_BYTES)
    return ReportFrame(device_id, epoch, Report(context=context, seal=seal, masked=masked, signature=signature))


def seals_head(count: int) -> bytes:
    """The first bytes of a round's seals, where the others follow as a stream (:func:`join_seals`)."""
    return _SEALS_HEAD.pack(_SEALS_MAGIC, count)


def join_seals(seals: Iterable[bytes]) -> bytes:
    """Some of a round's seals as they stand in the stream."""
    return b"".join(part for seal in seals for part in (_SEAL_LENGTH.pack(len(seal)), seal))


def framed_size(seal: bytes) -> int:
    """Bytes of one seal in the stream."""
    return _SEAL_LENGTH.size + len(seal)


def seals_size(count: int, seal_bytes: int) -> int:
    """Bytes of a round's seals, all of one length, with the head."""
    return _SEALS_HEAD.size + count * (_SEAL_LENGTH.size + seal_bytes)


def read_seals(source: BinaryIO, count: int) -> Iterator[bytes]:
    """The next seals of a stream that was parsed before and kept (:class:`SealsReader`). Run by the helper.

    Raises:
        ProblemError: ``malformed``: the file ends before.
    """
    for _ in range(count):
        head = source.read(_SEAL_LENGTH.size)
        length = int.from_bytes(head, "big")
        seal = source.read(length)
        if len(head) < _SEAL_LENGTH.size or len(seal) < length:
            raise ProblemError("malformed", "the kept seals end early")
        yield seal


class SealsReader:
    """Parse a round's seals as they arrive, in whatever pieces; memory is one piece. Run by the helper."""

    __slots__ = ("_rest", "_started", "consumed", "count", "seen")

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self.count = 0
        """How many seals the head announces."""
        self.seen = 0
        """How many came so far."""
        self.consumed = 0
        """Bytes up to the end of the last whole seal."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The seals that this piece completes; to be exhausted before the next piece.

        Raises:
            ProblemError: ``malformed``.
        """
        data = self._rest + data if self._rest else data
        at = self._start(data)
        while self._started and self.seen < self.count and at + _SEAL_LENGTH.size <= len(data):
            start = at + _SEAL_LENGTH.size
            end = start + _SEAL_LENGTH.unpack_from(data, at)[0]
            if end > len(data):
                break
            self.seen += 1
            self.consumed += end - at
            at = end
            yield data[start:end]
        self._rest = data[at:]
        if self._started and self._rest and self.seen == self.count:
            raise ProblemError("malformed", "bytes follow the last seal")

    def finish(self) -> None:
        """The stream is over.

        Raises:
            ProblemError: ``malformed``: it ended early.
        """
        if not self._started or self.seen < self.count:
            raise ProblemError("malformed", f"expected {self.count} seals, the message ends after {self.seen}")

    def _start(self, data: bytes) -> int:
        """Read the head once it is there; returns where the seals begin."""
        if self._started or len(data) < _SEALS_HEAD.size:
            return 0
        magic, self.count = _SEALS_HEAD.unpack_from(data)
        if magic != _SEALS_MAGIC:
            raise ProblemError("malformed", "expected a seal batch of version 1")
        self._started = True
        self.consumed = _SEALS_HEAD.size
        return _SEALS_HEAD.size


class _Reader:
    """A cursor over bytes that says where a message stopped making sense."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._body):
            raise ProblemError("malformed", f"message ends at byte {len(self._body)}, expected {end}")
        data = self._body[self._position : end]
        self._position = end
        return data

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size))

    def finish(self) -> None:
        if self._position != len(self._body):
            raise ProblemError("malformed", f"{len(self._body) - self._position} bytes follow the message's end")
