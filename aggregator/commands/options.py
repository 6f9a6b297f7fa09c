"""Options that several commands of ``hearthside-aggregator`` share, and how a group of commands is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NAME = "hearthside-aggregator"
Folder = Annotated[Path, typer.Option("--dir", help="The party's own folder: key, settings, store.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that answer, behind one store and one port.")]
Certificate = Annotated[Path | None, typer.Option("--tls-certificate", help="Certificate chain (PEM), for TLS here.")]
CertificateKey = Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")]
Proxy = Annotated[
    list[str] | None, typer.Option("--proxy-trusted", help="A reverse proxy's address, whose forwarded headers count.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
LeaderUrl = Annotated[str, typer.Option("--leader", help="The leader's address.")]
HelperUrl = Annotated[str, typer.Option("--helper", help="The helper's address.")]
Token = Annotated[str, typer.Option("--token", envvar="HEARTHSIDE_TOKEN", help="An API token (or HEARTHSIDE_TOKEN).")]
Reason = Annotated[str, typer.Option(help="Why, in a sentence; it is signed and shown.")]
StudyName = Annotated[str, typer.Argument(help="The study's name.")]


def group(help_text: str, example: str) -> typer.Typer:
    """A group of commands with an example below its help."""
    return typer.Typer(
        help=help_text,
        epilog=f"Example: {NAME} {example}",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
