"""How good a coverage study is: planted crowds, coins and noise drawn many times, intervals held against the truth.

``python -m simulations.coverages --devices 300 --devices 2000`` prints, for each size, the half widths and how often
everything that a study says about a purpose is true at once. The population is fixed and known; chance are the coins
and both servers' noise, drawn as normal figures rounded to the grid, which at 1,000 grid steps and more is the discrete
Gaussian to within what a simulation can see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer

from models.queries.coverage import Coverage, CoverageQuestion, Tally, coverage_of, decode, encode
from models.queries.intervals import CONFIDENCE
from privacy.secure_sum import SumParameters
from privacy.secure_sum import encode as to_grid

_SENSITIVITY = 2**14
_SHARES = (0.70, 0.85, 0.90, 0.95)
"""Of the example: the fewer visits, the fewer grants."""


@dataclass(frozen=True)
class Crowd:
    """A fixed population and the study that is put to it.

    Attributes:
        devices: that count themselves, by band.
        shares: of each band, how many granted the purpose that is looked at.
        rate: of the coins.
        noise_multiplier: of each server.
        rounds: of the study.
        purposes: asked about; nobody granted the others, which share the norm.
    """

    devices: tuple[int, ...]
    shares: tuple[float, ...]
    rate: float
    noise_multiplier: float
    rounds: int = 1
    purposes: int = 2

    @property
    def question(self) -> CoverageQuestion:
        """As many bands as there are, with edges that do not matter."""
        return CoverageQuestion(tuple(range(1, len(self.devices))), self.purposes)

    @property
    def parameters(self) -> SumParameters:
        """The private sum that the study would run."""
        question = self.question
        return SumParameters(
            dimension=question.dimension,
            clip_norm=math.nextafter(question.clip_norm, math.inf),
            sensitivity=_SENSITIVITY,
            noise_multiplier=self.noise_multiplier,
            minimum_cohort=2,
            maximum_cohort=1_000_000,
        )

    @property
    def granted(self) -> tuple[int, ...]:
        """By band, the devices that granted the purpose."""
        return tuple(round(devices * share) for devices, share in zip(self.devices, self.shares, strict=True))

    def truths(self) -> tuple[float | None, ...]:
        """By band and then over all, the share that granted; None for a band without devices."""
        bands = zip(self.granted, self.devices, strict=True)
        return (*(yes / all_ if all_ else None for yes, all_ in bands), sum(self.granted) / sum(self.devices))


def draw_tallies(crowd: Crowd, studies: int, seed: int) -> Iterator[Tally]:
    """What the servers read in each of ``studies`` repetitions of the study."""
    question, params, generator = crowd.question, crowd.parameters, np.random.default_rng(seed)
    others = [False] * (crowd.purposes - 1)
    yes = [to_grid(encode(question, band, [True, *others]), params) for band in range(question.bands)]
    no = [to_grid(encode(question, band, [False, *others]), params) for band in range(question.bands)]
    deviation = params.noise_sigma * math.sqrt(2 * crowd.rounds)
    for _ in range(studies):
        total = np.rint(generator.normal(0, deviation, params.dimension)).astype(np.int64)
        for band, (devices, granted) in enumerate(zip(crowd.devices, crowd.granted, strict=True)):
            for _round in range(crowd.rounds):
                total += yes[band] * int(generator.binomial(granted, crowd.rate))
                total += no[band] * int(generator.binomial(devices - granted, crowd.rate))
        yield decode(question, total, params, sampling_rate=crowd.rate, rounds=crowd.rounds)


def all_true(crowd: Crowd, found: Coverage) -> bool:
    """Whether every interval of the purpose holds its truth at once."""
    shares = (*found.bands, found.overall)
    return all(t is None or share.interval.holds(t) for share, t in zip(shares, crowd.truths(), strict=True))


def _row(devices: int, rate: float, noise: float, studies: int, seed: int) -> tuple[str, ...]:
    crowd = Crowd((devices // len(_SHARES),) * len(_SHARES), _SHARES, rate, noise)
    found = [coverage_of(tally, 0) for tally in draw_tallies(crowd, studies, seed)]
    bands = [band.interval for one in found for band in one.bands]
    held = sum(all_true(crowd, one) for one in found) / studies
    named = sum(0 in one.under_represented for one in found) / studies
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / studies)
    return (
        f"{devices:,}",
        _spread([interval.half_width for interval in bands]),
        _spread([one.overall.interval.half_width for one in found]),
        f"{held:.3f} (promised {CONFIDENCE:g}, +- {2 * error:.3f})",
        f"{sum(not interval.told for interval in bands) / len(bands):.1%}",
        f"{named:.1%}",
    )


def _spread(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return f"{middle:.4f} ({low:.4f} to {high:.4f})"


def main(
    devices: Annotated[list[int], typer.Option(help="Devices that count themselves, in four even bands; repeatable.")],
    rate: Annotated[float, typer.Option(help="The coins' rate.")] = 0.5,
    noise: Annotated[float, typer.Option(help="Noise multiplier of each server.")] = 3.0,
    studies: Annotated[int, typer.Option(help="Repetitions.", min=10)] = 4_000,
    seed: Annotated[int, typer.Option(help="Of coins and noise.")] = 7,
) -> None:
    """Print half widths and the measured probability that everything said about a purpose is true."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    heads = ("devices", "half width, a band", "half width, all", "all true at once", "too few to say", "bias named")
    for heading in heads:
        table.add_column(heading, justify="right", no_wrap=True)
    for size in devices:
        table.add_row(*_row(size, rate, noise, studies, seed))
    console = Console(width=140)
    console.print(table)
    console.print("Median (5 % to 95 % of the studies). Planted shares by band:", *_SHARES, highlight=False)


if __name__ == "__main__":
    typer.run(main)
