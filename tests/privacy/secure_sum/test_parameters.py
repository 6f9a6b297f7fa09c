"""Parameters are validated together, and a sum that could wrap does not exist."""

import math

import pytest

from privacy.secure_sum import LocalMisuse, ParametersRefused, SumParameters

GIVEN = {
    "dimension": 100,
    "clip_norm": 2.0,
    "sensitivity": 2**18,
    "noise_multiplier": 1.1,
    "maximum_cohort": 1_000,
    "minimum_cohort": 50,
}


def test_derived_figures_follow_the_formulas() -> None:
    """Scale, noise and modulus are those of the design, computed here by hand."""
    params = SumParameters(**GIVEN)
    sigma = math.ceil(1.1 * 2**18)
    reach = 1_000 * 2**18 + math.sqrt(2 * math.log(200 * 2**40)) * math.sqrt(2) * sigma
    assert params.scale == (2**18 - 5) / 2.0
    assert params.noise_sigma == sigma
    assert params.modulus_bits == math.ceil(math.log2(2 * reach + 1))
    assert params.packed_bytes <= 100 * params.modulus_bits / 8 + 7


@pytest.mark.parametrize("cohort", [2, 3, 1_000, 2**20, 2**32])
@pytest.mark.parametrize("sensitivity", [1_000, 2**16, 2**19])
def test_the_true_sum_never_reaches_half_the_modulus(cohort: int, sensitivity: int) -> None:
    """The largest sum, n Delta, stays below 2^(b-1), with room for t sqrt(2) sigma on either side."""
    params = SumParameters(**(GIVEN | {"sensitivity": sensitivity, "maximum_cohort": cohort, "minimum_cohort": 2}))
    assert cohort * sensitivity + 10 * params.noise_sigma < 2 ** (params.modulus_bits - 1)
    assert 2 ** (params.modulus_bits - 3) < cohort * sensitivity + 20 * params.noise_sigma


@pytest.mark.parametrize(
    "change",
    [
        {"dimension": 0},
        {"dimension": 2**24 + 1},
        {"dimension": 1.0},
        {"dimension": True},
        {"clip_norm": 0.0},
        {"clip_norm": -1.0},
        {"clip_norm": float("nan")},
        {"clip_norm": float("inf")},
        {"clip_norm": 5e-324},
        {"sensitivity": 9},
        {"sensitivity": 2.5},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": float("nan")},
        {"noise_multiplier": float("inf")},
        {"sensitivity": 998, "noise_multiplier": 1.0},
        {"minimum_cohort": 1},
        {"minimum_cohort": 0},
        {"maximum_cohort": 49},
        {"maximum_cohort": 2**32 + 1},
        {"sensitivity": 2**52, "maximum_cohort": 1_000},
        {"noise_multiplier": 1e12},
    ],
)
def test_what_could_wrap_leak_or_mean_nothing_is_refused(change: dict[str, object]) -> None:
    """Each bound has its refusal, and it is the caller's mistake."""
    with pytest.raises(ParametersRefused, match="expected") as refusal:
        SumParameters(**(GIVEN | change))
    assert isinstance(refusal.value, LocalMisuse)
    assert refusal.value.code == "parameters_refused"


def test_noise_is_rounded_up_never_down() -> None:
    """The product z Delta is one of rationals: .1 is a little more than a tenth, so its ceiling is one step higher."""
    assert SumParameters(**(GIVEN | {"sensitivity": 100_000, "noise_multiplier": 0.1})).noise_sigma == 10_001
    assert SumParameters(**(GIVEN | {"sensitivity": 100_000, "noise_multiplier": 0.5})).noise_sigma == 50_000
