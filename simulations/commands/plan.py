"""``hearthside plan QUESTION``: what it would cost, what to expect of it, and which knob to turn."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from privacy.accounting import Contract
    from privacy.accounting.planning import Alternative, Forecast, Plan
    from privacy.accounting.precision import Encoding, Question

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside plan proportion --devices 10000 --expected .2

  hearthside plan mean --high 300 --spread 60 --within 4

  hearthside plan histogram --cells 20 --devices 20000 --share .5

  hearthside plan comparison --devices 100000 --expected .05 --exposed .5 --json

  hearthside plan train --devices 20000 --rounds 100 --q .05 --parameters 642 --noise 2
"""
_SENSITIVITY = 2**14
"""Integer sensitivity of a report, as in the demo: a grid far finer than the noise."""
_LEAST_SIGMA = 1_000
_FRAMING_BYTES = 54
"""Of a report on the wire, besides vector, seal and signature: identifiers and lengths."""
_MOST_ENTRIES = 1_000_000


class Kind(StrEnum):
    """What is asked."""

    COUNT = "count"
    PROPORTION = "proportion"
    MEAN = "mean"
    HISTOGRAM = "histogram"
    COMPARISON = "comparison"
    TRAIN = "train"


def _inside(value: float) -> float:
    if not 0 < value < 1:
        raise typer.BadParameter(f"expected a number between 0 and 1, got {value}")
    return value


def _share(value: float) -> float:
    if not 0 < value <= 1:
        raise typer.BadParameter(f"expected a number above 0 and at most 1, got {value}")
    return value


def _used(value: float) -> float:
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a number from 0 to 1, got {value}")
    return value


def _positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"expected a number above 0, got {value}")
    return value


@app.command(epilog=_EXAMPLES)
def plan(
    kind: Annotated[Kind, typer.Argument(help="What is asked.")],
    devices: Annotated[int, typer.Option(help="Enrolled devices.", min=1, max=10**9)] = 10_000,
    consent: Annotated[float, typer.Option(help="Share of them that consents.", callback=_share)] = 0.6,
    reach: Annotated[float, typer.Option(help="Share of those that reports in a round.", callback=_share)] = 0.5,
    rounds: Annotated[int, typer.Option(help="How often the question is asked.", min=1, max=10_000)] = 1,
    q: Annotated[float, typer.Option(help="Probability that a device's coin says yes.", callback=_share)] = 0.5,
    epsilon: Annotated[
        float, typer.Option(help="Epsilon of the contract (device, zero-out).", callback=_positive)
    ] = 4.0,
    delta: Annotated[float, typer.Option(help="Delta of the contract.", callback=_inside)] = 1e-6,
    order: Annotated[
        list[int] | None, typer.Option(help="Order of the contract's filter, repeatable; left out: a good one.")
    ] = None,
    spent: Annotated[float, typer.Option(help="Share of the budget used up in this window.", callback=_used)] = 0.0,
    share: Annotated[
        float, typer.Option(help="Most of the whole budget that this question may take.", callback=_share)
    ] = 0.25,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Noise multiplier of each server; left out: the least that the budget pays.", min=0.1, max=1_000
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(help="Largest half-width (or smallest effect) of use, in the answer's unit.", callback=_positive),
    ] = None,
    cohort: Annotated[int, typer.Option(help="Reports below which nothing is released.", min=2)] = 100,
    expected: Annotated[
        float, typer.Option(help="Expected share of yes, or the control arm's rate.", callback=_inside)
    ] = 0.1,
    low: Annotated[float, typer.Option(help="Least value (mean).")] = 0.0,
    high: Annotated[float, typer.Option(help="Largest value (mean).")] = 1.0,
    spread: Annotated[
        float | None, typer.Option(help="Standard deviation over people (mean); left out: the worst case.")
    ] = None,
    cells: Annotated[int, typer.Option(help="Cells (histogram).", min=2, max=65_536)] = 10,
    exposed: Annotated[
        float, typer.Option(help="Share of reports with a value (mean) or in an arm (comparison).", callback=_share)
    ] = 1.0,
    split: Annotated[float, typer.Option(help="Share of the treatment arm (comparison).", callback=_inside)] = 0.5,
    power: Annotated[float, typer.Option(help="Power (comparison).", callback=_inside)] = 0.8,
    significance: Annotated[float, typer.Option(help="Two-sided significance (comparison).", callback=_inside)] = 0.05,
    parameters: Annotated[int, typer.Option(help="Parameters (train).", min=1, max=_MOST_ENTRIES)] = 642,
    agreement: Annotated[
        float, typer.Option(help="Length of the mean update over the clipping norm (train).", callback=_share)
    ] = 0.1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of tables.")] = False,
) -> None:
    """Plan a question: its cost in epsilon and traffic, the error to expect, and which knob to turn.

    Every epsilon is per device (zero-out: its data replaced by none) over the contract's window. Exit code 1: it does
    not fit the budget, or would be of no use; what would help is printed.
    """
    from privacy.accounting import AccountingError
    from privacy.accounting.planning import Budget, Plan, Population
    from privacy.accounting.precision import Comparison, Count, Histogram, Mean, Training

    if kind is Kind.MEAN and not -math.inf < low < high < math.inf:
        raise typer.BadParameter(f"expected --low below --high, got {low} and {high}")
    if kind is Kind.TRAIN and within is not None:
        raise typer.BadParameter("expected no --within for train: it has a signal-to-noise ratio, not an error")
    half = (high - low) / 2
    try:
        questions: dict[Kind, Any] = {
            Kind.COUNT: lambda: Count(expected),
            Kind.PROPORTION: lambda: Count(expected, as_share=True),
            Kind.MEAN: lambda: Mean(half, half if spread is None else spread, share=exposed),
            Kind.HISTOGRAM: lambda: Histogram(cells),
            Kind.COMPARISON: lambda: Comparison(expected, split, exposed, power, significance),
            Kind.TRAIN: lambda: Training(parameters, agreement),
        }
        asked = Plan(
            population=Population(devices, consent, reach),
            question=questions[kind](),
            budget=Budget(_contract(epsilon, delta, order, q, rounds), spent, share),
            rounds=rounds,
            sampling_rate=q,
            noise_multiplier=noise,
            minimum_cohort=cohort,
            within=within,
        )
        shown = _Answer.of(kind, asked)
    except AccountingError as error:
        raise typer.BadParameter(str(error)) from error
    print(json.dumps(shown.document(), indent=2)) if as_json else shown.show()
    if not shown.found.feasible:
        raise typer.Exit(1)


def _contract(epsilon: float, delta: float, orders: list[int] | None, rate: float, rounds: int) -> Contract:
    from privacy.accounting import Contract, SumEvent, suggest_order

    if orders:
        return Contract(epsilon, delta, tuple(sorted(set(orders))))
    typical = SumEvent(4.0, rate, rounds) if rate < 1 else None  # the order that sampled sums of usual noise need
    return Contract(epsilon, delta, suggest_order(epsilon, delta, typical))


def encoding(question: Question, noise_multiplier: float, reports: float) -> Encoding:
    """The figures of a question's real encoding: its vector as the query classes build it, in a validated sum."""
    from privacy.accounting.precision import Encoding
    from privacy.crypto.keys import SIGNATURE_BYTES
    from privacy.secure_sum import SumParameters
    from privacy.secure_sum.reports import SEAL_BYTES

    dimension, norm = _vector(question)
    cohort = max(2, math.ceil(2 * reports))
    sum_parameters = SumParameters(
        dimension=dimension,
        clip_norm=norm,
        sensitivity=max(_SENSITIVITY, math.ceil(_LEAST_SIGMA / noise_multiplier), math.ceil(64 * math.sqrt(dimension))),
        noise_multiplier=noise_multiplier,
        minimum_cohort=2,
        maximum_cohort=min(2**32, cohort),
    )
    return Encoding(
        dimension=dimension,
        noise_deviation=sum_parameters.noise_sigma / sum_parameters.scale,
        report_bytes=sum_parameters.packed_bytes + SEAL_BYTES + SIGNATURE_BYTES + _FRAMING_BYTES,
    )


def _vector(question: Question) -> tuple[int, float]:
    """Entries and L2 norm of a device's vector."""
    from models.queries.noisy_mean import MeanQuestion
    from privacy.accounting.precision import Comparison, Histogram, Mean, Training

    if isinstance(question, Mean):
        mean = MeanQuestion(1, question.half_range, question.count_weight)
        return mean.dimension, mean.clip_norm
    if isinstance(question, Comparison):  # a device fills the slot of its own arm, as one of personas does
        arm = MeanQuestion(1, 0.5, question.count_weight)
        return 2 * arm.dimension, arm.clip_norm
    if isinstance(question, Histogram):  # 1 in the device's own cell
        return question.cells, 1.0
    if isinstance(question, Training):  # the update, in clipping norms
        return question.parameters, 1.0
    return 1, 1.0


class _Answer:
    """A plan with everything that is told about it."""

    def __init__(
        self, kind: Kind, asked: Plan, found: Forecast, declared: float | None, knobs: tuple[Alternative, ...]
    ) -> None:
        from privacy.accounting.planning import remedies

        self.kind, self.asked, self.found, self.declared, self.knobs = kind, asked, found, declared, knobs
        self.remedies = remedies(asked, found, encoding)

    @classmethod
    def of(cls, kind: Kind, asked: Plan) -> _Answer:
        """Compute it."""
        from privacy.accounting.planning import alternatives, declared_epsilon, forecast

        found = forecast(asked, encoding)
        declared = declared_epsilon(asked, found) if found.share <= 1 else None  # beyond, it is not worth seconds
        return cls(kind, asked, found, declared, alternatives(asked, encoding))

    def document(self) -> dict[str, Any]:
        """For machines."""
        found, contract = self.found, self.asked.budget.contract
        return {
            "question": self.kind.value,
            "feasible": found.feasible,
            "obstacles": list(found.obstacles),
            "remedies": list(self.remedies),
            "cost": {
                "unit": "device, zero-out",
                "epsilon_filter": found.epsilon,
                "epsilon_after": found.epsilon_after,
                "epsilon_declared_plan_only": self.declared,
                "delta": contract.delta,
                "share_of_budget": found.share,
                "order": contract.order,
                "noise_multiplier": found.noise_multiplier,
                "reports_per_device": found.reports_per_device,
                "real_reports_per_device": found.real_per_device,
                "bytes_per_device": found.bytes_per_device,
            },
            "expect": _expectation(found),
            "alternatives": [
                {
                    "knob": item.knob,
                    "feasible": item.forecast.feasible,
                    "obstacles": list(item.forecast.obstacles),
                    "epsilon_filter": item.forecast.epsilon,
                    "share_of_budget": item.forecast.share,
                    "noise_multiplier": item.forecast.noise_multiplier,
                    "bytes_per_device": item.forecast.bytes_per_device,
                    "expect": _expectation(item.forecast),
                }
                for item in self.knobs
            ],
        }

    def show(self) -> None:
        """For people."""
        from rich.console import Console
        from rich.table import Table

        console = Console()
        found, people = self.found, self.asked.population
        cost = Table("cost", "", title=f"{self.kind.value}: {people.reports:,.0f} reports a round expected", box=None)
        for name, figure in self._costs():
            cost.add_row(name, figure)
        console.print(cost)
        expect = Table("expect", "", box=None)
        for name, figure in _told(found):
            expect.add_row(name, figure)
        console.print(expect)
        knobs = Table("turn a knob", "expect", "relative", "change", "epsilon", "budget", "bytes", "fits", box=None)
        for item in self.knobs:
            other = item.forecast
            relative, change = other.precision.relative, other.precision.relative / found.precision.relative - 1
            row = (item.knob, _value(other), f"{relative:.3g}", f"{change:+.0%}", f"{other.epsilon:.3g}")
            knob = (*row, f"{other.share:.0%}", f"{other.bytes_per_device:,}")
            knobs.add_row(*knob, "yes" if other.feasible else "no")
        console.print(knobs)
        console.print(f"expect: {_headline(found)}; relative: {_relative(found)}.", highlight=False)
        for obstacle in found.obstacles:
            console.print(f"It does not fit: {obstacle}.", highlight=False)
        for remedy in self.remedies:
            console.print(f"What would help: {remedy}.", highlight=False)

    def _costs(self) -> list[tuple[str, str]]:
        found, contract = self.found, self.asked.budget.contract
        declared = "above the contract" if self.declared is None else f"{self.declared:.3f}"
        return [
            ("epsilon, what the filter charges", f"{found.epsilon:.3f} of {contract.epsilon:g}, per device, zero-out"),
            ("with what is spent already", f"{found.epsilon_after:.3f}"),
            ("epsilon, this declared plan only (PLD)", declared),
            ("share of the budget", f"{found.share:.1%} (delta {contract.delta:g}, order {contract.order})"),
            ("noise multiplier of each server", f"{found.noise_multiplier:g}"),
            (
                "reports of a device",
                f"{found.reports_per_device:,}, of which {found.real_per_device:g} real on average",
            ),
            ("bytes of a device", f"{found.bytes_per_device:,}"),
        ]


def _expectation(found: Forecast) -> dict[str, Any]:
    precision = found.precision
    return {
        "unit": precision.unit,
        "standard_error": precision.standard_error,
        "half_width_95": precision.half_width,
        "from_noise": precision.noise,
        "from_coins": precision.coins,
        "from_people": precision.people,
        "smallest_effect": precision.smallest_effect,
        "signal_to_noise": precision.signal_to_noise,
        "relative": precision.relative,
    }


def _told(found: Forecast) -> list[tuple[str, str]]:
    precision = found.precision
    causes = [
        ("  from both servers' noise", f"{precision.noise:.4g}"),
        ("  from the hidden coins", f"{precision.coins:.4g}"),
    ]
    if precision.signal_to_noise is not None:
        ratio = ("signal to noise of a coordinate, whole plan", f"{precision.signal_to_noise:.3g}")
        return [ratio, ("deviation of a round's mean update", f"{precision.unit}"), *causes]
    rows = [
        ("95 % interval", f"plus or minus {precision.half_width:.4g} {precision.unit}"),
        ("standard error", f"{precision.standard_error:.4g}"),
        *causes,
        ("  from who happens to report", f"{precision.people:.4g}"),
    ]
    if precision.smallest_effect is not None:
        rows.insert(0, ("smallest effect that is found", f"{precision.smallest_effect:.4g} {precision.unit}"))
    return rows


def _headline(found: Forecast) -> str:
    if found.precision.signal_to_noise is not None:
        return "signal to noise of a coordinate"
    return "half of the 95 % interval" if found.precision.smallest_effect is None else "smallest effect that is found"


def _relative(found: Forecast) -> str:
    if found.precision.signal_to_noise is not None:
        return "noise to signal"
    return "over the expected value or range"


def _value(found: Forecast) -> str:
    ratio = found.precision.signal_to_noise
    return f"{found.precision.headline:.4g}" if ratio is None else f"{ratio:.3g}"
