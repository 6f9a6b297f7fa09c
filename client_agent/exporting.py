"""The right to portability: one export as JSON, as a zip of CSV files, or as text to read. Offline, row by row.

The CSV files follow RFC 4180 (comma, double quote, CRLF), in UTF-8 *with* a byte-order mark: they are for spreadsheet
programs, which read letters beyond ASCII wrongly without it, while programs name the encoding (``utf-8-sig``).

Which character separates cells is the reading program's choice: a German spreadsheet splits at semicolons, and what
was the middle of a text becomes the start of a cell. So no text has the start of a formula at its own start or after
anything that may separate cells, whatever stands in between and is not seen or may be taken for a quote. In a text a
typographic apostrophe goes before it (a straight one is a quote to some programs); in JSON it is escaped as JSON can,
which loses nothing. The JSON export holds everything unchanged.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from typing import Final

from client_agent.export_columns import instant
from client_agent.rights import FORMAT, FORMAT_VERSION, Export, Section, Value

_CHUNK_CHARACTERS: Final = 65_536
_SEPARATORS: Final = ",;|\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""What a program may split cells or rows at."""
_UNSEEN: Final = (
    r" \xa0\u1680\u2000-\u200a\u202f\u205f\u3000\"'`\\\x00-\x08\x0e-\x1b\x1f\x7f\xad\u200b-\u200f\u2060\ufeff"
)
"""What a program may skip at the start of a cell: spaces, quotes and escapes, and what has no width."""
_SIGNS: Final = r"=+\-@\uff1d\uff0b\uff0d\uff20"
"""What a program may take for the start of a formula: OWASP's list, and the full-width forms."""
_FORMULA: Final = re.compile(rf"\A(?=\n)|(?:\A|(?<=[{_SEPARATORS}]))(?=[{_UNSEEN}]*[{_SIGNS}\t\r])")
_APOSTROPHE: Final = "\u2019"
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_JSON_SEPARATOR: Final = re.compile("[;|\x7f\x85\u2028\u2029]")
_JSON_FORMULA: Final = re.compile(rf"((?:\A|,)[{_UNSEEN}]*)([{_SIGNS}])")
_SHOWN_ROWS: Final = 12
_SHOWN_CHARACTERS: Final = 72


def text_pieces(export: Export) -> Iterator[str]:
    """An export for a person to read, line by line: short sections whole, of long ones the first rows and how many."""
    yield f"Everything that this agent holds about {export.person}, {instant(export.at_ms)}\n"
    for section in export.sections:
        yield f"\n{section.name}: {section.about}\n"
        rows = 0
        for row in section.rows():
            rows += 1
            if rows <= _SHOWN_ROWS:
                cells = (f"{c.name}: {_short(value)}" for c, value in zip(section.columns, row, strict=True))
                yield f"  - {'; '.join(cells)}\n"
        if rows == 0:
            yield "  nothing\n"
        elif rows > _SHOWN_ROWS:
            yield f"  ... {rows - _SHOWN_ROWS:,} more of {rows:,}; the JSON and the CSV have them all\n"


def json_pieces(export: Export) -> Iterator[str]:
    """An export as one JSON object: ``format``, ``version``, ``person``, the time, then a list a section.

    In pieces of about 64 kB, for a response that is sent while it is read.
    """
    head: dict[str, Value] = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "person": export.person,
        "exported_at_ms": export.at_ms,
        "exported_at": instant(export.at_ms),
    }
    piece = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
    for section in export.sections:
        piece += f",\n  {json.dumps(section.name)}: ["
        names, separator = [column.name for column in section.columns], "\n    "
        for row in section.rows():
            piece += separator + json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
            separator = ",\n    "
            if len(piece) > _CHUNK_CHARACTERS:
                yield piece
                piece = ""
        piece += "]" if separator == "\n    " else "\n  ]"
    yield piece + "\n}\n"


def csv_zip_pieces(export: Export) -> Iterator[bytes]:
    """An export as a zip of CSV files and a README.txt that explains every column, in pieces likewise."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for section in export.sections:
            yield from _csv(export, section, archive, sink)
        archive.writestr(_entry(export, "README.txt"), readme(export).encode())
    yield sink.take()


def readme(export: Export) -> str:
    """What is in the zip: every file and column in plain words."""
    lines = [
        f"Everything that this agent holds about {export.person}, written at {instant(export.at_ms)}, offline.",
        f"Format {FORMAT}, version {FORMAT_VERSION}. CSV after RFC 4180, UTF-8 with a byte-order mark.",
        "Programs split these files at commas, semicolons, tabs, bars or ends of lines. So that none of them takes",
        f"a part of a text for a formula, an apostrophe ({_APOSTROPHE}) stands at the start of a text, and inside it",
        "after each of these, where =, +, - or @ (also full-width), a tab or a carriage return follows, be there",
        "spaces or quotes in between. In a cell that holds JSON these characters are written as \\uXXXX instead,",
        "which every JSON reader undoes. The JSON export has everything as it is.",
    ]
    for section in export.sections:
        lines += ["", f"{section.name}.csv: {section.about}"]
        lines += [f"  {column.name}: {column.about}" for column in section.columns]
    return "\r\n".join([*lines, ""])


def _csv(export: Export, section: Section, archive: zipfile.ZipFile, sink: _Sink) -> Iterator[bytes]:
    with archive.open(_entry(export, f"{section.name}.csv"), "w", force_zip64=True) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="", write_through=False)
        writer = csv.writer(text)  # the module's own dialect is RFC 4180's: comma, double quote, CRLF
        writer.writerow([column.name for column in section.columns])
        for row in section.rows():
            writer.writerow([_cell(value) for value in row])
            if sink.held_bytes > _CHUNK_CHARACTERS:
                yield sink.take()
        text.flush()
        text.detach()
    yield sink.take()


def _entry(export: Export, name: str) -> zipfile.ZipInfo:
    moment = time.gmtime(min(max(export.at_ms // 1_000, 315_532_800), 4_354_819_198))  # zip knows 1980 to 2107
    entry = zipfile.ZipInfo(name, moment[:6])
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    return entry


def _cell(value: Value) -> str | int | float:
    """A cell of a CSV file: no text starts a formula, however the file is split; structures are JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return _JSON_TEXT.sub(_escaped, json.dumps(value, ensure_ascii=False))
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    return _FORMULA.sub(_APOSTROPHE, text)


def _escaped(found: re.Match[str]) -> str:
    """One text of a JSON cell, with its quotes: no separator but the comma, and no formula after that."""
    single = _JSON_SEPARATOR.sub(lambda risky: _as_number(risky[0]), found[0])
    return _JSON_FORMULA.sub(lambda risky: risky[1] + _as_number(risky[2]), single)


def _as_number(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _short(value: Value) -> str:
    text = value if isinstance(value, str) else "-" if value is None else json.dumps(value, ensure_ascii=False)
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return plain if len(plain) <= _SHOWN_CHARACTERS else f"{plain[: _SHOWN_CHARACTERS - 3]}..."


class _Sink(io.RawIOBase):
    """A file that cannot seek and gives away what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []
        self.held_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # zipfile hands over bytes, never another buffer
        self._held.append(bytes(data))
        self.held_bytes += len(data)
        return len(data)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken, self._held, self.held_bytes = b"".join(self._held), [], 0
        return taken
