"""``hearthside-aggregator device``: a device that was lost, told to the leader by its operator."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aggregator.commands.calling import call, show_document
from aggregator.commands.options import NAME, LeaderUrl, Token, group

app = group("Devices at the leader.", "device revoke ID --leader http://127.0.0.1:8700 --token TOKEN --reason lost")


@app.command("revoke", epilog=f"Example: {NAME} device revoke ID --reason lost --leader http://127.0.0.1:8700")
def revoke(
    device_id: Annotated[str, typer.Argument(help="The device's id, 32 hex digits; it shows it itself ('known').")],
    leader_url: LeaderUrl,
    bearer: Token,
    reason: Annotated[Literal["gone", "lost", "stolen", "replaced"], typer.Option(help="Why.")] = "lost",
) -> None:
    """Take nothing of a device any more, and take its reports out of open rounds (scope operator)."""
    show_document(call("POST", f"{leader_url}/v1/devices/{device_id}/revocation", {"reason": reason}, bearer))
