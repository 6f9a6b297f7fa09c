"""Pages that are partly made from the code: what stands between a pair of markers is put there anew."""

from __future__ import annotations

from collections.abc import Mapping


def fill(page: str, parts: Mapping[str, str]) -> str:
    """A page with everything between its markers made anew.

    Args:
        page: the page's text; the markers of a part name it.
        parts: text by name of its place.

    Raises:
        ValueError: the page lacks a place.
    """
    for name, text in parts.items():
        first, last = f"<!-- {name}: made by make docs -->\n", f"<!-- end of {name} -->"
        before, found, rest = page.partition(first)
        _, closed, after = rest.partition(last)
        if not found or not closed:
            raise ValueError(f"expected a place for the {name} in the page")
        page = f"{before}{first}{text}\n{last}{after}"
    return page
