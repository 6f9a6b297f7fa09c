"""``hearthside``: simulate, account for and demonstrate. Subcommands load lazily, so that ``--help`` is instant."""

from __future__ import annotations

import importlib
from typing import ClassVar

import click
import typer
import typer.core

from models.wire.command import run_command


class _LazyGroup(typer.core.TyperGroup):
    """A group that knows its subcommands' names and imports one only when it is used."""

    modules: ClassVar[dict[str, tuple[str, str]]] = {
        "demo": (
            "simulations.commands.demo",
            "Run the main job end to end, with real processes.",
        ),
        "account": ("simulations.commands.account", "What a plan costs in epsilon (device level, zero-out)."),
        "plan": ("simulations.commands.plan", "What a question would cost, what to expect of it, which knob to turn."),
        "audit": (
            "simulations.commands.audit",
            "Attack the private sum; fail where a bound exceeds the claimed epsilon.",
        ),
        "signal": ("simulations.commands.signal", "Decode a consent signal: TCF, GPP, us_privacy or GPC."),
        "documents": (
            "simulations.commands.documents",
            "Write or check what people and regulators read about consent.",
        ),
        "bench": ("simulations.commands.bench", "Measure speed here and now, peers beside us."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all subcommands."""
        return [*super().list_commands(ctx), *self.modules]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of the subcommand that is asked for."""
        if cmd_name not in self.modules:
            return super().get_command(ctx, cmd_name)
        module, _ = self.modules[cmd_name]
        return typer.main.get_command(importlib.import_module(module).app)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List subcommands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.modules.items()])


app = typer.Typer(
    name="hearthside",
    cls=_LazyGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hearthside: federated analytics and personalisation; raw clicks stay on the device.",
    epilog="Example: hearthside account --sigma 1 --q .01 --steps 100 --delta 1e-6 --method pld",
)


@app.callback()
def _root() -> None:
    """Hearthside: federated analytics and personalisation; raw clicks stay on the device."""


def main() -> None:
    """Entry point of the ``hearthside`` command."""
    run_command(app, "hearthside")
