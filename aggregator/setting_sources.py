"""Where a setting comes from, and one line about one that does not fit: what, where, and an example of one that would.

No value is ever quoted: it may be a secret.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import SettingsError

from aggregator.errors import SettingsInvalid

if TYPE_CHECKING:
    from aggregator.settings import ServiceSettings

SETTINGS_FILE = "settings.json"
_HOUSE = "HEARTHSIDE_"
_OTHERS = ("HEARTHSIDE_AGENT_", "HEARTHSIDE_DATA", "HEARTHSIDE_TOKEN", "HEARTHSIDE_TEST_", "HEARTHSIDE_PICTURES")
"""Beginnings of the house's variables that are no service's settings."""
_SERVICES = ("HEARTHSIDE_LEADER_", "HEARTHSIDE_HELPER_")
_CLOSE = 0.8
_HIDDEN = "***"

Settings = TypeVar("Settings", bound="ServiceSettings")


@dataclass(frozen=True)
class Source:
    """Where a setting's value stands.

    Attributes:
        place: ``argument``, ``environment``, ``settings.json`` or ``default``.
        where: the variable, or the file with the line; empty for an argument or default.
    """

    place: str
    where: str = ""

    def __str__(self) -> str:
        return self.where or self.place


_ENVIRONMENT = Source("environment")


def check_environment(kind: type[ServiceSettings], environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a variable that nobody reads: it is a setting that somebody believes to have set.

    Args:
        kind: the service's settings.
        environment: the process's environment.

    Raises:
        SettingsInvalid: one with this service's prefix, or with nearly that of a service, that is no setting.
    """
    known = {variable(kind, name) for name in kind.model_fields}
    for name in sorted(environment):
        upper = name.upper()
        if upper.startswith(_prefix(kind)) and upper not in known:
            raise SettingsInvalid(f"environment variable {name}: there is no such setting{_nearest(upper, known)}")
        if upper.startswith(_HOUSE) and not upper.startswith((*_SERVICES, *_OTHERS)) and _close(upper, known):
            raise SettingsInvalid(f"environment variable {name}: nobody reads it{_nearest(upper, known)}")


def read_settings(kind: type[Settings], directory: Path, given: Mapping[str, Any]) -> Settings:
    """The settings of a folder.

    Raises:
        SettingsInvalid: a setting that does not fit, where it stands, and one that fits.
    """
    path = directory / SETTINGS_FILE
    try:
        return kind(directory=directory, **given)
    except json.JSONDecodeError as error:
        raise SettingsInvalid(f"{path} is no JSON: line {error.lineno}; for example {{}}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingsInvalid(_explain(kind, directory, given, first)) from None
    except SettingsError as error:
        name = _named(str(error), kind)
        reason = f"setting {name}: expected JSON ({variable(kind, name)})" if name else f"expected an object in {path}"
        raise SettingsInvalid(
            f"{reason}{_for_example(kind, name, _ENVIRONMENT) if name else '; for example {}'}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read ({type(error).__name__})") from None
    except (TypeError, ValueError):  # pydantic-settings reads a document that is no object
        raise SettingsInvalid(f"expected an object in {path}; for example {{}}") from None


def source_of(kind: type[ServiceSettings], name: str, directory: Path, given: Mapping[str, Any]) -> Source:
    """Where a setting's value comes from."""
    if name in given or name == "directory":
        return Source("argument")
    wanted = variable(kind, name)
    if any(key.upper() == wanted for key in os.environ):
        return Source(_ENVIRONMENT.place, wanted)
    path = directory / SETTINGS_FILE
    found = _line(path, name)
    return Source(SETTINGS_FILE, f"{path} line {found}") if found else Source("default")


def variable(kind: type[ServiceSettings], name: str) -> str:
    """The environment variable of a setting."""
    return f"{_prefix(kind)}{name.upper()}"


def example_of(kind: type[ServiceSettings], name: str) -> str:
    """A value that fits, as it is written in the environment."""
    field = kind.model_fields[name]
    if field.examples:
        return str(field.examples[0])
    return "" if field.default is PydanticUndefined else written(field.default)


def written(value: Any) -> str:
    """A setting's value as it is written in the environment; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool | dict):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(settings: ServiceSettings, name: str) -> str:
    """A setting's value as a stranger may see it: without a password."""
    value = written(getattr(settings, name))
    return _without_secrets(value) if name == "database_url" else re.sub(r"://[^@,]*@", "://***@", value)


def _without_secrets(address: str) -> str:
    """A database's URL without its password and without what stands behind the question mark; ``***`` in doubt."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if not address:
        return ""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return _HIDDEN
    if address.count("@") > 1 or "@" in f"{url.host}{url.database}":
        return _HIDDEN  # a password with an @ of its own: nobody knows where it ends
    query = "&".join(f"{key}={_HIDDEN}" for key in sorted(url.query))
    plain = url.set(query={}).render_as_string(hide_password=True)
    return f"{plain}?{query}" if query else plain


def setting_rows(kind: type[ServiceSettings]) -> list[dict[str, str]]:
    """Every setting as the documentation lists it: its variable, default, unit, range and meaning."""
    return [
        {
            "name": name,
            "variable": variable(kind, name),
            "default": "required" if field.default is PydanticUndefined else written(field.default) or "none",
            "unit": unit_of(name, field.annotation),
            "range": _range_of(field),
            "text": " ".join((field.description or "").split()),
        }
        for name, field in kind.model_fields.items()
    ]


def unit_of(name: str, annotation: Any) -> str:
    """What a number counts: it stands in the setting's name. Empty for what is no number."""
    units = {
        "seconds": "s",
        "bytes": "bytes",
        "days": "days",
        "epsilon": "epsilon",
        "delta": "delta",
        "second": "a second",
        "minute": "a minute",
    }
    last = name.rsplit("_", 1)[-1]
    if last in units:
        return "bytes a second" if name.endswith("_rate_bytes") else units[last]
    return "count" if annotation in (int, float) else ""


def _range_of(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    signs = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    bounds = {sign: getattr(item, sign) for item in field.metadata for sign in signs if hasattr(item, sign)}
    parts = [f"{signs[sign]} {bounds[sign]:,}".replace(",", " ") for sign in signs if sign in bounds]
    if field.annotation is bool:
        return "true, false"
    return " ".join(parts)


def _explain(kind: type[ServiceSettings], directory: Path, given: Mapping[str, Any], first: Any) -> str:
    name = str(first["loc"][0]) if first["loc"] else ""
    reason = " ".join(first["msg"].removeprefix("Value error, ").split())
    if name in kind.model_fields:
        where = source_of(kind, name, directory, given)
        return f"setting {name}: {reason} ({where}){_for_example(kind, name, where)}"
    path = directory / SETTINGS_FILE
    if name:
        known = set(kind.model_fields)
        return f"setting {name}: there is no such setting ({path} line {_line(path, name)}){_nearest(name, known)}"
    return f"setting {_named(reason, kind) or 'budget_order'}: {reason}"


def _for_example(kind: type[ServiceSettings], name: str, where: Source) -> str:
    example = example_of(kind, name)
    written_as = variable(kind, name) if where.place == _ENVIRONMENT.place else name
    return f"; for example {written_as}={example}" if example else ""


def _named(text: str, kind: type[ServiceSettings]) -> str:
    """The setting that a library's message names."""
    return next((word for word in re.findall(r"[a-z_]+", text) if word in kind.model_fields), "")


def _prefix(kind: type[ServiceSettings]) -> str:
    return str(kind.model_config["env_prefix"])


def _line(path: Path, name: str) -> int:
    """Where a name stands in the file; 0 if it does not."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if re.search(rf'"{re.escape(name)}"\s*:', line)), 0)


def _close(name: str, known: set[str]) -> list[str]:
    return difflib.get_close_matches(name, known, 1, _CLOSE)


def _nearest(name: str, known: set[str]) -> str:
    found = difflib.get_close_matches(name, known, 1, 0.6)
    return f"; did you mean {found[0]}?" if found else "; 'hearthside-aggregator settings' lists them"
