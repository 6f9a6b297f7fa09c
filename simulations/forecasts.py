"""The answer to a plan: the encoding that its study would have, and its forecast in words and figures."""

from __future__ import annotations

import math
from typing import Any

from models.queries.coverage import CoverageQuestion
from models.queries.noisy_mean import MeanQuestion
from models.wire.frames import FRAMING_BYTES
from privacy.accounting.planning import Alternative, Forecast, Plan, alternatives, declared_epsilon, forecast, remedies
from privacy.accounting.precision import Comparison, Coverage, Encoding, Histogram, Mean, Question, Training
from privacy.secure_sum import SumParameters
from privacy.secure_sum.reports import SEAL_BYTES

_SENSITIVITY = 2**14
"""Integer sensitivity of a report, as in the demo: a grid far finer than the noise."""
_LEAST_SIGMA = 1_000


def encoding(question: Question, noise_multiplier: float, reports: float) -> Encoding:
    """The figures of a question's real encoding: its vector as the query classes build it, in a validated sum."""
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
        report_bytes=sum_parameters.packed_bytes + FRAMING_BYTES + SEAL_BYTES,
    )


def _vector(question: Question) -> tuple[int, float]:
    """Entries and L2 norm of a device's vector."""
    if isinstance(question, Mean):
        mean = MeanQuestion(1, question.half_range, question.count_weight)
        return mean.dimension, mean.clip_norm
    if isinstance(question, Comparison):  # a device fills the slot of its own arm, as one of personas does
        arm = MeanQuestion(1, 0.5, question.count_weight)
        return 2 * arm.dimension, arm.clip_norm
    if isinstance(question, Coverage):
        coverage = CoverageQuestion(tuple(range(1, question.bands)), question.purposes)
        return coverage.dimension, coverage.clip_norm
    if isinstance(question, Histogram):  # 1 in the device's own cell
        return question.cells, 1.0
    if isinstance(question, Training):  # the update, in clipping norms
        return question.parameters, 1.0
    return 1, 1.0


class Answer:
    """A plan with everything that is told about it."""

    def __init__(
        self, kind: str, asked: Plan, found: Forecast, declared: float | None, knobs: tuple[Alternative, ...]
    ) -> None:
        self.kind, self.asked, self.found, self.declared, self.knobs = kind, asked, found, declared, knobs
        self.remedies = remedies(asked, found, encoding)

    @classmethod
    def of(cls, kind: str, asked: Plan) -> Answer:
        """Compute it."""
        found = forecast(asked, encoding)
        declared = declared_epsilon(asked, found) if found.share <= 1 else None  # beyond, it is not worth seconds
        return cls(kind, asked, found, declared, alternatives(asked, encoding))

    def document(self) -> dict[str, Any]:
        """For machines."""
        found, contract = self.found, self.asked.budget.contract
        return {
            "question": self.kind,
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
        cost = Table("cost", "", title=f"{self.kind}: {people.reports:,.0f} reports a round expected", box=None)
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
