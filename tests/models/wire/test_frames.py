"""The binary frames of reports and seals: strict, exact, and clear about what does not fit."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.wire.frames import (
    FRAMING_BYTES,
    ReportFrame,
    SealsReader,
    decode_batch,
    encode_report,
    framed_size,
    join_seals,
    read_seals,
    seals_head,
    seals_size,
)
from models.wire.problems import ProblemError
from privacy.secure_sum import Report
from tests.frames import decode_seals, encode_batch, encode_seals

reports = st.builds(
    ReportFrame,
    device_id=st.binary(min_size=16, max_size=16),
    consent_epoch=st.integers(0, 2**32 - 1),
    report=st.builds(
        Report,
        context=st.binary(min_size=32, max_size=32),
        seal=st.binary(min_size=1, max_size=1500),
        masked=st.binary(min_size=1, max_size=500),
        signature=st.binary(min_size=64, max_size=64),
    ),
)


@given(st.lists(reports, min_size=1, max_size=5))
def test_a_batch_survives_the_wire(frames: list[ReportFrame]) -> None:
    """Decoding returns exactly what was encoded."""
    assert decode_batch(encode_batch(frames)) == frames


@given(st.lists(reports, min_size=1, max_size=2), st.data())
def test_a_truncated_or_extended_batch_is_malformed(frames: list[ReportFrame], data: st.DataObject) -> None:
    """No byte may be missing or left over."""
    body = encode_batch(frames)
    cut = data.draw(st.integers(0, len(body) - 1))
    for bad in (body[:cut], body + b"\0"):
        with pytest.raises(ProblemError) as caught:
            decode_batch(bad)
        assert caught.value.code == "malformed"


@given(st.binary(max_size=400))
def test_garbage_never_raises_anything_else(body: bytes) -> None:
    """Whatever arrives, the answer is a problem of the table."""
    for decode in (decode_batch, decode_seals):
        try:
            decode(body)
        except ProblemError as error:
            assert error.code == "malformed"  # noqa: PT017 - garbage may also be valid by chance


def test_batch_size_is_bounded() -> None:
    """Neither an empty batch nor one of 257 reports is encoded or accepted."""
    report = Report(context=bytes(32), seal=b"s", masked=b"m", signature=bytes(64))
    frames = [ReportFrame(bytes(16), 0, report)] * 257
    for bad in ([], frames):
        with pytest.raises(ValueError, match="1 to 256"):
            encode_batch(bad)
    body = bytearray(encode_batch(frames[:1]))
    body[4:6] = (0).to_bytes(2, "big")
    with pytest.raises(ProblemError):
        decode_batch(bytes(body))


@given(st.lists(st.binary(min_size=1, max_size=1300), max_size=10))
def test_seals_survive_the_wire(seals: list[bytes]) -> None:
    """Decoding returns exactly what was encoded, an empty round included."""
    assert decode_seals(encode_seals(seals)) == seals


@given(st.lists(st.binary(max_size=40), max_size=10), st.data())
def test_seals_are_the_same_in_whatever_pieces_they_arrive(seals: list[bytes], data: st.DataObject) -> None:
    """Cut anywhere, the same seals come out, each with its end in the stream; what was kept reads back."""
    body = encode_seals(seals)
    assert body == seals_head(len(seals)) + join_seals(seals)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    reader, found, ends = SealsReader(), [], []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        for seal in reader.feed(body[start:end]):
            found.append(seal)
            ends.append(reader.consumed)
    reader.finish()
    assert found == seals
    assert reader.count == reader.seen == len(seals)
    for seal, end in zip(seals, ends, strict=True):
        assert body[end - framed_size(seal) : end].endswith(seal)
    if seals:
        assert list(read_seals(io.BytesIO(body[ends[0] :]), len(seals) - 1)) == seals[1:]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_a_stream_that_ends_early_or_goes_on_is_malformed(seals: list[bytes], data: st.DataObject) -> None:
    """Also when the surplus comes in a piece of its own."""
    body = encode_seals(seals)
    cut = data.draw(st.integers(0, len(body) - 1))
    early, late = SealsReader(), SealsReader()
    list(early.feed(body[:cut]))
    with pytest.raises(ProblemError, match="ends after"):
        early.finish()
    list(late.feed(body))
    with pytest.raises(ProblemError, match="follow"):
        list(late.feed(b"\0"))
    with pytest.raises(ProblemError, match="end early"):
        list(read_seals(io.BytesIO(join_seals(seals)[:-1] if seals[-1] else join_seals(seals)), len(seals) + 1))


@given(reports)
def test_the_size_of_a_report_is_known_before(frame: ReportFrame) -> None:
    """Framing and signature take the same bytes, whatever seal and values are."""
    report = frame.report
    assert len(encode_report(frame)) == FRAMING_BYTES + len(report.seal) + len(report.masked)


def test_the_size_of_a_batch_is_known_before() -> None:
    """What a full cohort of equal seals takes, to the byte."""
    assert seals_size(7, 1_240) == len(encode_seals([bytes(1_240)] * 7))
