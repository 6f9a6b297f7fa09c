"""``hearthside-agent studies``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from client_agent.commands.options import HOME, AsJson, Folder, say


def studies(
    folder: Folder = HOME,
    language: Annotated[Literal["en", "de"], typer.Option(help="Of the sentences.")] = "en",
    *,
    as_json: AsJson = False,
) -> None:
    """What the studies that this agent was shown ask, of whom, what leaves the device and what it may cost."""
    from client_agent.agent import open_agent
    from client_agent.federation.descriptions import descriptions

    found = {name: words[language] for name, words in descriptions(open_agent(folder).store).items()}
    say(found, "\n\n".join(f"{name}: {words}" for name, words in found.items()) or "none yet", as_json=as_json)
