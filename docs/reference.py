"""Write ``docs/reference.md`` from the code: commands, settings, endpoints, problems (``make docs``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import click
import typer
from fastapi import FastAPI
from pydantic_core import PydanticUndefined

from aggregator.helper.app import create_app as helper_app
from aggregator.key_files import create_key
from aggregator.leader.app import create_app as leader_app
from aggregator.settings import HelperSettings, LeaderSettings, ServiceSettings
from models.wire.problems import PROBLEM_TYPES

TARGET = Path(__file__).with_name("reference.md")
_HEAD = """# Reference

Made from the code by `make docs`; a test fails when it is out of date.
"""


def commands() -> Iterator[str]:
    """Every command with its options."""
    from aggregator.cli import app as aggregator
    from client_agent.cli import app as agent
    from simulations.cli import app as hearthside

    yield "## Commands\n"
    yield "Exit codes: 0 done; 1 it ran and the answer is no; 2 the input was wrong; 3 something could not be reached."
    for name, application in (
        ("hearthside", hearthside),
        ("hearthside-agent", agent),
        ("hearthside-aggregator", aggregator),
    ):
        yield f"\n### {name}\n"
        yield from _command(name, typer.main.get_command(application), None)


def _command(path: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=path, parent=parent)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _command(f"{path} {name}", found, None)
        return
    yield f"`{path}`: {command.get_short_help_str(200)}\n"
    rows = [_option(parameter) for parameter in command.params]
    if rows:
        yield "| option | meaning | default |\n|---|---|---|"
        yield from rows
    yield ""


def _option(parameter: click.Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = "required" if parameter.required else "" if default in (None, "", False, ()) else f"`{_plain(default)}`"
    return f"| {names} | {getattr(parameter, 'help', None) or ''} | {shown} |"


def _plain(value: object) -> str:
    return str(value).replace(str(Path.home()), "~")


def settings() -> Iterator[str]:
    """Every setting of both services with its default."""
    yield "## Settings\n"
    yield "From the environment, or `settings.json` in the service's folder. There is no default secret."
    for title, kind, prefix in (
        ("Leader", LeaderSettings, "HEARTHSIDE_LEADER_"),
        ("Helper", HelperSettings, "HEARTHSIDE_HELPER_"),
    ):
        yield f"\n### {title}\n"
        yield "| variable | meaning | default |\n|---|---|---|"
        for name, field in kind.model_fields.items():
            default = "required" if field.default is PydanticUndefined else f"`{field.default}`"
            yield f"| `{prefix}{name.upper()}` | {_documented(kind, name)} | {default} |"


def _documented(kind: type[ServiceSettings], name: str) -> str:
    """The string under a setting's definition, which pydantic does not keep."""
    import ast
    import inspect

    for owner in kind.__mro__:
        if name not in inspect.get_annotations(owner):
            continue
        body = ast.parse(inspect.getsource(owner)).body[0]
        assert isinstance(body, ast.ClassDef), "a class"
        for here, below in zip(body.body, body.body[1:], strict=False):
            is_field = isinstance(here, ast.AnnAssign) and getattr(here.target, "id", "") == name
            if is_field and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                return " ".join(str(below.value.value).split())
    return ""


def endpoints(folder: Path) -> Iterator[str]:
    """Every endpoint of both services."""
    yield "## Endpoints\n"
    yield "Each service documents itself at `/docs`; errors are RFC 9457 problems."
    for title, app in _apps(folder):
        yield f"\n### {title}\n"
        yield "| method | path | what it does |\n|---|---|---|"
        for path, item in sorted(app.openapi()["paths"].items()):
            for method, operation in item.items():
                text = operation.get("description") or operation.get("summary", "")
                yield f"| {method.upper()} | `{path}` | {' '.join(text.split())} |"


def _apps(folder: Path) -> Iterator[tuple[str, FastAPI]]:
    for role in ("leader", "helper"):
        (folder / role).mkdir()
        create_key(folder / role / "service.key")
    yield "Leader", leader_app(LeaderSettings.read(folder / "leader"))
    yield "Helper", helper_app(HelperSettings.read(folder / "helper"))


def problems() -> Iterator[str]:
    """The one table of problem types."""
    yield "## Problems\n"
    yield "`type` is `urn:hearthside:problem:` and the code.\n"
    yield "| code | status | title | same bytes again may succeed |\n|---|---|---|---|"
    for code, row in PROBLEM_TYPES.items():
        yield f"| `{code}` | {int(row.status)} | {row.title} | {'yes' if row.retry else 'no'} |"


def reference(folder: Path) -> str:
    """The whole page. ``folder`` is scratch space for throw-away keys."""
    parts = [_HEAD, *commands(), "", *settings(), "", *endpoints(folder), "", *problems()]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        TARGET.write_text(reference(Path(scratch)), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
