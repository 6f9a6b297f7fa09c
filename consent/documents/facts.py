"""What only the site's operator can say: who it is, who runs the privacy office, which figures it contracts.

One frozen value, read from TOML text. Each field names its place in the file, what it means and an example, so that
the example file and the errors come from the same list.
"""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final, Literal, get_args

from consent.errors import FactsInvalid
from consent.notices import MODES
from consent.wording import Mode

HelperRole = Literal["processor", "joint_controller"]
_FORBIDDEN: Final = frozenset("`|<>")
"""Characters that a document would take for markup."""
_FORMULA: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""First characters that a spreadsheet would take for a formula, full-width forms included."""


def _about(place: str, meaning: str, example: Any, *, optional: bool = False) -> dict[str, Any]:
    """What is known of a field: its place in the file, what it means, an example (its kind too), may it be empty."""
    return {"place": place, "meaning": meaning, "example": example, "optional": optional}


@dataclass(frozen=True, slots=True)
class Facts:
    """The operator's facts. Texts are one line each; an optional one may be empty.

    Attributes are named and explained by ``example_facts``. ``budget_epsilon`` and ``budget_delta`` are the contract's
    figures (device level, zero-out) for everything that is released in any ``budget_days`` days.
    """

    controller_name: str = field(
        metadata=_about("controller.name", "who decides what for: the site's operator", "Example Shop Ltd")
    )
    controller_address: str = field(
        metadata=_about("controller.address", "postal address", "1 Example Street, 12345 Exampletown")
    )
    controller_contact: str = field(
        metadata=_about("controller.contact", "where a person writes to", "privacy@shop.example.org")
    )
    controller_representative: str = field(
        metadata=_about(
            "controller.representative", "representative in the Union (Art. 27), if there is one", "", optional=True
        )
    )
    officer_contact: str = field(
        metadata=_about(
            "data_protection_officer.contact", "name or address of the data protection officer", "dpo@shop.example.org"
        )
    )
    authority_name: str = field(
        metadata=_about("authority.name", "the supervisory authority in charge", "Example Data Authority")
    )
    authority_contact: str = field(
        metadata=_about("authority.contact", "where a complaint goes", "https://authority.example.org")
    )
    site: str = field(metadata=_about("site.origin", "the site's origin, as in receipts", "https://shop.example.org"))
    mode: Mode = field(metadata=_about("site.mode", "where the agent runs: device, gateway or site_edge", "device"))
    helper_operator: str = field(
        metadata=_about("helper.operator", "who runs the privacy office (the helper)", "Example Privacy Office")
    )
    helper_address: str = field(
        metadata=_about("helper.address", "postal address", "2 Example Street, 12345 Exampletown")
    )
    helper_contact: str = field(
        metadata=_about("helper.contact", "where the office is reached", "office@helper.example.org")
    )
    helper_role: HelperRole = field(
        metadata=_about("helper.role", "by contract: processor or joint_controller", "processor")
    )
    budget_epsilon: float = field(
        metadata=_about("budget.epsilon", "the contract's epsilon (device level, zero-out)", 4.0)
    )
    budget_delta: float = field(metadata=_about("budget.delta", "the contract's delta (device level, zero-out)", 1e-6))
    budget_days: int = field(metadata=_about("budget.days", "for everything that is released in any so many days", 30))
    receipts_days: int = field(
        metadata=_about(
            "retention.receipts_days",
            "proof of an ended consent, days; the leader's setting receipt_retention_days carries it out",
            1_095,
        )
    )
    hosting: str = field(
        metadata=_about("leader.hosting", "who hosts the leader for the operator, if anybody", "", optional=True)
    )
    transfers: str = field(
        metadata=_about("leader.transfers", "transfers outside the Union and their safeguards", "", optional=True)
    )
    updated: dt.date = field(
        metadata=_about("documents.updated", "date that the documents carry", dt.date(2026, 1, 31))
    )

    @property
    def origin(self) -> str:
        """Whose documents these are, and of when: the line at their foot."""
        return f"{self.controller_name}, {self.updated.isoformat()}"


def read_facts(text: str) -> Facts:
    """Read the operator's facts from TOML.

    Raises:
        FactsInvalid: not TOML, or a field that is missing, unknown or not of its kind; it names the field.
    """
    try:
        given = dict(_flatten(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise FactsInvalid(f"expected TOML, got a syntax error: {error}") from None
    places = {each.metadata["place"]: each for each in fields(Facts)}
    if unknown := sorted(set(given) - set(places)):
        raise FactsInvalid(f"expected only known fields, got {unknown[0]}; --example lists them all")
    return Facts(**{each.name: _value(each, given.get(place)) for place, each in places.items()})


def example_facts() -> str:
    """A facts file to start from: every field with its meaning, for an operator that does not exist."""
    lines = ["# Facts for `hearthside documents`. Everything here is an example: replace it."]
    section = ""
    for each in fields(Facts):
        here, _, key = each.metadata["place"].partition(".")
        if here != section:
            section = here
            lines += ["", f"[{section}]"]
        lines.append(f"{key} = {_toml(each.metadata['example'])}  # {each.metadata['meaning']}")
    return "\n".join(lines) + "\n"


def _flatten(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _value(each: Field[Any], given: Any) -> Any:
    """A field's value, checked; its kind is that of its example."""
    place, example = each.metadata["place"], each.metadata["example"]
    if given is None and each.metadata["optional"]:
        return ""
    if given is None:
        raise FactsInvalid(f"expected {place} ({each.metadata['meaning']}), got nothing")
    expected = _expectation(each.name, example, given, optional=each.metadata["optional"])
    if expected:
        raise FactsInvalid(f"expected {place} to be {expected}, got {given!r}"[:200])
    return float(given) if isinstance(example, float) else given


def _expectation(name: str, example: Any, given: Any, *, optional: bool) -> str:
    """What was expected of a value that is not right; empty if it is."""
    if isinstance(example, dt.date):
        return "" if type(given) is dt.date else "a date such as 2026-01-31"
    if isinstance(example, float):
        return "" if _is_number(given) and (name != "budget_delta" or given < 1) else "a number above 0 (delta below 1)"
    if isinstance(example, int):
        return "" if type(given) is int and given >= 1 else "a whole number of at least 1"
    choices = {"mode": MODES, "helper_role": get_args(HelperRole)}.get(name)
    if choices:
        return "" if given in choices else f"one of {', '.join(choices)}"
    return (
        "" if _is_line(given, optional=optional) else "one line of text without ` | < > and not starting with = + - @"
    )


def _is_number(given: Any) -> bool:
    return type(given) in (int, float) and math.isfinite(given) and given > 0


def _is_line(given: Any, *, optional: bool) -> bool:
    if not isinstance(given, str) or given != given.strip() or not (given or optional):
        return False
    return given.isprintable() and not _FORBIDDEN & set(given) and given[:1] not in _FORMULA


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return value.isoformat() if isinstance(value, dt.date) else str(value)
