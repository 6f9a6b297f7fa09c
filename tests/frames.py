"""Whole binary frames at once. The product writes and reads them in pieces, as they are stored and as they arrive."""

from __future__ import annotations

from collections.abc import Sequence

from models.wire.frames import ReportFrame, SealsReader, encode_report, join_reports, join_seals, seals_head


def encode_batch(frames: Sequence[ReportFrame]) -> bytes:
    """1 to 256 reports as a device sends them."""
    return join_reports([encode_report(frame) for frame in frames])


def encode_seals(seals: Sequence[bytes]) -> bytes:
    """A round's seals, already in increasing order of their ids, as the leader sends them."""
    return seals_head(len(seals)) + join_seals(seals)


def decode_seals(body: bytes) -> list[bytes]:
    """A round's seals, exactly to the last byte, as the helper reads them."""
    reader = SealsReader()
    seals = list(reader.feed(body))
    reader.finish()
    return seals
