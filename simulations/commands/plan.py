"""``hearthside plan QUESTION``: what it would cost, what to expect of it, and which knob to turn."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulations.commands.ranges import fraction, inside, positive

if TYPE_CHECKING:
    from privacy.accounting import Contract

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside plan proportion --devices 10000 --expected .2

  hearthside plan mean --high 300 --spread 60 --within 4

  hearthside plan histogram --cells 20 --devices 20000 --share .5

  hearthside plan comparison --devices 100000 --expected .05 --exposed .5 --json

  hearthside plan coverage --devices 20000 --expected .9 --bands 5

  hearthside plan train --devices 20000 --rounds 100 --q .05 --parameters 642 --noise 2
"""
_MOST_ENTRIES = 1_000_000


class Kind(StrEnum):
    """What is asked."""

    COUNT = "count"
    PROPORTION = "proportion"
    MEAN = "mean"
    HISTOGRAM = "histogram"
    COMPARISON = "comparison"
    COVERAGE = "coverage"
    TRAIN = "train"


def _used(value: float) -> float:
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"expected a number from 0 to 1, got {value}")
    return value


@app.command(epilog=_EXAMPLES)
def plan(
    kind: Annotated[Kind, typer.Argument(help="What is asked.")],
    devices: Annotated[int, typer.Option(help="Enrolled devices.", min=1, max=10**9)] = 10_000,
    consent: Annotated[float, typer.Option(help="Share of them that consents.", callback=fraction)] = 0.6,
    reach: Annotated[float, typer.Option(help="Share of those that reports in a round.", callback=fraction)] = 0.5,
    rounds: Annotated[int, typer.Option(help="How often the question is asked.", min=1, max=10_000)] = 1,
    q: Annotated[float, typer.Option(help="Probability that a device's coin says yes.", callback=fraction)] = 0.5,
    epsilon: Annotated[
        float, typer.Option(help="Epsilon of the contract (device, zero-out).", callback=positive)
    ] = 4.0,
    delta: Annotated[float, typer.Option(help="Delta of the contract.", callback=inside)] = 1e-6,
    order: Annotated[
        list[int] | None, typer.Option(help="Order of the contract's filter, repeatable; left out: a good one.")
    ] = None,
    spent: Annotated[float, typer.Option(help="Share of the budget used up in this window.", callback=_used)] = 0.0,
    share: Annotated[
        float, typer.Option(help="Most of the whole budget that this question may take.", callback=fraction)
    ] = 0.25,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Noise multiplier of each server; left out: the least that the budget pays.", min=0.1, max=1_000
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(help="Largest half-width (or smallest effect) of use, in the answer's unit.", callback=positive),
    ] = None,
    cohort: Annotated[int, typer.Option(help="Reports below which nothing is released.", min=2)] = 100,
    expected: Annotated[
        float,
        typer.Option(help="Expected share of yes, of a purpose's grants, or the control arm's rate.", callback=inside),
    ] = 0.1,
    low: Annotated[float, typer.Option(help="Least value (mean).")] = 0.0,
    high: Annotated[float, typer.Option(help="Largest value (mean).")] = 1.0,
    spread: Annotated[
        float | None, typer.Option(help="Standard deviation over people (mean); left out: the worst case.")
    ] = None,
    bands: Annotated[int, typer.Option(help="Bands of activity (coverage).", min=1, max=32)] = 4,
    purposes: Annotated[int, typer.Option(help="Purposes that are asked about (coverage).", min=1, max=16)] = 3,
    cells: Annotated[int, typer.Option(help="Cells (histogram).", min=2, max=65_536)] = 10,
    exposed: Annotated[
        float, typer.Option(help="Share of reports with a value (mean) or in an arm (comparison).", callback=fraction)
    ] = 1.0,
    split: Annotated[float, typer.Option(help="Share of the treatment arm (comparison).", callback=inside)] = 0.5,
    power: Annotated[float, typer.Option(help="Power (comparison).", callback=inside)] = 0.8,
    significance: Annotated[float, typer.Option(help="Two-sided significance (comparison).", callback=inside)] = 0.05,
    parameters: Annotated[int, typer.Option(help="Parameters (train).", min=1, max=_MOST_ENTRIES)] = 642,
    agreement: Annotated[
        float, typer.Option(help="Length of the mean update over the clipping norm (train).", callback=fraction)
    ] = 0.1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of tables.")] = False,
) -> None:
    """Plan a question: its cost in epsilon and traffic, the error to expect, and which knob to turn.

    Every epsilon is per device (zero-out: its data replaced by none) over the contract's window. Exit code 1: it does
    not fit the budget, or would be of no use; what would help is printed.
    """
    from privacy.accounting import AccountingError
    from privacy.accounting.planning import Budget, Plan, Population
    from privacy.accounting.precision import Comparison, Count, Coverage, Histogram, Mean, Training
    from simulations.forecasts import Answer

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
            Kind.COVERAGE: lambda: Coverage(bands, purposes, expected),
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
        shown = Answer.of(kind.value, asked)
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
