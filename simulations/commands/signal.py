"""``hearthside signal``: decode one consent signal and say whether its own framework would still accept it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from consent.signals import Reading

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_EXAMPLES = """Examples:

  hearthside signal --tcf CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA

  hearthside signal --gpp DBABTA~1YNN

  hearthside signal --us-privacy 1YNN

  hearthside signal --gpc 1
"""


@app.command(epilog=_EXAMPLES)
def signal(
    tcf: Annotated[str | None, typer.Option(help="A TC string of the TCF (version 2).", metavar="STRING")] = None,
    gpp: Annotated[str | None, typer.Option(help="A GPP string, all its sections.", metavar="STRING")] = None,
    us_privacy: Annotated[str | None, typer.Option(help="A us_privacy string.", metavar="STRING")] = None,
    gpc: Annotated[
        list[str] | None, typer.Option(help="Value of a Sec-GPC header; again for a second header.", metavar="VALUE")
    ] = None,
) -> None:
    """Decode one consent signal and print it as JSON: accepted, reason, decoded. Never a consent.

    Exit code 0: it decodes, accepted or not. Exit code 2: malformed, or a version that is not read, such as TCF v1.
    """
    from consent.signals import SignalError, read_gpc_values, read_gpp, read_tcf, read_us_privacy

    now = int(time.time())
    asked: list[tuple[str, Callable[[], Reading]]] = []
    if tcf is not None:
        asked.append(("--tcf", lambda: read_tcf(tcf, now)))
    if gpp is not None:
        asked.append(("--gpp", lambda: read_gpp(gpp, now)))
    if us_privacy is not None:
        asked.append(("--us-privacy", lambda: read_us_privacy(us_privacy)))
    if gpc:
        asked.append(("--gpc", lambda: read_gpc_values(gpc)))
    if len(asked) != 1:
        raise typer.BadParameter(f"expected one of --tcf, --gpp, --us-privacy and --gpc, got {len(asked)}")
    option, read = asked[0]
    try:
        reading = read()
    except SignalError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
    print(json.dumps(reading.document(), indent=2))
