"""Figures of the accountants: equal to dp-accounting's, to published known answers, and never free."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from privacy.accounting import (
    EventInvalid,
    LocalEvent,
    MethodUnavailable,
    ResponseEvent,
    SumEvent,
    TreeEvent,
    UnitsMixed,
    epsilon,
    rdp,
    suggest_order,
    unit_of,
)
from privacy.accounting.contract import convert

PLAN = [SumEvent(1.0, 0.01, 100)]
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("method", "amplification", "figure"),
    [("pld", True, 0.954), ("rdp", True, 1.507), ("pld", False, 96.7), ("rdp", False, 100.7)],
)
def test_the_declared_plan_of_the_design_costs_what_it_says(method, amplification, figure):
    """z=1, q=.01, 100 releases, delta=1e-6: the four published figures, to the digits given."""
    digits = 1 if figure > 10 else 3
    assert round(epsilon(PLAN, 1e-6, method, amplification=amplification), digits) == figure


def test_the_filter_at_order_nine_costs_what_it_says():
    """The same plan under the one-order filter costs 1.513, and 9 is the order to choose for it."""
    assert round(convert(rdp(PLAN[0], 9), 9, 1e-6), 3) == 1.513
    assert suggest_order(1.513, 1e-6, PLAN[0]) == 9


def test_a_suggested_order_pays_for_the_most_releases():
    """No other order up to 200 pays for more releases, hidden sampling or not."""
    for event in (SumEvent(1.0, 0.01), SumEvent(3.0, 0.1), SumEvent(4.0, 1.0)):
        best = suggest_order(2.0, 1e-5, event)
        releases = {}
        for order in range(2, 200):
            cap = 2.0 - convert(1.0, order, 1e-5) + 1.0
            releases[order] = cap / rdp(event, order)
        assert max(releases, key=releases.__getitem__) == best
    assert suggest_order(2.0, 1e-5) == suggest_order(2.0, 1e-5, SumEvent(4.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 50), st.integers(2, 200), st.floats(1e-12, 0.5))
def test_conversion_equals_the_library(spent, order, delta):
    """The plain-arithmetic epsilon is dp-accounting's ``compute_epsilon`` at the same single order."""
    assert convert(spent, order, delta) == pytest.approx(compute_epsilon([order], [spent], delta)[0], abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.5, 20),
    st.sampled_from([0.001, 0.01, 0.2, 1.0]),
    st.integers(1, 1000),
    st.integers(2, 64),
)
def test_divergence_equals_the_library_under_either_relation(noise, rate, count, order):
    """The charge is dp-accounting's figure, the same under zero-out and add-or-remove-one."""
    gaussian = GaussianDpEvent(noise)
    for relation in (NeighboringRelation.REPLACE_SPECIAL, NeighboringRelation.ADD_OR_REMOVE_ONE):
        accountant = RdpAccountant([order], relation)
        accountant.compose(PoissonSampledDpEvent(rate, gaussian), count)
        expected = max(float(accountant.rdp[0]), count * 1e-12)
        assert rdp(SumEvent(noise, rate, count), order) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(1.0, 1e6), st.floats(1e-9, 1.0), st.integers(2, 128))
def test_no_release_is_free(noise, rate, order):
    """However small, a release costs something, grows with its count, and never more than without sampling."""
    one = rdp(SumEvent(noise, rate), order)
    assert one > 0
    assert rdp(SumEvent(noise, rate, 1000), order) == 1000 * one
    assert one <= order / (2 * noise**2) * (1 + 1e-9)


@pytest.mark.parametrize("other", [SumEvent(1.0, 0.1), ResponseEvent(0.5, 4), TreeEvent(5.0, 16)], ids=repr)
def test_one_epsilon_has_one_unit(other):
    """Device-level events and per-row steps are refused in one figure; an empty plan costs nothing."""
    assert unit_of(other) == "device"
    assert unit_of(LocalEvent(1.0)) == "row"
    for plan in ([other, LocalEvent(1.0)], [LocalEvent(1.0), other]):
        with pytest.raises(UnitsMixed, match="per-row"):
            epsilon(plan, 1e-6, "rdp")
    assert epsilon([], 1e-6, "pld") == 0.0


def test_device_level_events_of_all_kinds_compose():
    """Sums, trees and responses speak of one device: their Renyi divergences add up in one figure."""
    plan = [SumEvent(2.0, 0.1, 10), TreeEvent(8.0, 16), ResponseEvent(0.8, 4, 2)]
    together = epsilon(plan, 1e-6, "rdp")
    at_orders = [convert(sum(rdp(event, order) for event in plan), order, 1e-6) for order in range(2, 64)]
    assert together == pytest.approx(min(at_orders), abs=2e-3)
    assert together <= min(at_orders) + 1e-9
    assert max(epsilon([event], 1e-6, "rdp") for event in plan) < together
    assert epsilon([plan[0], plan[2]], 1e-6, "pld") < epsilon([plan[0], plan[2]], 1e-6, "rdp")


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize(("noise", "buckets"), [(0.3, 4), (0.8, 2), (0.05, 20)])
def test_responses_cost_what_all_their_outcomes_say(noise, buckets, count):
    """PLD epsilon of n answers is that of the full enumeration, in the worse direction, and never below it."""
    same, uniform = 1 - noise + noise / buckets, 1 / buckets
    outcomes = []
    for hits in range(count + 1):
        ways = math.comb(count, hits)
        true = ways * same**hits * (1 - same) ** (count - hits)
        null = ways * uniform**hits * (1 - uniform) ** (count - hits)
        outcomes.append((true, null))
    delta = 1e-3

    def divergence(level):
        away = sum(max(0.0, true - math.exp(level) * null) for true, null in outcomes)
        back = sum(max(0.0, null - math.exp(level) * true) for true, null in outcomes)
        return max(away, back)

    exact = brentq(lambda level: divergence(level) - delta, 0, 60)
    assert 0 <= epsilon([ResponseEvent(noise, buckets, count)], delta, "pld") - exact < 1.1e-4 * count
    assert epsilon([ResponseEvent(noise, buckets, count)], delta, "rdp") >= exact


def test_an_answer_of_pure_noise_is_almost_free():
    """A response that ignores the data has no loss; the filter still charges its floor, so that nothing is free."""
    assert epsilon([ResponseEvent(1.0, 4, 1000)], 1e-6, "pld") == 0.0
    assert rdp(ResponseEvent(1.0, 4, 1000), 7) == 1000 * 1e-12


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 50), st.integers(1, 5000), st.integers(1, 20), st.integers(2, 64))
def test_a_tree_costs_its_depth(noise, steps, count, order):
    """A device is in at most one leaf, so a plan costs one Gaussian a level of its tree."""
    levels = (steps - 1).bit_length() + (1 if steps & (steps - 1) == 0 else 0)
    whole = rdp(TreeEvent(noise, steps, count), order)
    assert whole == pytest.approx(count * levels * order / (2 * noise**2), rel=1e-9)
    assert whole >= rdp(SumEvent(noise, 1.0, count), order) * (1 - 1e-12)


def test_tree_noise_has_no_loss_distribution():
    """PLD is refused by type where the library has none, alone or within a plan; RDP answers."""
    for plan in ([TreeEvent(5.0, 16)], [SumEvent(1.0, 0.1), TreeEvent(5.0, 16)]):
        with pytest.raises(MethodUnavailable, match="rdp"):
            epsilon(plan, 1e-6, "pld")
        assert epsilon(plan, 1e-6, "rdp") > 0


def test_local_steps_cost_what_the_same_sums_cost():
    """The local layer's figure is the sampled Gaussian's too, at its own batch's rate."""
    assert epsilon([LocalEvent(1.0, 0.01, 100)], 1e-6, "rdp") == epsilon(PLAN, 1e-6, "rdp")


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (SumEvent, (0.0, 0.5)),
        (SumEvent, (-1.0, 0.5)),
        (SumEvent, (math.nan, 0.5)),
        (SumEvent, (math.inf, 0.5)),
        (SumEvent, (1.0, 0.0)),
        (SumEvent, (1.0, 1.1)),
        (SumEvent, (1.0, math.nan)),
        (SumEvent, (1.0, 0.5, 0)),
        (SumEvent, (1.0, 0.5, 1.5)),
        (SumEvent, (1.0, 0.5, True)),
        (LocalEvent, (0.0,)),
        (ResponseEvent, (0.0, 4)),
        (ResponseEvent, (1.1, 4)),
        (ResponseEvent, (math.nan, 4)),
        (ResponseEvent, (0.5, 1)),
        (ResponseEvent, (0.5, 2.0)),
        (ResponseEvent, (0.5, 4, 0)),
        (TreeEvent, (0.0, 16)),
        (TreeEvent, (1.0, 0)),
        (TreeEvent, (1.0, 16.0)),
        (TreeEvent, (1.0, 16, True)),
    ],
)
def test_events_refuse_figures_outside_their_range(kind, figures):
    """No noise, no rate, NaN and fractional counts are errors, not large or small epsilons."""
    with pytest.raises(EventInvalid):
        kind(*figures)


@pytest.mark.parametrize(("delta", "method"), [(0.0, "rdp"), (1.0, "pld"), (math.nan, "rdp"), (1e-6, "gdp")])
def test_bad_deltas_and_methods_are_refused(delta, method):
    """Delta lies inside (0, 1), and there is no third method."""
    with pytest.raises(EventInvalid):
        epsilon(PLAN, delta, method)


def test_importing_accounting_loads_nothing_heavy():
    """Importing the package, and spending from a ledger, loads no numpy, scipy or dp-accounting."""
    code = (
        "import sys\n"
        "from privacy.accounting import *\n"
        "state = open_ledger(Contract(1.0, 1e-6, 20), 'device')\n"
        "charge(state, Charge('s', 0, 'intent', SumEvent(1.0, .1), (.01,), '', 0), Times(0, 0.0))\n"
        "heavy = {'numpy', 'scipy', 'dp_accounting', 'torch', 'flwr'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_a_plan_without_privacy_gets_a_large_figure_not_a_crash():
    """The privacy loss grid coarsens with the figure, so a near-noiseless plan is answered, above any use."""
    assert epsilon([SumEvent(0.01, 1.0, 10)], 1e-6, "pld") > 1e4


def test_amplification_off_is_rate_one():
    """Giving no credit for hidden sampling is the same as a rate of 1, and changes nothing where none was given."""
    bare = [replace(event, sampling_rate=1.0) for event in PLAN]
    assert epsilon(PLAN, 1e-6, "rdp", amplification=False) == epsilon(bare, 1e-6, "rdp")
    others = [ResponseEvent(0.5, 4), TreeEvent(5.0, 16)]
    assert epsilon(others, 1e-6, "rdp", amplification=False) == epsilon(others, 1e-6, "rdp")
