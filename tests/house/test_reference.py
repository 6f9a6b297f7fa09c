"""Documentation as a test: what the code offers is what the reference says, and everything offered says what it is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as the code makes it now."""
    return reference.reference(tmp_path_factory.mktemp("reference"))


def test_the_reference_is_up_to_date(page: str) -> None:
    """``make docs`` was run after the last change of a command, setting, endpoint or problem."""
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == page


def test_every_setting_and_endpoint_says_what_it_is(page: str) -> None:
    """No row of settings or endpoints is without a meaning."""
    settings = page[page.index("## Settings") : page.index("## Problems")]
    rows = [line.split(" | ") for line in settings.splitlines() if line.startswith("| ") and "---" not in line]
    unsaid = [row for row in rows if len(row) == 3 and not row[1 if "`HEARTHSIDE" in row[0] else 2].strip(" |")]
    assert not unsaid


def test_every_option_says_what_it_is(page: str) -> None:
    """No command-line option is without a meaning."""
    commands = page[: page.index("## Settings")]
    assert not re.findall(r"^\| `--[^|]*\|  \|.*$", commands, flags=re.MULTILINE)
