"""``hearthside-aggregator init`` and ``configure``: a party's folder, its key and its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aggregator.commands.options import NAME, Folder, group
from aggregator.errors import SettingsInvalid

if TYPE_CHECKING:
    from aggregator.settings import HelperSettings, LeaderSettings

init = group("Make a party's folder and keys.", "init officer --dir officer")


@init.command("leader", epilog=f"Example: {NAME} init leader --dir leader --site shop")
def init_leader(
    directory: Folder,
    site: Annotated[str, typer.Option(help="Name of the site.")] = "site",
    helper_url: Annotated[str, typer.Option(help="Where the helper answers.")] = "",
    helper_key: Annotated[str, typer.Option(help="The helper's public key, hex.")] = "",
    officer_key: Annotated[
        list[str] | None, typer.Option(help="An officer's public key, hex; repeat for more.")
    ] = None,
) -> None:
    """Make the leader's key and settings."""
    settings = {"site": site, "helper_url": helper_url, "helper_key": helper_key, "officers": officer_key}
    _make_party(directory, "service.key", settings)


@init.command(
    "helper", epilog=f"Example: {NAME} init helper --dir helper --site shop --leader-key KEY --officer-key KEY"
)
def init_helper(
    directory: Folder,
    site: Annotated[str, typer.Option(help="Name of the site.")] = "site",
    leader_key: Annotated[str, typer.Option(help="The leader's public key, hex.")] = "",
    officer_key: Annotated[
        list[str] | None, typer.Option(help="An officer's public key, hex; repeat for more.")
    ] = None,
) -> None:
    """Make the helper's key and settings."""
    _make_party(directory, "service.key", {"site": site, "leader_key": leader_key, "officers": officer_key})


@init.command("officer", epilog=f"Example: {NAME} init officer --dir officer")
def init_officer(directory: Folder) -> None:
    """Make an officer's key. It stays with the officer."""
    _make_party(directory, "officer.key", None)


def configure(
    directory: Folder, pairs: Annotated[list[str], typer.Argument(help="name=value; a list is separated by commas.")]
) -> None:
    """Change settings in a party's folder, such as the other parties' keys once they are known."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected name=value, got {pair!r}")
        changes[name] = (
            [item for item in value.split(",") if item] if name in {"officers", "hosts", "origins"} else value
        )
    write_settings(directory, changes)


def _make_party(directory: Path, key_file: str, settings: dict[str, Any] | None) -> None:
    from aggregator.key_files import create_key

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = create_key(directory / key_file)
    if settings is not None:
        write_settings(directory, {name: value for name, value in settings.items() if value})
    print(f"key         {key.verify_key.raw.hex()}")
    print(f"fingerprint {key.verify_key.fingerprint}")


def write_settings(directory: Path, changes: dict[str, Any]) -> None:
    """Merge settings into the folder's file; what does not fit leaves the file as it was."""
    from aggregator.setting_sources import SETTINGS_FILE

    if not directory.is_dir():
        raise SettingsInvalid(f"expected a folder at {directory}; make one with '{NAME} init'")
    path = directory / SETTINGS_FILE
    before = path.read_text() if path.exists() else "{}"
    merged = {**json.loads(before), **changes}
    path.write_text(json.dumps(merged, indent=2, sort_keys=True) + "\n")
    try:
        settings_of(directory)
    except SettingsInvalid:
        path.write_text(before)
        raise


def settings_of(directory: Path) -> HelperSettings | LeaderSettings:
    """The settings of a service's folder, whichever service it is.

    Raises:
        SettingsInvalid: a setting that does not fit, named.
    """
    from aggregator.setting_sources import SETTINGS_FILE
    from aggregator.settings import HelperSettings, LeaderSettings

    path = directory / SETTINGS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    return (HelperSettings if "leader_key" in known else LeaderSettings).read(directory)
