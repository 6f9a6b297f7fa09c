"""``hearthside account``: one number, the epsilon of a plan."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from simulations.commands.ranges import fraction, inside, positive

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside account --sigma 1 --q .01 --steps 100 --delta 1e-6 --method pld

  hearthside account --sigma 1 --q .01 --steps 100 --delta 1e-6 --method rdp --no-amplification
"""


class Method(StrEnum):
    """How the events are composed."""

    pld = "pld"
    rdp = "rdp"


@app.command(epilog=_EXAMPLES)
def account(
    sigma: Annotated[float, typer.Option(help="Noise multiplier of one server.", callback=positive)],
    steps: Annotated[int, typer.Option(help="Rounds.", min=1, max=10_000_000)],
    delta: Annotated[float, typer.Option(help="Delta of the guarantee.", callback=inside)],
    q: Annotated[float, typer.Option(help="Probability that a device's coin says yes.", callback=fraction)] = 1.0,
    method: Annotated[
        Method, typer.Option(help="pld: tight, for a declared plan only. rdp: what the filter enforces.")
    ] = Method.pld,
    amplification: Annotated[
        bool, typer.Option(help="Credit the hidden coin. Without it every device is assumed to report.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of the figure.")] = False,
) -> None:
    """Epsilon of a plan of private sums (device level; neighbours: one device's data replaced by none)."""
    from privacy.accounting import SumEvent, epsilon

    event = SumEvent(noise_multiplier=sigma, sampling_rate=q, count=steps)
    figure = epsilon([event], delta, method.value, amplification=amplification)
    if as_json:
        print(json.dumps({"epsilon": figure, "delta": delta, "method": method.value, "unit": "device, zero-out"}))
    else:
        print(f"{figure:#.6g}")
