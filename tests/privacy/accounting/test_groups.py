"""A person with several devices: weaker than one device's figure, and each route at most as loose as the one before."""

from __future__ import annotations

import math

import pytest

from privacy.accounting import (
    EventInvalid,
    LocalEvent,
    MethodUnavailable,
    NotAttainable,
    ResponseEvent,
    SumEvent,
    TreeEvent,
    UnitsMixed,
    epsilon,
)
from privacy.accounting.groups import group_contract, group_epsilon

SAMPLED = [SumEvent(4.0, 0.1, 10)]


def test_a_contract_for_two_devices_is_what_the_design_says():
    """(m eps, m e^((m-1) eps) delta), and delta stops at 1, where nothing is promised."""
    figure = group_contract(1.0, 1e-6, 2)
    assert figure.epsilon == 2.0
    assert figure.delta == pytest.approx(2 * math.e * 1e-6)
    assert group_contract(1.0, 1e-6, 1) == (1.0, pytest.approx(1e-6))
    assert group_contract(4.0, 1e-6, 9).delta == 1.0


@pytest.mark.parametrize("members", [2, 3])
def test_the_routes_are_ordered(members):
    """Loss distribution, then the curve, then the bare guarantee at the delta that it implies."""
    device = epsilon(SAMPLED, 1e-7, "rdp")
    bare = group_contract(device, 1e-7, members)
    curve = group_epsilon(SAMPLED, bare.delta, members, "rdp")
    tight = group_epsilon(SAMPLED, bare.delta, members, "pld")
    assert epsilon(SAMPLED, bare.delta, "pld") < tight < curve < bare.epsilon


def test_without_sampling_a_group_is_one_device_of_more_weight():
    """Several devices in an unsampled sum or tree have so many times the sensitivity; answers add up."""
    assert group_epsilon([SumEvent(6.0, 1.0, 2)], 1e-6, 3, "pld") == epsilon([SumEvent(2.0, 1.0, 2)], 1e-6, "pld")
    assert group_epsilon([TreeEvent(6.0, 8)], 1e-6, 3, "rdp") == epsilon([TreeEvent(2.0, 8)], 1e-6, "rdp")
    answers = group_epsilon([ResponseEvent(0.5, 4)], 1e-6, 3, "pld")
    assert answers == epsilon([ResponseEvent(0.5, 4, 3)], 1e-6, "pld")


def test_all_coins_heads_is_the_limit():
    """As the rate nears 1 a sampled group costs what the unsampled one does, and less before."""
    whole = group_epsilon([SumEvent(6.0, 1.0)], 1e-6, 2, "pld")
    nearly = group_epsilon([SumEvent(6.0, 0.999999)], 1e-6, 2, "pld")
    half = group_epsilon([SumEvent(6.0, 0.5)], 1e-6, 2, "pld")
    assert nearly == pytest.approx(whole, abs=2e-3)
    assert half < nearly


def test_one_device_is_no_group():
    """A group of one is the device's own figure by either method."""
    for method in ("rdp", "pld"):
        assert group_epsilon(SAMPLED, 1e-6, 1, method) == epsilon(SAMPLED, 1e-6, method)


def test_what_has_no_group_figure_is_refused_by_type():
    """Rows are not devices, trees have no loss distribution, and some curves imply nothing for a group."""
    with pytest.raises(UnitsMixed):
        group_epsilon([LocalEvent(1.0)], 1e-6, 2, "rdp")
    with pytest.raises(MethodUnavailable):
        group_epsilon([*SAMPLED, TreeEvent(6.0, 8)], 1e-6, 2, "pld")
    with pytest.raises(NotAttainable):
        group_epsilon([SumEvent(0.5, 0.9, 50)], 1e-6, 20, "rdp")
    for members in (0, 65, 1.0, True):
        with pytest.raises(EventInvalid):
            group_epsilon(SAMPLED, 1e-6, members, "rdp")
    with pytest.raises(EventInvalid):
        group_contract(1.0, 0.0, 2)
