"""Reports on the wire: a strict binary frame, so that a report costs its packed bytes and not a third more.

One batch is ``magic (4) | count (2)`` and then, for each report, big endian::

    device id (16) | consent epoch (4) | context (32) | seal length (2) | seal
    | masked length (4) | masked | signature (64)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.wire.enrolment import BATCH_MAXIMUM
from models.wire.message import Message
from models.wire.problems import ProblemError
from privacy.secure_sum import Report

REPORTS_MEDIA_TYPE = "application/vnd.hearthside.reports"
SEALS_MEDIA_TYPE = "application/vnd.hearthside.seals"
_MAGIC = b"HSR\x01"
_SEALS_MAGIC = b"HSS\x01"
_HEAD = struct.Struct(">4sH")
_REPORT = struct.Struct(">16sI32sH")
_LENGTH = struct.Struct(">I")
_SEAL_LENGTH = struct.Struct(">H")
_SIGNATURE_BYTES = 64


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


def encode_batch(frames: Sequence[ReportFrame]) -> bytes:
    """Serialise 1 to 256 reports. Run by the device."""
    return join_reports([encode_report(frame) for frame in frames])


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
    signature = reader.take(_SIGNATURE_BYTES)
    return ReportFrame(device_id, epoch, Report(context=context, seal=seal, masked=masked, signature=signature))


def encode_seals(seals: Sequence[bytes]) -> bytes:
    """Serialise a round's seals, already in increasing order of their ids. Run by the leader."""
    parts = [_SEALS_MAGIC + _LENGTH.pack(len(seals))]
    for seal in seals:
        parts += (_SEAL_LENGTH.pack(len(seal)), seal)
    return b"".join(parts)


def decode_seals(body: bytes) -> list[bytes]:
    """Parse a round's seals, exactly to the last byte. Run by the helper.

    Raises:
        ProblemError: ``malformed``.
    """
    reader = _Reader(body)
    if reader.take(len(_SEALS_MAGIC)) != _SEALS_MAGIC:
        raise ProblemError("malformed", "expected a seal batch of version 1")
    (count,) = reader.unpack(_LENGTH)
    seals = []
    for _ in range(count):
        (length,) = reader.unpack(_SEAL_LENGTH)
        seals.append(reader.take(length))
    reader.finish()
    return seals


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
