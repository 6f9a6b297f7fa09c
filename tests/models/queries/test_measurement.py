import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.queries import measurement
from models.queries.errors import NothingToReport, QuestionInvalid, ShapeMismatch

QUESTION = measurement.MeasurementQuestion(4, (5.0, 30.0), 0.2)
DATA = Path(os.environ.get("HEARTHSIDE_DATA", Path(__file__).parents[4] / "shared" / "data"))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.floats(0, 1e5), max_size=20))
def test_every_device_has_the_same_bounded_say(pages, dwell):
    """The norm is at most 1, and exactly 1 when a device has both moves and dwell times."""
    if len(pages) < 2 and not dwell:
        with pytest.raises(NothingToReport):
            measurement.encode(QUESTION, pages, dwell)
        return
    norm = np.linalg.norm(measurement.encode(QUESTION, pages, dwell))
    assert norm <= 1 + 1e-12
    if len(pages) >= 2 and dwell:
        assert norm == pytest.approx(1)


def test_moves_and_dwell_land_in_their_cells():
    """A move from 1 to 2 is cell (1, 2); a dwell time equal to an edge falls into the bin above it."""
    vector = measurement.encode(QUESTION, [1, 2], [5.0])
    expected = np.zeros(QUESTION.dimension)
    expected[1 * 4 + 2] = math.sqrt(0.8)
    expected[16 + 1] = math.sqrt(0.2)
    np.testing.assert_allclose(vector, expected)


def test_a_released_sum_becomes_distributions():
    """Rows are stochastic; negative cells are noise; a row of nothing but noise below zero is uniform."""
    total = np.zeros(QUESTION.dimension)
    total[:4] = [3.0, 1.0, -2.0, 0.0]
    total[4:8] = -1.0
    total[16:] = [1.0, 3.0, -5.0]
    answer = measurement.decode(QUESTION, total)
    np.testing.assert_allclose(answer.transitions[0], [0.75, 0.25, 0, 0])
    np.testing.assert_allclose(answer.transitions[1], [0.25] * 4)
    np.testing.assert_allclose(answer.transitions.sum(axis=1), 1)
    np.testing.assert_allclose(answer.dwell, [0.25, 0.75, 0])


def test_top_1_counts_moves_and_not_people():
    """Two of three moves follow the likeliest target."""
    transitions = np.array([[0.1, 0.9], [0.6, 0.4]])
    assert measurement.top_1(transitions, [[0, 1, 0], [1, 1], [0]]) == pytest.approx(2 / 3)
    with pytest.raises(NothingToReport):
        measurement.top_1(transitions, [[1], []])


def test_popularity_is_read_from_the_same_release():
    """Column mass of the released transitions, noise below zero dropped."""
    total = np.zeros(QUESTION.dimension)
    total[1] = 3.0
    total[5] = 1.0
    total[2] = 4.0
    total[3] = -9.0
    np.testing.assert_allclose(measurement.popularity(QUESTION, total), [0, 0.5, 0.5, 0])


def test_constants_and_data_that_make_no_sense_are_refused():
    """An unknown category, unordered edges and a share without a histogram are errors; infinite dwell is a null."""
    for bad in ((1, (), 0.0), (4, (3.0, 3.0), 0.1), (4, (), 0.1), (4, (3.0,), 0.0), (4, (3.0,), 1.0)):
        with pytest.raises(QuestionInvalid):
            measurement.MeasurementQuestion(*bad)
    with pytest.raises(ShapeMismatch):
        measurement.encode(QUESTION, [0, 4])
    for bad in (np.ones((3, 4)), -np.ones((4, 4))):
        with pytest.raises(ShapeMismatch):
            measurement.encode_counts(QUESTION, bad)
    with pytest.raises(ShapeMismatch):
        measurement.decode(QUESTION, np.zeros(3))
    with pytest.raises(NothingToReport):
        measurement.encode(QUESTION, [0, 1], [math.inf])


@pytest.mark.realdata
def test_noise_for_epsilon_2_keeps_the_next_page_prediction_on_real_visits():
    """16,000 real devices, one sum, both servers' noise: within .01 of the non-private figure and at least .62."""
    path = DATA / "msnbc" / "msnbc990928.seq.gz"
    if not path.exists():
        pytest.skip(f"no {path}: see the README on HEARTHSIDE_DATA")
    question = measurement.MeasurementQuestion(17)
    with gzip.open(path, "rt") as lines:
        visits = [
            [int(page) - 1 for page in line.split()][:100] for line in lines.readlines()[7:60_007] if line.strip()
        ]
    visits = [visit for visit in visits if len(visit) > 1][:20_000]
    train, test = visits[:16_000], visits[16_000:]
    total = sum(measurement.encode(question, visit) for visit in train)
    noise = np.random.default_rng(3).normal(scale=math.sqrt(2) * 2.6, size=question.dimension)
    private = measurement.top_1(measurement.decode(question, total + noise).transitions, test)
    assert private >= 0.62
    assert private >= measurement.top_1(measurement.central(question, train), test) - 0.01
