"""Planning: what a question costs, what its answer is worth, which knob to turn, and what would make it possible.

Pure: no data, no clock, no randomness, and nothing is charged. What the question's encoding looks like is passed in
(``Encoder``), because this layer knows neither sums nor questions; so the figures are those of the real one. Run by an
analyst before a study is proposed, and by an officer who wants to know what a larger or smaller epsilon would buy.

The epsilon of a plan is the *filter's*, which is what will be enforced (device level, zero-out, over the contract's
window). ``declared_epsilon`` is the privacy loss distribution's figure for the plan alone, which is tighter and cannot
be spent against adaptively.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from privacy.accounting.accountants import epsilon
from privacy.accounting.calibration import smallest_noise_for
from privacy.accounting.contract import Contract, largest_epsilon
from privacy.accounting.errors import ContractInvalid, EventInvalid, NotAttainable
from privacy.accounting.events import SumEvent
from privacy.accounting.precision import Comparison, Encoding, Histogram, Precision, Question, Sample
from privacy.accounting.pricing import price

LEAST_NOISE, MOST_NOISE = 0.1, 1_000.0
"""Noise multipliers that a study may name."""
MOST_DEVICES = 10**9
_NOISE_DIGITS = 4

Encoder = Callable[[Question, float, float], Encoding]
"""(question, noise multiplier, expected reports) to the figures of the real encoding."""


@dataclass(frozen=True, slots=True)
class Population:
    """Who could answer.

    Attributes:
        devices: enrolled devices.
        consenting: share of them that consents to the purpose, in (0, 1].
        reachable: share of those that reports within one round's window, in (0, 1].
    """

    devices: int
    consenting: float = 1.0
    reachable: float = 1.0

    def __post_init__(self) -> None:
        if type(self.devices) is not int or not 1 <= self.devices <= MOST_DEVICES:
            raise EventInvalid(f"expected 1 to {MOST_DEVICES:,} devices, got {self.devices!r}")
        if not 0 < self.consenting <= 1 or not 0 < self.reachable <= 1:
            raise EventInvalid("expected shares that consent and are reachable in (0, 1]")

    @property
    def reports(self) -> float:
        """Expected reports in a round, null or real."""
        return self.devices * self.consenting * self.reachable


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent.

    Attributes:
        contract: whose filter pays.
        spent: share of the filter's caps that is used up in the present window, in [0, 1].
        share: the most that this question may take of the whole caps, in (0, 1].
    """

    contract: Contract
    spent: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.spent <= 1 or not 0 < self.share <= 1:
            raise EventInvalid("expected a spent share in [0, 1] and a share for this question in (0, 1]")

    @property
    def left(self) -> float:
        """Share of the caps that this question may take now."""
        return min(self.share, 1 - self.spent)


@dataclass(frozen=True, slots=True)
class Plan:
    """A question as it would be asked.

    Attributes:
        population: who could answer.
        question: what is asked.
        budget: what may be spent.
        rounds: how often.
        sampling_rate: q of the hidden coin, in (0, 1].
        noise_multiplier: z of each server; None takes the smallest that the budget can pay.
        minimum_cohort: reports without which nothing is released.
        within: the largest half-width (or smallest effect) that is of use, in the question's unit; None: any.
    """

    population: Population
    question: Question
    budget: Budget
    rounds: int = 1
    sampling_rate: float = 1.0
    noise_multiplier: float | None = None
    minimum_cohort: int = 100
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan costs and what to expect.

    Attributes:
        noise_multiplier: z of each server, given or found.
        share: of the filter's caps that the plan takes (of several orders, the best).
        epsilon: the filter's figure for this plan alone (device level, zero-out).
        epsilon_after: the filter's figure with what was spent before.
        reports_per_device: reports, null or real, that a device reachable in every round sends.
        real_per_device: how many of them are real, on average: q of them, so a real one costs 1/q reports.
        bytes_per_device: what it sends over the whole plan.
        precision: what to expect of the answer.
        obstacles: why the plan cannot be run or is of no use; empty: it can.
    """

    noise_multiplier: float
    share: float
    epsilon: float
    epsilon_after: float
    reports_per_device: int
    real_per_device: float
    bytes_per_device: int
    precision: Precision
    obstacles: tuple[str, ...]

    @property
    def feasible(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.obstacles


@dataclass(frozen=True, slots=True)
class Alternative:
    """One knob turned: ``knob`` in words, the ``plan`` and its ``forecast``."""

    knob: str
    plan: Plan
    forecast: Forecast


def forecast(plan: Plan, encoder: Encoder) -> Forecast:
    """What the plan costs and what to expect of its answer.

    Raises:
        EventInvalid: rounds, rate or noise outside their range.
        EventUnsuited: the contract's filter has no price for it (zCDP with a hidden coin).
    """
    noise, obstacles = _noise(plan)
    costs = price(SumEvent(noise, plan.sampling_rate, plan.rounds), plan.budget.contract)
    share = _share_of(costs, plan.budget.contract)
    spent = tuple(plan.budget.spent * cap for cap in plan.budget.contract.caps)
    encoding = encoder(plan.question, noise, plan.population.reports)
    found = plan.question.precision(_sample(plan, encoding))
    return Forecast(
        noise_multiplier=noise,
        share=share,
        epsilon=plan.budget.contract.epsilon_of(costs),
        epsilon_after=plan.budget.contract.epsilon_of(tuple(a + b for a, b in zip(costs, spent, strict=True))),
        reports_per_device=plan.rounds,
        real_per_device=plan.rounds * plan.sampling_rate,
        bytes_per_device=plan.rounds * encoding.report_bytes,
        precision=found,
        obstacles=(*obstacles, *_obstacles(plan, share, found)),
    )


def declared_epsilon(plan: Plan, found: Forecast) -> float:
    """The privacy loss distribution's epsilon of this plan alone, at the contract's delta (device level, zero-out)."""
    event = SumEvent(found.noise_multiplier, plan.sampling_rate, plan.rounds)
    return epsilon([event], plan.budget.contract.delta, "pld")


def alternatives(plan: Plan, encoder: Encoder) -> tuple[Alternative, ...]:
    """Knobs to turn, one at a time, the most precise answer first; those that cannot be run come last."""
    turned = [Alternative(knob, other, forecast(other, encoder)) for knob, other in _knobs(plan)]
    return tuple(sorted(turned, key=lambda item: (not item.forecast.feasible, item.forecast.precision.relative)))


def remedies(plan: Plan, found: Forecast, encoder: Encoder) -> tuple[str, ...]:
    """What would make an infeasible plan feasible, each alone: how many devices, which noise, what epsilon."""
    return () if found.feasible else tuple(dict.fromkeys(_remedies(plan, found, encoder)))


def _noise(plan: Plan) -> tuple[float, tuple[str, ...]]:
    """The noise multiplier, given or the smallest that the budget pays, and what stands in its way."""
    contract = plan.budget.contract
    if plan.noise_multiplier is not None:
        if not LEAST_NOISE <= plan.noise_multiplier <= MOST_NOISE:
            raise EventInvalid(f"expected noise in [{LEAST_NOISE:g}, {MOST_NOISE:g}], got {plan.noise_multiplier!r}")
        return plan.noise_multiplier, ()

    def share(noise: float) -> float:
        return _share_of(price(SumEvent(noise, plan.sampling_rate, plan.rounds), contract), contract)

    try:
        # With nothing left, the forecast is for what the question may take once charges have expired.
        exact = smallest_noise_for(share, plan.budget.left or plan.budget.share)
    except NotAttainable:
        exact = math.inf
    if exact > MOST_NOISE:
        return MOST_NOISE, (f"the budget would need a noise multiplier above {MOST_NOISE:g}",)
    return max(LEAST_NOISE, math.ceil(exact * 10**_NOISE_DIGITS) / 10**_NOISE_DIGITS), ()


def _share_of(costs: tuple[float, ...], contract: Contract) -> float:
    """A filter of several orders admits what one of them has room for."""
    return min(cost / cap for cost, cap in zip(costs, contract.caps, strict=True))


def _sample(plan: Plan, encoding: Encoding) -> Sample:
    return Sample(plan.population.reports, plan.sampling_rate, plan.rounds, encoding.noise_deviation)


def _obstacles(plan: Plan, share: float, found: Precision) -> Iterator[str]:
    left = plan.budget.left
    if left == 0:
        yield "nothing is left of the budget"
    elif share > left:
        yield f"it takes {share:.0%} of the contract's budget, and {left:.0%} is allowed"
    if plan.population.reports < plan.minimum_cohort:
        yield f"{plan.population.reports:.0f} reports are expected, and below {plan.minimum_cohort} nothing is released"
    if found.weak_divisor:
        yield "the count of those who answer is nearly lost in noise, so the interval cannot be trusted"
    if plan.within is not None and found.headline > plan.within:
        yield f"{found.headline:.3g} {found.unit} is expected, and {plan.within:g} was asked for"


def _knobs(plan: Plan) -> Iterator[tuple[str, Plan]]:
    people, budget, question = plan.population, plan.budget, plan.question
    if 2 * people.devices <= MOST_DEVICES:
        yield "twice the devices", replace(plan, population=replace(people, devices=2 * people.devices))
    if plan.sampling_rate < 1:
        rate = min(1.0, 2 * plan.sampling_rate)
        yield f"coin q = {rate:g}", replace(plan, sampling_rate=rate)
    if plan.rounds > 1:
        yield f"fewer rounds, {plan.rounds // 2}", replace(plan, rounds=plan.rounds // 2)
    if people.reachable < 1:
        reachable = 1 - (1 - people.reachable) ** 2
        yield "twice the window", replace(plan, population=replace(people, reachable=reachable))
    yield from _budget_knobs(plan, budget)
    if isinstance(question, Histogram) and question.cells >= 4:  # noqa: PLR2004  # half of it is still a histogram
        coarse = replace(question, cells=question.cells // 2, share=question.share and min(0.99, 2 * question.share))
        yield f"coarser, {coarse.cells} cells", replace(plan, question=coarse)
    if isinstance(question, Comparison) and question.split != 0.5:  # noqa: PLR2004  # equal arms
        yield "equal arms", replace(plan, question=replace(question, split=0.5))


def _budget_knobs(plan: Plan, budget: Budget) -> Iterator[tuple[str, Plan]]:
    if plan.noise_multiplier is not None:
        if plan.noise_multiplier / 2 >= LEAST_NOISE:
            yield "half the noise", replace(plan, noise_multiplier=plan.noise_multiplier / 2)
        return
    if budget.share < 1 - budget.spent:
        share = min(1 - budget.spent, 2 * budget.share)
        yield f"larger share, {share:.0%}", replace(plan, budget=replace(budget, share=share))
    larger = 2 * budget.contract.epsilon
    if larger <= largest_epsilon(budget.contract.delta):
        contract = _contract(budget.contract, larger)
        yield f"contract epsilon {larger:g}", replace(plan, budget=replace(budget, contract=contract))


def _contract(contract: Contract, target: float) -> Contract:
    return Contract(target, contract.delta, contract.order, contract.window_seconds)


def _remedies(plan: Plan, found: Forecast, encoder: Encoder) -> Iterator[str]:
    if plan.budget.left > 0 and (found.share > plan.budget.left or found.noise_multiplier == MOST_NOISE):
        yield from _affordable(plan, found)
    elif plan.budget.left <= 0:
        yield "wait until charges leave the window"
    devices = _least_devices(plan, found, encoder)
    if devices is not None and devices > plan.population.devices:
        yield f"at least {devices:,} devices"
    wanted = _enough_epsilon(plan, found, encoder)
    if wanted is not None:
        yield f"a contract of epsilon {wanted:.3g}"


def _affordable(plan: Plan, found: Forecast) -> Iterator[str]:
    noise, obstacles = _noise(replace(plan, noise_multiplier=None))
    if not obstacles:
        yield f"a noise multiplier of at least {noise:g}"
    target = _least_epsilon(plan, found.noise_multiplier)
    if target is not None:
        yield f"a contract of epsilon {target:.3g}"


def _least_devices(plan: Plan, found: Forecast, encoder: Encoder) -> int | None:
    """The fewest devices at which cohort, divisor and wish are met with the noise as found."""

    def enough(devices: int) -> bool:
        other = replace(plan, population=replace(plan.population, devices=devices))
        encoding = encoder(plan.question, found.noise_multiplier, other.population.reports)
        precision = plan.question.precision(_sample(other, encoding))
        meets = plan.within is None or precision.headline <= plan.within
        return meets and not precision.weak_divisor and other.population.reports >= plan.minimum_cohort

    if not enough(MOST_DEVICES):
        return None
    low, high = 1, MOST_DEVICES
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _enough_epsilon(plan: Plan, found: Forecast, encoder: Encoder) -> float | None:
    """The least contract whose share pays for so little noise that the wish is met."""
    if plan.population.reports < plan.minimum_cohort or plan.budget.left <= 0:
        return None

    def enough(noise: float) -> bool:
        precision = plan.question.precision(_sample(plan, encoder(plan.question, noise, plan.population.reports)))
        return not precision.weak_divisor and (plan.within is None or precision.headline <= plan.within)

    if enough(found.noise_multiplier) or not enough(LEAST_NOISE):
        return None
    low, high = LEAST_NOISE, found.noise_multiplier
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return _least_epsilon(plan, low)


def _least_epsilon(plan: Plan, noise: float) -> float | None:
    """The least contract, of the same delta and order, that pays for this noise, rounded up to two decimals."""
    contract = plan.budget.contract
    costs = price(SumEvent(noise, plan.sampling_rate, plan.rounds), contract)

    def pays(target: float) -> bool:
        try:
            return _share_of(costs, _contract(contract, target)) <= plan.budget.left
        except ContractInvalid:
            return False

    low, high = 0, int(largest_epsilon(contract.delta) * 100)
    if not pays(high / 100):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if pays(middle / 100) else (middle + 1, high)
    return low / 100
