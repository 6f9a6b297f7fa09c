"""The whole protocol: exact but for the noise, which the tests know and take away."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from privacy.mechanisms import RandomStream, discrete_gaussian
from privacy.secure_sum import (
    CohortTooSmall,
    LeaderSum,
    Release,
    SumParameters,
    ValuesInvalid,
    encode,
    exchange,
    noised_share,
    unmask,
)

HELPER = b"helper".ljust(32, b"\0")
LEADER = b"leader".ljust(32, b"\0")
DEVICES = b"devices".ljust(32, b"\0")


def run(case: object, vectors: Sequence[np.ndarray | None], withdrawn: Sequence[int] = ()) -> Release:
    return exchange(
        vectors,
        case.params,
        case.context,
        devices=RandomStream(DEVICES),
        helper=RandomStream(HELPER),
        leader=RandomStream(LEADER),
        now=case.now,
        withdrawn=withdrawn,
    )


def noise(params: SumParameters) -> np.ndarray:
    """Both servers' noise, drawn again from the streams that the exchange was given."""
    helper = RandomStream(HELPER)
    helper.bytes(96)  # its round key comes first
    streams = (helper, RandomStream(LEADER))
    return sum(discrete_gaussian(params.noise_sigma, params.dimension, stream) for stream in streams)


def truth(params: SumParameters, vectors: Sequence[np.ndarray | None]) -> np.ndarray:
    zero = np.zeros(params.dimension, dtype=np.int64)
    return sum((encode(vector, params) for vector in vectors if vector is not None), zero)


def vectors_of(case: object, count: int) -> list[np.ndarray | None]:
    random = np.random.default_rng(11)
    return [random.normal(size=case.params.dimension) for _ in range(count)]


@pytest.mark.parametrize("dimension", [1, 8, 13, 1_000])
@pytest.mark.parametrize("cohort", [20, 2**32])
def test_the_release_is_the_exact_sum_plus_both_noises(make_round: Callable, dimension: int, cohort: int) -> None:
    """Every entry, in both word sizes."""
    case = make_round(dimension=dimension, maximum_cohort=cohort)
    vectors = vectors_of(case, 6)
    release = run(case, vectors)
    assert np.array_equal(release.total - noise(case.params), truth(case.params, vectors))
    assert release.values == pytest.approx(release.total / case.params.scale)
    assert (release.opened, release.failed) == (6, ())


def test_null_reports_count_and_add_nothing(round_: object) -> None:
    """Three nulls among three vectors: six opened, three summed."""
    vectors = [*vectors_of(round_, 3), None, None, None]
    release = run(round_, vectors)
    assert np.array_equal(release.total - noise(round_.params), truth(round_.params, vectors))
    assert release.opened == 6


def test_a_withdrawn_report_is_in_neither_half(round_: object) -> None:
    """The sum is that of the others, exactly, and the id is named."""
    vectors = vectors_of(round_, 5)
    release = run(round_, vectors, withdrawn=[1, 4])
    kept = [vectors[index] for index in (0, 2, 3)]
    assert np.array_equal(release.total - noise(round_.params), truth(round_.params, kept))
    assert (release.opened, len(release.failed)) == (3, 2)


def test_nothing_is_released_below_the_minimum_cohort(make_round: Callable) -> None:
    """Too few reports, or too few after withdrawals."""
    case = make_round(minimum_cohort=4)
    with pytest.raises(CohortTooSmall):
        run(case, vectors_of(case, 3))
    with pytest.raises(CohortTooSmall):
        run(case, vectors_of(case, 4), withdrawn=[0])


def test_nothing_is_released_when_one_vector_is_not_finite(round_: object) -> None:
    """The device stops; its framework sends a null instead."""
    with pytest.raises(ValuesInvalid):
        run(round_, [*vectors_of(round_, 3), np.full(13, np.nan)])


def release_of(case: object, reports: Sequence[object], share_of: Sequence[object]) -> np.ndarray:
    """Unmask some reports with the share of others, without noise, in the hands of a lying leader."""
    received = LeaderSum(case.params)
    for report in reports:
        received.add(report.masked)
    helper = case.helper()
    for report in share_of:
        helper.add(report.seal)
    zero = np.zeros(case.params.dimension, dtype=np.int64)
    return unmask(received.total, noised_share(helper.total, zero, case.params), zero, case.params)


def test_a_share_opens_its_own_batch_and_no_other(round_: object) -> None:
    """With every mask the sum is small and exact; with one report fewer it is spread over the whole modulus."""
    reports = round_.reports(4)
    half = 2 ** (round_.params.modulus_bits - 1)
    assert np.abs(release_of(round_, reports, reports)).max() <= 400
    assert np.abs(release_of(round_, reports[:3], reports)).max() > half / 100
    assert np.abs(release_of(round_, reports, reports[:3])).max() > half / 100


def test_two_models_in_one_round_give_nothing(round_: object) -> None:
    """Reports under another model do not open, so their masks stay on in the leader's sum."""
    shown = replace(round_.context, model_hash=b"another".ljust(32))
    odd = [round_.report(round_.values(), context=shown) for _ in range(2)]
    even = round_.reports(2)
    both = sorted([*odd, *even], key=lambda report: report.report_id)
    assert np.abs(release_of(round_, both, both)).max() > 2 ** (round_.params.modulus_bits - 1) / 100
    assert np.abs(release_of(round_, even, both)).max() <= 200


def test_one_masked_report_is_uniform_to_the_leader(make_round: Callable) -> None:
    """The masked words of an extreme vector fill 16 cells as evenly as those of zeros (seeded chi-square)."""
    case = make_round(dimension=8_000, sensitivity=2**20)
    for values in (np.zeros(8_000, dtype=np.int64), np.full(8_000, 11_000)):
        received = LeaderSum(case.params)
        received.add(case.report(values).masked)
        counts = np.bincount((received.total >> np.uint64(case.params.modulus_bits - 4)).astype(int), minlength=16)
        assert ((counts - 500.0) ** 2 / 500.0).sum() < 45  # 15 degrees of freedom: p = 8e-5
