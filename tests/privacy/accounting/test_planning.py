"""The planner's arithmetic: costs are the filter's, knobs pull the way they say, remedies cure what they name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from privacy.accounting import Contract, EventInvalid, SumEvent, rdp
from privacy.accounting.errors import EventUnsuited
from privacy.accounting.planning import (
    Budget,
    Plan,
    Population,
    alternatives,
    declared_epsilon,
    forecast,
    remedies,
)
from privacy.accounting.precision import Comparison, Count, Encoding, Histogram, Mean, Sample, Training

CONTRACT = Contract(4.0, 1e-6, 7)
QUESTIONS = [Count(0.2), Count(0.2, as_share=True), Histogram(8), Mean(50.0, 20.0), Comparison(0.1), Training(642)]
PLAN = Plan(Population(10_000, 0.6, 0.5), Count(0.2, as_share=True), Budget(CONTRACT, share=0.25), sampling_rate=0.5)


def encoder(question, noise_multiplier, _reports):
    """A vector of norm 1 on a fine grid, whatever is asked."""
    dimension = question.parameters if isinstance(question, Training) else 1
    return Encoding(dimension, noise_multiplier, 1_400)


def remedy_of(plan, word):
    """The number in the remedy that names the word."""
    (line,) = [line for line in remedies(plan, forecast(plan, encoder), encoder) if word in line]
    return float(line.split()[-1 if word != "devices" else -2].replace(",", ""))


def test_the_noise_found_takes_its_share_and_no_more():
    """A plan without a given noise costs its share of the cap, up to the last printed digit of the noise."""
    found = forecast(PLAN, encoder)
    cost = rdp(SumEvent(found.noise_multiplier, 0.5), 7)
    assert found.share == cost / CONTRACT.caps[0]
    assert 0.2498 < found.share <= 0.25
    assert found.epsilon == CONTRACT.epsilon_of((cost,))
    assert found.feasible
    assert declared_epsilon(PLAN, found) < found.epsilon


def test_what_was_spent_before_counts():
    """The figure afterwards is the filter's for both together, and a share that is gone cannot be taken."""
    spent = replace(PLAN, budget=replace(PLAN.budget, spent=0.75))
    assert forecast(spent, encoder).epsilon_after == pytest.approx(4.0, abs=1e-3)
    assert forecast(spent, encoder).epsilon_after <= 4.0
    less = replace(PLAN, budget=replace(PLAN.budget, spent=0.9))
    assert forecast(less, encoder).share == pytest.approx(0.1, abs=1e-4)
    gone = replace(PLAN, budget=replace(PLAN.budget, spent=1.0))
    assert forecast(gone, encoder).obstacles == ("nothing is left of the budget",)
    assert remedies(gone, forecast(gone, encoder), encoder)[0].startswith("wait")


def test_several_orders_admit_what_one_of_them_admits():
    """The share is that of the order with the most room, and the noise is found by it."""
    contract = Contract(4.0, 1e-6, (5, 7, 12))
    found = forecast(replace(PLAN, budget=Budget(contract, share=0.25)), encoder)
    shares = [
        rdp(SumEvent(found.noise_multiplier, 0.5), order) / cap
        for order, cap in zip(contract.orders, contract.caps, strict=True)
    ]
    assert found.share == min(shares) <= 0.25 < max(shares)


def test_traffic_is_one_report_a_round_whatever_the_coin():
    """Nulls cost as much as real reports: a real one costs 1/q reports."""
    found = forecast(replace(PLAN, rounds=8, sampling_rate=0.1), encoder)
    assert found.reports_per_device == 8
    assert found.reports_per_device / found.real_per_device == pytest.approx(10.0)
    assert found.bytes_per_device == 8 * 1_400


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_more_devices_more_rate_less_noise_help(question):
    """At equal noise, every question gains from devices, from rate and from quiet, in what matters most for it."""
    start = replace(PLAN, question=question, noise_multiplier=2.0)
    relative = forecast(start, encoder).precision.relative
    for better in (
        replace(start, population=Population(20_000, 0.6, 0.5)),
        replace(start, sampling_rate=1.0),
        replace(start, noise_multiplier=1.0),
    ):
        assert forecast(better, encoder).precision.relative < relative


def test_both_servers_noise_is_in_the_error():
    """With everyone sampled and everyone alike, only noise is left: sqrt(2) sigma for a count."""
    found = Count(0.999999).precision(Sample(1_000, 1.0, 1, 5.0))
    assert found.standard_error == pytest.approx(5.0 * math.sqrt(2), rel=1e-4)
    assert found.half_width == pytest.approx(1.959964 * 5.0 * math.sqrt(2), rel=1e-4)


def test_repeating_a_question_does_not_find_new_people():
    """More rounds shrink noise and coins, never the error of who reports."""
    once, often = (Count(0.2).precision(Sample(1_000, 0.5, rounds, 5.0)) for rounds in (1, 16))
    assert often.noise == pytest.approx(once.noise / 4)
    assert often.coins == pytest.approx(once.coins / 4)
    assert often.people == once.people


def test_training_gains_with_the_root_of_its_rounds():
    """A coordinate's signal stands sqrt(R) further out after R rounds; fewer parameters, stronger signal."""
    one, hundred = (Training(100).precision(Sample(1_000, 0.1, rounds, 1.0)) for rounds in (1, 100))
    assert hundred.signal_to_noise == pytest.approx(10 * one.signal_to_noise)
    assert Training(400).precision(Sample(1_000, 0.1, 1, 1.0)).signal_to_noise < one.signal_to_noise


def test_a_stricter_test_needs_a_larger_effect():
    """The smallest effect grows with power and strictness, and is larger than half the interval."""
    sample = Sample(2_000, 0.5, 1, 2.0)
    usual = Comparison(0.1).precision(sample)
    assert usual.smallest_effect > usual.half_width
    assert Comparison(0.1, power=0.9).precision(sample).smallest_effect > usual.smallest_effect
    assert Comparison(0.1, significance=0.01).precision(sample).smallest_effect > usual.smallest_effect
    assert Comparison(0.1, split=0.1).precision(sample).smallest_effect > usual.smallest_effect


def test_alternatives_are_ranked_and_each_turns_one_knob():
    """Every knob of the question is there; what fits comes first, and the most precise of it before the rest."""
    plan = replace(PLAN, question=Histogram(8), rounds=4)
    turned = alternatives(plan, encoder)
    knobs = " / ".join(item.knob for item in turned)
    for word in ("devices", "coin q = 1", "rounds", "window", "share", "epsilon 8", "coarser, 4 cells"):
        assert word in knobs
    ranks = [(not item.forecast.feasible, item.forecast.precision.relative) for item in turned]
    assert ranks == sorted(ranks)
    assert "equal arms" in {item.knob for item in alternatives(replace(PLAN, question=Comparison(0.1, 0.2)), encoder)}
    for item in turned:
        assert item.plan != plan
        assert forecast(item.plan, encoder) == item.forecast


def test_a_given_noise_that_costs_too_much_says_what_would_do():
    """The smallest noise and the smallest contract that are named fit, and a hair less does not."""
    plan = replace(PLAN, noise_multiplier=1.2)
    assert not forecast(plan, encoder).feasible
    noise, larger = remedy_of(plan, "noise multiplier"), remedy_of(plan, "contract")
    assert forecast(replace(plan, noise_multiplier=noise), encoder).feasible
    assert not forecast(replace(plan, noise_multiplier=noise - 2e-4), encoder).feasible

    def under(target):
        return forecast(replace(plan, budget=Budget(Contract(target, 1e-6, 7), share=0.25)), encoder)

    assert under(larger + 0.05).feasible
    assert not under(larger - 0.06).feasible


def test_too_few_devices_are_told_how_many_it_takes():
    """The number of devices that is named reaches the cohort or the precision asked for; one fewer does not."""
    small = replace(PLAN, population=Population(100, 0.6, 0.5))
    vague = replace(PLAN, within=0.01)
    for plan in (small, vague):
        assert not forecast(plan, encoder).feasible
        devices = int(remedy_of(plan, "devices"))
        assert forecast(replace(plan, population=Population(devices, 0.6, 0.5)), encoder).feasible
        assert not forecast(replace(plan, population=Population(devices - 1, 0.6, 0.5)), encoder).feasible


def test_too_much_noise_is_told_which_epsilon_it_takes():
    """Where less noise alone would do, the contract that pays for it is named, and is enough."""
    plan = replace(
        PLAN, population=Population(1_000), sampling_rate=1.0, budget=Budget(CONTRACT, share=0.03), within=0.03
    )
    assert not forecast(plan, encoder).feasible
    larger = remedy_of(plan, "contract")
    assert larger > 4
    assert forecast(replace(plan, budget=Budget(Contract(larger * 1.01, 1e-6, 7), share=0.03)), encoder).feasible


def test_a_count_lost_in_noise_is_no_divisor():
    """A mean over so few that the noisy count may vanish is not feasible, however wide its interval."""
    plan = replace(PLAN, question=Mean(0.5, 0.2, share=0.01), noise_multiplier=20.0, budget=Budget(CONTRACT))
    assert any("lost in noise" in obstacle for obstacle in forecast(plan, encoder).obstacles)


def test_bad_figures_are_refused_by_type():
    """Shares outside their range, no devices, a spread beyond the range, a coin under zCDP."""
    for make in (
        lambda: Population(0),
        lambda: Population(100, 0.0),
        lambda: Population(100, 1.0, 1.1),
        lambda: Budget(CONTRACT, spent=1.1),
        lambda: Budget(CONTRACT, share=0.0),
        lambda: Count(1.0),
        lambda: Histogram(1),
        lambda: Mean(1.0, 2.0),
        lambda: Comparison(0.1, power=1.0),
        lambda: Training(0),
        lambda: forecast(replace(PLAN, rounds=0), encoder),
        lambda: forecast(replace(PLAN, sampling_rate=0.0), encoder),
        lambda: forecast(replace(PLAN, noise_multiplier=0.0), encoder),
    ):
        with pytest.raises(EventInvalid):
            make()
    with pytest.raises(EventUnsuited):
        forecast(replace(PLAN, budget=Budget(Contract(4.0, 1e-6, "zcdp"))), encoder)
