"""Everything the agent knows about a person, for reading: the sections of the export as tables, a page at a time."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from client_agent.overview import rule_words
from client_agent.pages.languages import moment, number
from client_agent.pages.texts import TEXTS
from client_agent.pages.texts_tables import column_label, table_about, table_title, waiting_words
from client_agent.pages.texts_withheld import withheld_reason
from client_agent.rights import Export, Section, Value
from consent import PURPOSES, RULES
from consent.registry import Language

PREVIEW_ROWS: Final = 5
PAGE_ROWS: Final = 50
_RULE_OF: Final = {words: rule for rule, words in RULES.items()}
_SHORT_CHARACTERS: Final = 56
"""Longer texts, such as signatures, are folded to their beginning."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: all of it.
        start: its beginning, where it is too long for a table; else empty.
    """

    text: str
    start: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Some rows of one section.

    Attributes:
        name: the section's stable name.
        title: what it is called.
        about: what it holds.
        columns: their labels.
        rows: the cells.
        first: number of the first row shown, from 1.
        more: whether there are rows after the last one shown.
    """

    name: str
    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    first: int
    more: bool


def tables(export: Export, language: Language) -> list[Table]:
    """The beginning of every section."""
    return [_table(section, language, 0, PREVIEW_ROWS) for section in export.sections]


def table(export: Export, name: str, page: int, language: Language) -> Table | None:
    """One page of one section, from page 1; None where there is no such section."""
    section = next((found for found in export.sections if found.name == name), None)
    return _table(section, language, (page - 1) * PAGE_ROWS, PAGE_ROWS) if section else None


def _table(section: Section, language: Language, skipped: int, count: int) -> Table:
    names = [column.name for column in section.columns]
    shown = [place for place, name in enumerate(names) if not _is_twin(name, names)]
    rows = list(islice(section.rows(), skipped, skipped + count + 1))
    return Table(
        name=section.name,
        title=table_title(section.name, language),
        about=table_about(section.name, language),
        columns=tuple(column_label(names[place], language) for place in shown),
        rows=tuple(_cells(_said(section.name, names, row, language), shown, language) for row in rows[:count]),
        first=skipped + 1,
        more=len(rows) > count,
    )


def _is_twin(name: str, names: list[str]) -> bool:
    """Milliseconds and code words are for programs; the same moment, the same in words, stands beside them."""
    return f"{name}_text" in names or (name.endswith("_ms") and name.removesuffix("_ms") in names)


def _said(section: str, names: Sequence[str], row: Sequence[Value], language: Language) -> Sequence[Value]:
    """A row as the page says it: the export's own sentences are in English."""
    found = dict(zip(names, row, strict=True))
    if section == "purposes":
        purpose = PURPOSES.find(str(found["purpose"]))
        found["title"] = purpose.text(language).title if purpose else found["title"]
        found["rule"] = rule_words(_RULE_OF[str(found["rule"])], language)
    elif section == "contributions":
        found["outcome_text"] = TEXTS[language].page[f"outcome_{found['outcome']}"]
    elif section == "waiting":
        found["what"] = waiting_words(str(found["what"]), language)
    elif section == "withheld":
        column = None if found["column"] is None else str(found["column"])
        found["reason"] = withheld_reason(str(found["table"]), column, str(found["reason"]), language)
    return tuple(found.values())


def _cells(row: Sequence[Value], shown: Iterable[int], language: Language) -> tuple[Cell, ...]:
    return tuple(_cell(_words(row[place], language)) for place in shown)


def _cell(text: str) -> Cell:
    return Cell(text, text[:_SHORT_CHARACTERS] + "…") if len(text) > _SHORT_CHARACTERS else Cell(text)


def _words(value: Any, language: Language) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return TEXTS[language].page["true" if value else "false"]
    if isinstance(value, float):
        return number(value, language, 3)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _moment(value, language) or value
    return json.dumps(value, ensure_ascii=False)


def _moment(text: str, language: Language) -> str | None:
    """The moment that an RFC 3339 text names, as this language writes it; None for any other text."""
    if not (text[:4].isdigit() and text.endswith("Z")):
        return None
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment(at.timestamp() * 1_000, language)
