"""Token buckets: never more than burst and rate allow, whoever asks in whatever order, in bounded memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.limits import Buckets, Rate

STEPS = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2), st.floats(0.5, 4)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 20), st.floats(1, 20), STEPS)
def test_no_span_of_time_lets_more_through_than_burst_and_rate(rate, burst, steps):
    """Between any two moments a key gets at most burst + rate * seconds, and one request more if it is a large one."""
    buckets, now, passed = Buckets(Rate(rate, burst), 10), 0.0, []
    for pause, key, cost in steps:
        now += pause
        if buckets.take(key, now, cost) == 0.0:
            passed.append((now, key, cost))
    for first, (start, key, _) in enumerate(passed):
        for last in range(first, len(passed)):
            end = passed[last][0]
            got = sum(cost for at, name, cost in passed[first : last + 1] if name == key)
            largest = max((cost for _, name, cost in passed[first : last + 1] if name == key), default=0.0)
            assert got <= burst + rate * (end - start) + max(0.0, largest - burst) + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 20), st.floats(1, 20), STEPS)
def test_who_waits_as_long_as_told_gets_through(rate, burst, steps):
    """The named wait is enough, and a little less is not."""
    buckets, now = Buckets(Rate(rate, burst), 10), 0.0
    for pause, key, cost in steps:
        now += pause
        wait = buckets.take(key, now, cost)
        if wait:
            if wait > 1e-6:
                assert buckets.take(key, now + wait * 0.99, cost) > 0
            now += wait * (1 + 1e-9) + 1e-9
            assert buckets.take(key, now, cost) == 0.0


def test_memory_is_bounded_and_the_longest_unused_is_forgotten_first():
    """A million addresses take as much room as the few that are remembered; a busy one is among them."""
    buckets = Buckets(Rate(0.001, 1), 3)
    assert buckets.take("busy", 0.0) == 0.0
    for index in range(1_000):
        buckets.take(index, 1.0)
        assert buckets.take("busy", 1.0) > 0
    assert len(buckets) == 3


def test_a_clock_that_steps_back_fills_no_bucket():
    """Time that is seen twice is counted once."""
    buckets = Buckets(Rate(1.0, 1), 1)
    assert buckets.take("a", 100.0) == 0.0
    assert buckets.take("a", 50.0) > 0
    assert buckets.take("a", 100.5) > 0
    with pytest.raises(ValueError, match="above 0"):
        Rate(0, 1)
