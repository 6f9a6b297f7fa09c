"""``hearthside-aggregator settings`` and ``doctor``: what a service runs with, and whether it can."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aggregator.commands.options import NAME, Folder
from aggregator.errors import SettingsInvalid

if TYPE_CHECKING:
    from aggregator.settings import ServiceSettings

Role = Annotated[
    Literal["leader", "helper"] | None, typer.Option("--role", help="Which service; found in its settings if not said.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
_EXIT_NO = 1


def settings(directory: Folder, role: Role = None, as_json: AsJson = False) -> None:
    """Every setting in force, and where it comes from. Secrets are not shown."""
    from aggregator.setting_sources import shown, source_of

    kind = _kind(directory, role)
    found = kind.read(directory)
    rows = {name: (shown(found, name), source_of(kind, name, directory, {})) for name in kind.model_fields}
    if as_json:
        print(
            json.dumps({name: {"value": value, **asdict(source)} for name, (value, source) in rows.items()}, indent=2)
        )
        return
    width = max(map(len, rows))
    for name, (value, source) in rows.items():
        print(f"{name:{width}}  {value or '-':30}  {source}")


def doctor(
    directory: Folder,
    role: Role = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Where it listens: 8700 or 8800.")] = None,
    as_json: AsJson = False,
) -> int:
    """Look at keys, store, disk, clock, port, helper, repository. Changes nothing; exit 1 where one is in the way."""
    from aggregator.examination import Finding, Verdict, examine

    kind = _kind(directory, role)
    found = kind.read(directory)
    where = port or (8700 if _role_of(kind) == "leader" else 8800)

    async def look() -> list[Finding]:
        return [finding async for finding in examine(found, where)]

    findings = asyncio.run(look())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.verdict:4}  {finding.name:11} {finding.text}")
            if finding.advice:
                print(f"{'':6}{'':11}  -> {finding.advice}")
    return _EXIT_NO if any(finding.verdict is Verdict.FAIL for finding in findings) else 0


def _kind(directory: Path, role: str | None) -> type[ServiceSettings]:
    from aggregator.setting_sources import SETTINGS_FILE
    from aggregator.settings import HelperSettings, LeaderSettings

    kinds: dict[str, type[ServiceSettings]] = {"leader": LeaderSettings, "helper": HelperSettings}
    if role is None:
        stored: Any = {}
        path = directory / SETTINGS_FILE
        if path.exists():
            try:
                stored = json.loads(path.read_text())
            except ValueError:  # the settings say where
                stored = {}
        role = _guess(set(stored) if isinstance(stored, dict) else set(), kinds)
    return kinds[role]


def _guess(stored: set[str], kinds: dict[str, type[ServiceSettings]]) -> str:
    """The service that alone has a setting which stands here."""
    leader, helper = (set(kinds[name].model_fields) for name in ("leader", "helper"))
    variables = {name.upper() for name in os.environ}
    signs = {
        "leader": bool(stored & (leader - helper)) or any(name.startswith("HEARTHSIDE_LEADER_") for name in variables),
        "helper": bool(stored & (helper - leader)) or any(name.startswith("HEARTHSIDE_HELPER_") for name in variables),
    }
    found = [name for name, sign in signs.items() if sign]
    if len(found) != 1:
        raise SettingsInvalid(f"expected the settings of one service; say which: {NAME} ... --role leader")
    return found[0]


def _role_of(kind: type[ServiceSettings]) -> str:
    return str(kind.model_config["env_prefix"]).split("_")[1].lower()
