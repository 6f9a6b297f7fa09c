"""Sums of ranges become the sum of the batch, whatever the ranges and their order; nothing twice, nothing left out."""

import copy
import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from privacy.secure_sum import (
    BatchRefused,
    CohortExceeded,
    CohortTooSmall,
    HelperSum,
    LeaderSpan,
    LeaderSum,
    LocalMisuse,
    MergedSum,
    PackingInvalid,
    PartialRefused,
    PartialSum,
    Role,
    SealFailure,
    Span,
    SpannedBatch,
    ValuesInvalid,
    batch_digest,
)


def spans_of(round_: object, reports: list, size: int) -> tuple[Span, ...]:
    batch = SpannedBatch(round_.context, size)
    for report in reports:
        batch.add(report.report_id)
    digest, spans = batch.finish()
    assert digest == batch_digest(round_.context, [report.report_id for report in reports])
    return spans


def helper_part(round_: object, reports: list, start: int = 0, **options: object) -> PartialSum:
    total = HelperSum(
        round_.params,
        round_.context,
        round_.round_key,
        **{"now": round_.now, "withdrawn": {}, "start": start, **options},
    )
    for report in reports:
        total.add(report.seal)
    return total.partial()


def leader_part(round_: object, reports: list, start: int = 0, left_out: tuple[bytes, ...] = ()) -> PartialSum:
    total = LeaderSpan(round_.params, round_.context, start)
    total.add([(report.report_id, report.masked) for report in reports], left_out)
    return total.partial()


PARTS = {Role.HELPER: helper_part, Role.LEADER: leader_part}


def merged(round_: object, role: Role, spans: tuple[Span, ...]) -> MergedSum:
    return MergedSum(role, round_.params, round_.context, spans)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("size", [1, 2, 5, 11, 50])
@pytest.mark.parametrize("cohort", [20, 2**32])
def test_any_ranges_in_any_order_give_the_same_sum(make_round: Callable, role: Role, size: int, cohort: int) -> None:
    """Bit for bit the sum over the whole batch, through bytes, in both word sizes."""
    round_ = make_round(maximum_cohort=cohort)
    reports = round_.reports(11)
    whole = round_.helper() if role is Role.HELPER else LeaderSum(round_.params)
    for report in reports:
        whole.add(report.seal if role is Role.HELPER else report.masked)
    spans = spans_of(round_, reports, size)
    total = merged(round_, role, spans)
    for span in spans[::-1]:
        part = PARTS[role](round_, reports[span.start : span.end], span.start)
        total.add(PartialSum.parse(part.to_bytes()))
    assert np.array_equal(total.total, whole.total)
    assert (total.counted, total.reports) == (11, 11)


@pytest.mark.parametrize("role", Role)
def test_a_range_counts_once_and_every_range_counts(round_: object, role: Role) -> None:
    """A part taken twice, or one that never came, is refused by name: no total is formed."""
    reports = round_.reports(6)
    spans = spans_of(round_, reports, 2)
    parts = [PARTS[role](round_, reports[span.start : span.end], span.start) for span in spans]
    total = merged(round_, role, spans)
    total.add(parts[0])
    with pytest.raises(PartialRefused, match="still missing") as refusal:
        total.add(parts[0])
    assert isinstance(refusal.value, LocalMisuse)
    total.add(parts[2])
    with pytest.raises(PartialRefused, match="all but 1"):
        _ = total.total
    total.add(parts[1])
    assert total.total.shape == (13,)


@pytest.mark.parametrize("role", Role)
def test_a_part_over_other_ids_is_refused(round_: object, role: Role) -> None:
    """One report swapped, one missing, one more, a range moved: the ids are not those that were spooled."""
    reports = round_.reports(7)
    make, spans = PARTS[role], spans_of(round_, reports[:6], 3)
    others = [*reports[:2], reports[6]]
    for start, wrong in ((0, others), (0, reports[:2]), (0, reports[:4]), (0, reports[3:6]), (3, reports[:3])):
        with pytest.raises(PartialRefused):
            merged(round_, role, spans).add(make(round_, wrong, start))


@pytest.mark.parametrize("role", Role)
def test_a_part_of_another_round_study_or_role_is_refused(make_round: Callable, role: Role) -> None:
    """A mask sum of last round, of another cohort cap, bucket or half does not enter this one."""
    round_ = make_round()
    reports = round_.reports(4)
    spans = spans_of(round_, reports, 4)
    part = PARTS[role](round_, reports)
    for context in (replace(round_.context, round=8), replace(round_.context, bucket=1)):
        with pytest.raises(PartialRefused, match="this round's"):
            MergedSum(role, round_.params, context, spans).add(part)
    with pytest.raises(PartialRefused, match="this round's"):
        MergedSum(role, replace(round_.params, maximum_cohort=21), round_.context, spans).add(part)
    other = Role.LEADER if role is Role.HELPER else Role.HELPER
    with pytest.raises(PartialRefused, match="this round's"):
        merged(round_, other, spans).add(part)


def test_ranges_that_are_no_batch_are_refused(round_: object) -> None:
    """A gap, an overlap, an id that repeats across a border, ids that step back, none at all."""
    a, b, c = spans_of(round_, round_.reports(6), 2)
    for spans in ((), (b, c), (a, c), (a, b, b), (c, replace(a, start=2)), (a, a), (replace(a, count=0), b)):
        with pytest.raises(PartialRefused):
            merged(round_, Role.HELPER, spans)
    with pytest.raises(PartialRefused, match="strictly increase"):
        merged(round_, Role.HELPER, (a, replace(b, first=a.last)))


def test_the_cohort_cap_is_that_of_the_whole(make_round: Callable) -> None:
    """Two ranges within the cap, together above it."""
    round_ = make_round(maximum_cohort=20)
    spans = spans_of(round_, round_.reports(21), 20)
    with pytest.raises(CohortExceeded, match="at most 20 reports, got 21"):
        merged(round_, Role.LEADER, spans)


def test_the_minimum_cohort_is_counted_in_opened_seals_of_the_whole(make_round: Callable) -> None:
    """Ranges below the minimum are fine; a whole below it has no total at the helper."""
    round_ = make_round(minimum_cohort=4)
    reports = round_.reports(4)
    spans = spans_of(round_, reports, 2)
    total, short = merged(round_, Role.HELPER, spans), merged(round_, Role.HELPER, spans)
    for span in spans:
        total.add(helper_part(round_, reports[span.start : span.end], span.start))
    assert total.counted == 4
    tokens = {reports[3].report_id: round_.tokens[reports[3].report_id]}
    for span in spans:
        short.add(helper_part(round_, reports[span.start : span.end], span.start, withdrawn=tokens))
    with pytest.raises(CohortTooSmall, match="at least 4 opened seals, got 3"):
        _ = short.total


def test_failures_are_handed_out_and_not_kept(round_: object) -> None:
    """Where someone takes them, none stays in memory; the leader leaves the same ids out."""
    reports = round_.reports(5)
    tokens = {report.report_id: round_.tokens[report.report_id] for report in reports[1:3]}
    seen = []
    total = round_.helper()
    total = HelperSum(
        round_.params, round_.context, round_.round_key, now=round_.now, withdrawn=tokens, on_failure=seen.append
    )
    for report in reports:
        total.add(report.seal)
    assert [failure.report_id for failure in seen] == [report.report_id for report in reports[1:3]]
    assert {failure.reason for failure in seen} == {SealFailure.WITHDRAWN}
    assert (total.failures, total.failed) == ([], [])
    assert "failed=2" in repr(total)
    part = leader_part(round_, reports, left_out=tuple(tokens))
    assert (part.counted, part.span.count) == (3, 5)
    alone = LeaderSum(round_.params)
    alone.add_all([reports[index].masked for index in (0, 3, 4)])
    only = merged(round_, Role.LEADER, (part.span,))
    only.add(part)
    assert np.array_equal(only.total, alone.total)


def test_a_part_does_not_show_or_pickle_its_sum(round_: object) -> None:
    """A sum of masks is a secret of the helper: bytes only where someone asked for bytes."""
    part = helper_part(round_, round_.reports(2))
    assert part.words.hex() not in repr(part)
    assert str(part.words) not in repr(part)
    assert "redacted" in repr(merged(round_, Role.HELPER, (part.span,)))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(part)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(part)


def test_malformed_parts_are_refused(round_: object) -> None:
    """Short, of another version or role, with a vector of another length, or counting more than it has."""
    part = helper_part(round_, round_.reports(2))
    data = part.to_bytes()
    for bad in (b"", data[:100], b"X" + data[1:], data[:4] + b"\x07" + data[5:]):
        with pytest.raises(PartialRefused):
            PartialSum.parse(bad)
    for wrong in (replace(part, words=part.words[:-1]), replace(part, counted=3)):
        with pytest.raises(PartialRefused):
            merged(round_, Role.HELPER, (part.span,)).add(wrong)


def test_empty_ranges_do_not_exist(round_: object) -> None:
    """Nothing was summed: there is no range to name."""
    with pytest.raises(ValuesInvalid):
        round_.helper().partial()
    with pytest.raises(ValuesInvalid):
        SpannedBatch(round_.context, 0)
    assert SpannedBatch(round_.context, 3).finish() == (batch_digest(round_.context, ()), ())


def test_disorder_stops_the_pass_that_cuts_ranges(round_: object) -> None:
    """Also at a border, where each range alone would look right."""
    ids = [hashlib.sha256(bytes([index])).digest() for index in range(4)]
    batch = SpannedBatch(round_.context, 2)
    begins = [batch.add(report_id) for report_id in sorted(ids)[:2]]
    with pytest.raises(BatchRefused):
        batch.add(sorted(ids)[1])
    assert begins == [True, False]
    assert batch.count == 2


def test_many_vectors_are_added_whole_or_not_at_all(make_round: Callable) -> None:
    """One malformed vector among many changes nothing, nor does one above the cap."""
    round_ = make_round(maximum_cohort=3)
    masked = [round_.report(round_.values()).masked for _ in range(3)]
    one, many = LeaderSum(round_.params), LeaderSum(round_.params)
    for item in masked:
        one.add(item)
    many.add_all(masked[:2])
    for bad in ([masked[2], masked[2][:-1]], [masked[2], b"\xff" * len(masked[2])]):
        with pytest.raises((PackingInvalid, CohortExceeded)):
            many.add_all(bad[:1] + bad)
    with pytest.raises(PackingInvalid):
        many.add_all([b"\xff" * len(masked[2])])
    with pytest.raises(CohortExceeded):
        many.add_all(masked[1:])
    many.add_all(masked[2:])
    assert np.array_equal(one.total, many.total)
