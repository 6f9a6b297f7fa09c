"""The page of attacks names every scripted attack, and every test that it names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text("utf-8")
NAMED = set(re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", PAGE))
UNLISTED = {
    "test_no_report_is_made_of_what_is_no_number",
    "test_a_wrong_order_is_a_refusal_not_a_smaller_sum",
    "test_slots_are_drawn_before_the_coin",
}
"""Tests beside the attacks that are none themselves."""


def names_in(path: Path) -> set[str]:
    """Names of a file's tests, with their classes."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {f"{prefix}{item.name}" for item in inner if getattr(item, "name", "").startswith("test_")}
    return found


def test_every_named_test_exists():
    """At least sixteen rows, and no row without its test."""
    assert len(re.findall(r"^\| \d+ \|", PAGE, re.MULTILINE)) >= 16
    for file, name in NAMED:
        assert name in names_in(ROOT / file), name


def test_every_attack_is_on_the_page():
    """An attack that is written without a row fails here."""
    for file in ("test_questions", "test_reports", "test_devices", "test_leader"):
        names = {name for path, name in NAMED if path.endswith(f"{file}.py")}
        assert names_in(Path(__file__).with_name(f"{file}.py")) - names - UNLISTED == set()


def test_every_published_file_is_on_its_page():
    """docs/vectors.md lists the files of published vectors and the kinds of ours."""
    from tests.vectors.ours import KINDS

    page = (ROOT / "docs" / "vectors.md").read_text("utf-8")
    listed = set(re.findall(r"`(\w+)`", page))
    assert {path.stem for path in (ROOT / "tests" / "vectors" / "rfc").glob("*.json")} <= listed
    assert listed >= KINDS
