"""A document as blocks, and how blocks become Markdown and HTML. Nothing in a page runs or loads anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from consent.registry import Language


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 2 is a section."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; a marked one is for the reader to act on."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Bullets | Table


@dataclass(frozen=True, slots=True)
class Page:
    """A document.

    Attributes:
        language: of its text.
        title: its heading.
        blocks: its content; `backticks` mark what is typed or copied.
        origin: whose document it is, and of when.
    """

    language: Language
    title: str
    blocks: tuple[Block, ...]
    origin: str


def markdown(page: Page) -> str:
    """The page as Markdown."""
    return "\n\n".join((f"# {page.title}", *(_markdown(block) for block in page.blocks))) + "\n"


def html(page: Page) -> str:
    """The page as one HTML file: no script, nothing loaded."""
    parts: list[str] = []
    under = page.title
    for block in page.blocks:
        under = block.text if isinstance(block, Heading) else under
        parts += _html(block, under)
    return html_file(
        page.language,
        page.title,
        style=STYLE,
        header=f"<h1>{escape(page.title)}</h1>",
        main="\n".join(parts),
        footer=f"<p>{escape(page.origin)}</p>",
    )


def html_file(
    language: Language, title: str, *, description: str = "", style: str, header: str, main: str, footer: str
) -> str:
    """One HTML file: no script, nothing loaded.

    Args:
        language: of its text.
        title: plain text, for the browser's tab.
        description: plain text; none where it is empty.
        style: a style sheet.
        header: markup.
        main: markup.
        footer: markup.
    """
    described = f'\n<meta name="description" content="{escape(description)}">' if description else ""
    return _DOCUMENT.format(
        language=language,
        title=escape(title),
        described=described,
        style=style,
        header=header,
        main=main,
        footer=footer,
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text, marked):
            return f"> **{text}**" if marked else text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(columns, rows):
            lines = (columns, ("---",) * len(columns), *rows)
            return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _html(block: Block, under: str) -> Iterator[str]:
    """A block's lines; a table is called after the heading that it stands under."""
    match block:
        case Heading(text, level):
            yield f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text, marked):
            yield ('<p class="open">' if marked else "<p>") + f"{_inline(text)}</p>"
        case Bullets(items):
            yield "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Table(columns, rows):
            name = escape(under)
            yield f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>'
            yield f"<caption>{name}</caption>"
            yield "<thead><tr>" + "".join(f'<th scope="col">{_inline(c)}</th>' for c in columns) + "</tr></thead>"
            yield "<tbody>"
            for first, *rest in rows:
                cells = "".join(f"<td>{_inline(cell)}</td>" for cell in rest)
                yield f'<tr><th scope="row">{_inline(first)}</th>{cells}</tr>'
            yield "</tbody></table></div>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


LIGHT: Final = {
    "ink": "#22201d",
    "quiet": "#635c54",
    "paper": "#faf8f5",
    "card": "#ffffff",
    "line": "#e2dcd3",
    "ember": "#a63d12",
    "note": "#fdf1dc",
    "good": "#21653b",
}
DARK: Final = {
    "ink": "#ece7e0",
    "quiet": "#a79f95",
    "paper": "#191715",
    "card": "#221f1c",
    "line": "#3a3530",
    "ember": "#ff9d6b",
    "note": "#3a2d16",
    "good": "#8fd6a6",
}
"""The house's colours, by what they are for; text is ink, quiet, ember or good on paper, card or note."""


def palette(colours: dict[str, str]) -> str:
    """Colours as declarations of a style sheet."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


COLOURS: Final = (
    f":root {{ color-scheme: light dark; {palette(LIGHT)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {palette(DARK)} }} }}\n"
    f"@media print {{ :root {{ color-scheme: light; {palette(LIGHT)} }} }}\n"
)
STYLE: Final = (
    COLOURS
    + """* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 50rem; padding: 2.5rem 1.25rem 2rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); color: var(--quiet); font-size: .9rem; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
h1 { font-size: clamp(1.7rem, 4vw, 2.3rem); line-height: 1.2; letter-spacing: -.015em; margin: 0 0 1rem;
  overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; color: var(--ember); }
p, ul { margin: .5rem 0; } li { margin: .3rem 0; } ul { padding-left: 1.2rem; }
a { color: var(--ember); }
.open { background: var(--note); border-radius: .5rem; padding: .7rem 1rem; font-weight: 600; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 3px solid var(--ember); }
table { border-collapse: collapse; width: 100%; font-size: .94rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .9rem .5rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 600; } tbody th { font-weight: 600; min-width: 9rem; }
code { font: .88em/1.4 ui-monospace, Consolas, monospace; background: var(--card); border: 1px solid var(--line);
  padding: .05em .35em; border-radius: .25rem; overflow-wrap: anywhere; }"""
)
_DOCUMENT: Final = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>{described}
<style>
{style}
</style>
</head>
<body>
<header>
{header}
</header>
<main>
{main}
</main>
<footer>
{footer}
</footer>
</body>
</html>
"""
