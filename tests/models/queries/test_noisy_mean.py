import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.queries import noisy_mean
from models.queries.errors import NothingToReport, QuestionInvalid, ShapeMismatch

QUESTION = noisy_mean.MeanQuestion(size=3, bound=2.0, count_weight=0.5)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_no_device_exceeds_the_stated_norm(values):
    """Whatever the data, the contribution stays within the question's clipping norm."""
    assert np.linalg.norm(noisy_mean.encode(QUESTION, np.array(values))) <= QUESTION.clip_norm * (1 + 1e-12)


def test_the_sum_without_noise_gives_the_exact_mean_and_count():
    """The divisor is the count that travelled inside the vector."""
    data = np.random.default_rng(1).uniform(-1, 1, (40, 3))
    total = sum(noisy_mean.encode(QUESTION, row) for row in data)
    answer = noisy_mean.decode(QUESTION, total)
    assert answer.count == pytest.approx(40)
    np.testing.assert_allclose(answer.mean, data.mean(axis=0))


def test_a_count_lost_in_noise_does_not_blow_the_mean_up():
    """The mean stays in the ball that true means lie in, even when the noisy count is negative."""
    answer = noisy_mean.decode(QUESTION, np.array([50.0, -40.0, 3.0, -7.0]))
    assert np.linalg.norm(answer.mean) <= QUESTION.bound * (1 + 1e-12)
    assert answer.count == -7.0
    np.testing.assert_allclose(
        answer.mean / np.linalg.norm(answer.mean), np.array([50, -40, 3]) / math.hypot(50, 40, 3)
    )


def test_the_balanced_weight_minimises_the_error_of_the_mean():
    """No other weight gives a smaller variance, for a mean of norm 1."""
    size = 17
    best = noisy_mean.balanced_count_weight(size)

    def variance(weight):
        return (1 + weight**2) * (size + 1 / weight**2)

    assert all(variance(best) <= variance(best * factor) for factor in (0.5, 0.9, 1.1, 2.0))


def test_bad_data_is_a_null_and_a_bad_shape_a_mistake():
    """NaN asks the caller for a null report; a wrong length is an error of the program."""
    with pytest.raises(NothingToReport):
        noisy_mean.encode(QUESTION, np.array([1.0, np.nan, 0.0]))
    with pytest.raises(ShapeMismatch):
        noisy_mean.encode(QUESTION, np.zeros(4))
    with pytest.raises(ShapeMismatch):
        noisy_mean.decode(QUESTION, np.zeros(3))
    with pytest.raises(QuestionInvalid):
        noisy_mean.MeanQuestion(0, 1.0, 1.0)
    with pytest.raises(QuestionInvalid):
        noisy_mean.balanced_count_weight(0)
