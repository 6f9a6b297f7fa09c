"""The page about bundles: its commands are run in the order in which they stand there."""

import datetime as dt
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.key_files import load_key
from aggregator.leader.distribution import Distribution
from aggregator.leader.repository import KEY_FOLDER, RoleKeys
from tests.bundles import bundle, older_form

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "distribution.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
RUNNER = CliRunner()


def run(line: str) -> str:
    """One command; an officer reads and says yes."""
    name, *arguments = shlex.split(line)
    assert name == "hearthside-aggregator"
    done = RUNNER.invoke(app, arguments, input="y\n", catch_exceptions=False)
    assert done.exit_code == 0, (line, done.output)
    return done.output


def test_every_command_of_the_page_works_in_its_order(tmp_path, monkeypatch):
    """From the first key to a restored leader, with a repository of the older form beside it."""
    monkeypatch.chdir(tmp_path)
    now, officer = dt.datetime.now(dt.UTC), ""
    for line in COMMANDS:
        said = run(line.replace("OFFICER", officer))
        if line.startswith("hearthside-aggregator init officer"):
            officer = said.split()[1]
        if line.startswith("hearthside-aggregator init leader"):
            shutil.copytree("leader", "older")
            run("hearthside-aggregator configure --dir older site=older")
            old = older_form(tmp_path / "older" / "tuf", load_key(Path("officer/officer.key")), _own("older"), now)
            old.publish(bundle(1, site="shop.example"), now)
        if line == "hearthside-aggregator tuf install first.json --dir leader":
            _leader().publish(bundle(1, site="shop"), now)
            before = {path.name for path in Path("leader/tuf-keys").iterdir()}
        if "rotate.json --dir leader" in line and "install" in line:
            assert _leader().current_version() == 1
            assert before != {path.name for path in Path("leader/tuf-keys").iterdir()}
        if "install revoke.json" in line:
            assert "no bundle" in said
    assert len(COMMANDS) > 20
    assert not any((path / "officer.key").exists() for path in (Path("leader"), Path("older")))
    roles = [item.role for item in Distribution(Path("older/tuf"), "shop", RoleKeys(Path("older/tuf-keys"))).standing()]
    assert roles == ["root", "targets", "publishing", "snapshot", "timestamp"]


def test_an_officer_who_says_no_signs_nothing(tmp_path, monkeypatch):
    """The words come before the question, and the file stays as it was."""
    monkeypatch.chdir(tmp_path)
    officer = run("hearthside-aggregator init officer --dir officer").split()[1]
    run(f"hearthside-aggregator init leader --dir leader --site shop --officer-key {officer}")
    run("hearthside-aggregator tuf init --dir leader --request first.json")
    before = Path("first.json").read_bytes()
    done = RUNNER.invoke(app, ["tuf", "sign", "first.json", "--dir", "officer"], input="n\n")
    assert (done.exit_code, Path("first.json").read_bytes()) == (1, before)
    assert "bundles signed by" in done.output


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands["tuf"].commands))
def test_every_command_about_keys_is_on_the_page(name):
    """None is left out."""
    assert isinstance(typer.main.get_command(app), click.Group)
    assert any(line.split()[1:3] == ["tuf", name] for line in COMMANDS)


def _own(folder: str):
    return load_key(Path(folder) / "service.key")


def _leader() -> Distribution:
    return Distribution(Path("leader/tuf"), "shop", RoleKeys(Path("leader") / KEY_FOLDER))
