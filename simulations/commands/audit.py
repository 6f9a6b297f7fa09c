"""``hearthside audit``: attack the private sum and compare what can be shown with what is claimed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from simulations.commands.ranges import inside

if TYPE_CHECKING:
    from simulations.attacks import Setting, Verdict
    from simulations.attacks.verdicts import Advance

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside audit --json --seed 7

  hearthside audit --seed 7 --noise-factor 0 --attack one-run    (noise taken out: exit code 1)

  hearthside audit --seed 7 --noise-factor .5    (half of the noise: exit code 1)

  hearthside audit --seed 7 --attack model
"""
EXIT_REFUTED = 1
_TRIALS = {"membership": 2_000, "model": 300}


class Attack(StrEnum):
    """Which attacks are run."""

    one_run = "one-run"
    membership = "membership"
    both = "both"
    model = "model"


_ATTACKS = {
    Attack.one_run: ("one-run",),
    Attack.membership: ("membership",),
    Attack.both: ("one-run", "membership"),
    Attack.model: ("model",),
}


def _factor(value: float) -> float:
    if not 0 <= value <= 10:  # noqa: PLR2004  # ten times the noise hides everything already
        raise typer.BadParameter(f"expected a number from 0 to 10, got {value}")
    return value


def _multiplier(value: float) -> float:
    if not 0.3 <= value <= 100:  # noqa: PLR2004  # below .3 the claim is past what any attack here can reach
        raise typer.BadParameter(f"expected a number from 0.3 to 100, got {value}")
    return value


def _significance(value: float) -> float:
    if not 0 < value < 0.5:  # noqa: PLR2004  # at 1/2 a bound is a coin
        raise typer.BadParameter(f"expected a number between 0 and 0.5, got {value}")
    return value


@app.command(epilog=_EXAMPLES)
def audit(
    seed: Annotated[
        int, typer.Option(help="Fixes coins, masks and noise: equal seeds, equal verdicts.", min=0, max=2**63 - 1)
    ] = 7,
    noise_factor: Annotated[
        float, typer.Option(help="How much of its declared noise the helper adds; 1 is honest.", callback=_factor)
    ] = 1.0,
    attack: Annotated[
        Attack,
        typer.Option(help="one-run: many canaries, one exchange. membership: many small exchanges. model: trainings."),
    ] = Attack.both,
    noise_multiplier: Annotated[
        float, typer.Option(help="Declared noise of each server over the sensitivity.", callback=_multiplier)
    ] = 1.0,
    devices: Annotated[int, typer.Option(help="Canary devices of the one-run attack.", min=8, max=5_000)] = 2_000,
    trials: Annotated[
        int | None,
        typer.Option(help="Trials with and without the canary; 2000 for membership, 300 for model.", min=1, max=10**6),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="Delta of claim and bound; 1e-6 for one-run, .01 for the others.", callback=inside),
    ] = None,
    significance: Annotated[
        float, typer.Option(help="How often a bound may be wrong, all attacks together.", callback=_significance)
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of a table.")] = False,
) -> None:
    """Attack the private sum (device level, zero-out); exit code 1 where a bound exceeds the claimed epsilon."""
    from simulations.attacks import PowerMissing, Setting

    chosen = _ATTACKS[attack]
    setting = Setting(seed, noise_multiplier, noise_factor, significance / len(chosen))
    try:
        verdicts = [_run(name, setting, devices, trials, delta) for name in chosen]
    except PowerMissing as error:
        raise typer.BadParameter(str(error)) from None
    document = _document(verdicts, setting)
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        _show(verdicts, setting)
    raise typer.Exit(EXIT_REFUTED if document["exceeded"] else 0)


def _run(name: str, setting: Setting, devices: int, trials: int | None, delta: float | None) -> Verdict:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    total, attack = _plan(name, setting, devices, trials or _TRIALS.get(name, 1), delta)
    console = Console(stderr=True)
    columns = TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        return attack(lambda made: progress.advance(task, made))


def _plan(
    name: str, setting: Setting, devices: int, trials: int, delta: float | None
) -> tuple[int, Callable[[Advance], Verdict]]:
    """How many exchanges an attack makes, and the attack."""
    from simulations.attacks import audit_membership, audit_one_run
    from simulations.attacks.canaries import DELTA as ONE_RUN_DELTA
    from simulations.attacks.membership import DELTA

    if name == "one-run":
        return 1, lambda advance: audit_one_run(setting, devices, advance, delta or ONE_RUN_DELTA)
    if name == "membership":
        return 2 * trials, lambda advance: audit_membership(setting, trials, advance, delta or DELTA)
    from simulations.attacks.training import ROUNDS, audit_training

    return 2 * trials * ROUNDS, lambda advance: audit_training(setting, trials, advance, delta or DELTA)


def _document(verdicts: Sequence[Verdict], setting: Setting) -> dict[str, object]:
    """The figures of the attack that came nearest to refuting its claim (or refuted it most clearly), then all."""
    nearest = max(verdicts, key=lambda verdict: verdict.margin)
    return {
        "epsilon_claimed": nearest.epsilon_claimed,
        "lower_bound": nearest.lower_bound,
        "delta": nearest.delta,
        "exceeded": any(verdict.exceeded for verdict in verdicts),
        "unit": "device",
        "neighbours": "zero-out",
        "adversary": "the leader, who knows its own noise",
        "seed": setting.seed,
        "noise_multiplier": setting.noise_multiplier,
        "noise_factor": setting.noise_factor,
        "significance": math.fsum(verdict.significance for verdict in verdicts),
        "attacks": [
            {
                "attack": verdict.attack,
                "epsilon_claimed": verdict.epsilon_claimed,
                "lower_bound": verdict.lower_bound,
                "delta": verdict.delta,
                "exceeded": verdict.exceeded,
                **verdict.details,
            }
            for verdict in verdicts
        ],
    }


def _show(verdicts: Sequence[Verdict], setting: Setting) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("attack", "claimed epsilon", "lower bound", "could show", "delta", "verdict")
    for verdict in verdicts:
        table.add_row(
            verdict.attack,
            f"{verdict.epsilon_claimed:.3f}",
            f"{verdict.lower_bound:.3f}",
            f"{verdict.details['reach']:.3f}",
            f"{verdict.delta:g}",
            "exceeds the claim" if verdict.exceeded else "within the claim",
        )
    console = Console()
    console.print(table)
    console.print(
        f"Device level, zero-out; helper's noise at {setting.noise_factor:g} of the declared. A bound within the claim "
        "refutes nothing and proves nothing."
    )
