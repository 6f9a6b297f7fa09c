"""The leader's sum streams, forgets what it removes, and is noise without the share."""

from collections.abc import Callable

import numpy as np
import pytest

from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import (
    CohortExceeded,
    LeaderSpan,
    LeaderSum,
    PackingInvalid,
    ShareInvalid,
    ValuesInvalid,
    noised_share,
    pack,
    unmask,
)


def test_adding_and_removing_is_as_if_never_added(round_: object) -> None:
    """A withdrawal before the close leaves no trace in the sum."""
    first, second = round_.reports(2)
    one, both = LeaderSum(round_.params), LeaderSum(round_.params)
    one.add(first.masked)
    both.add(second.masked)
    both.add(first.masked)
    both.remove(second.masked)
    assert np.array_equal(one.total, both.total)
    assert (one.count, both.count) == (1, 1)


def test_bounds_of_the_cohort_are_kept(make_round: Callable) -> None:
    """One report too many, or one taken from nothing, is refused."""
    case = make_round(maximum_cohort=2)
    total = LeaderSum(case.params)
    masked = case.report().masked
    with pytest.raises(ValuesInvalid):
        total.remove(masked)
    total.add(masked)
    total.add(masked)
    with pytest.raises(CohortExceeded):
        total.add(masked)


def test_malformed_vectors_and_shares_are_refused(round_: object) -> None:
    """Wrong lengths are the peer's fault, wrong arrays the caller's."""
    total = np.zeros(13, dtype=np.uint64)
    noise = np.zeros(13, dtype=np.int64)
    with pytest.raises(PackingInvalid):
        LeaderSum(round_.params).add(b"short")
    with pytest.raises(ShareInvalid):
        unmask(total, b"short", noise, round_.params)
    share = bytes(round_.params.packed_bytes)
    with pytest.raises(ValuesInvalid):
        unmask(total[:1], share, noise, round_.params)
    with pytest.raises(ValuesInvalid):
        unmask(total, share, noise.astype(np.float64), round_.params)


@pytest.mark.parametrize("cohort", [20, 2**32])
def test_results_are_centred_and_both_noises_are_added(make_round: Callable, cohort: int) -> None:
    """Negative and positive sums come back signed, with helper's plus leader's noise, in both word sizes."""
    case = make_round(maximum_cohort=cohort)
    modulus = 2**case.params.modulus_bits
    truth = np.arange(-6, 7) * 1_000
    masks = (case.stream.uint64(13) % np.uint64(modulus)).astype(np.uint64)
    total = np.array([(int(x) + int(m)) % modulus for x, m in zip(truth, masks, strict=True)], dtype=np.uint64)
    helper_noise, leader_noise = np.arange(13) - 6, np.full(13, -2)
    share = noised_share(masks, helper_noise, case.params)
    assert unmask(total, share, leader_noise, case.params).tolist() == (truth + helper_noise + leader_noise).tolist()


@pytest.mark.parametrize("cohort", [20, 2**32])
def test_a_release_in_place_is_the_one_with_the_noise_beside_it(make_round: Callable, cohort: int) -> None:
    """The sum's own memory holds the same release, in the narrowest word, and is used up by it."""
    case = make_round(maximum_cohort=cohort)
    reports = sorted(case.reports(3), key=lambda report: report.report_id)
    span = LeaderSpan(case.params, case.context)
    span.add((report.report_id, report.masked) for report in reports)
    share = pack(case.stream.uint64(13) >> np.uint64(64 - case.params.modulus_bits), case.params.modulus_bits)
    noise = discrete_gaussian(case.params.noise_sigma, 13, RandomStream(b"n" * 32))
    expected = unmask(span.total, share, noise, case.params)
    released = span.release(share, RandomStream(b"n" * 32))
    assert released.tolist() == expected.tolist()
    assert released.dtype == (np.int32 if case.params.modulus_bits <= 32 else np.int64)
    assert (span.counted, span.total.tolist()) == (0, [0] * 13)
    with pytest.raises(ShareInvalid):
        span.release(b"short", RandomStream(b"n" * 32))


def test_the_extremes_of_the_range_do_not_wrap(round_: object) -> None:
    """A full cohort of extreme vectors is exact at both ends."""
    params = round_.params
    extreme = params.maximum_cohort * params.sensitivity
    for value in (extreme, -extreme):
        total = np.full(13, value % 2**params.modulus_bits, dtype=np.uint64)
        share = pack(np.zeros(13, dtype=np.uint64), params.modulus_bits)
        assert set(unmask(total, share, np.zeros(13, dtype=np.int64), params).tolist()) == {value}
