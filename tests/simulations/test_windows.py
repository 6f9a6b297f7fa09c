"""The demo's windows: as the drafts say on a fast machine, longer on a slow one or after slow rounds."""

import pytest

from simulations.demo.plans import intent, measurement
from simulations.demo.windows import Windows
from simulations.fleet.fleet import Pace


def test_a_fast_machine_keeps_the_drafts_windows():
    """Where a round takes a fraction of the window, the draft's own stands."""
    windows = Windows(nulls_seconds=0.3, training_seconds=1.0, load_seconds=0.5)
    assert windows.window_seconds(measurement()) == measurement().window_seconds
    assert windows.window_seconds(intent()) == intent().window_seconds


def test_a_slow_machine_gets_longer_ones():
    """A window holds what the warm-up says a round takes, with a margin; training costs only those with heads."""
    windows = Windows(nulls_seconds=3.0, training_seconds=20.0, load_seconds=0.0)
    needed = 3.0 + intent().sampling_rate * 23.0
    assert windows.expected_seconds(intent()) == pytest.approx(needed)
    assert windows.window_seconds(intent()) > needed


def test_slow_rounds_lengthen_the_next_windows_and_fast_ones_shorten_them_again():
    """The slower worker counts; the slowdown is that of the last study, not of all."""
    windows = Windows(nulls_seconds=2.0, training_seconds=0.0, load_seconds=0.0)
    usual = windows.window_seconds(intent())
    expected = windows.expected_seconds(measurement())
    windows.observe(measurement(), [Pace(round_seconds=expected), Pace(round_seconds=3 * expected)])
    assert windows.window_seconds(intent()) == pytest.approx(3 * usual, abs=0.2)
    windows.observe(measurement(), [Pace(round_seconds=expected / 2)])
    assert windows.window_seconds(intent()) == usual


def test_loading_counts_in_the_first_study_alone():
    """The two real agents load their worker in the first round; afterwards it is there."""
    windows = Windows(nulls_seconds=1.0, training_seconds=0.0, load_seconds=9.0)
    first = windows.expected_seconds(measurement())
    windows.observe(measurement(), [Pace()])
    assert windows.expected_seconds(measurement()) == pytest.approx(first - 9.0)
