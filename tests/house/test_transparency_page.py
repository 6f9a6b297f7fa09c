"""The page of the log says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from client_agent.errors import LogFaultCode
from models.wire.log import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "transparency.md").read_text("utf-8")


def test_every_kind_of_entry_is_on_the_page_as_it_is():
    """What an entry says, what its body is, whose signature is on it: the registry's own words, and no other kind."""
    rows = [f"| `{kind.name}` | {kind.what} | {kind.body} | {kind.signer} |" for kind in KINDS.values()]
    shown = [
        re.sub(r"\| +\|$", "|  |", line) for line in PAGE.splitlines() if re.match(r"\| `[a-z]+` \| .+ \| .+ \|", line)
    ]
    assert shown[: len(rows)] == rows


def test_every_fault_of_the_log_is_on_the_page():
    """A person who reads a fault's name finds what ends it."""
    for code in get_args(LogFaultCode):
        assert f"| `{code}` |" in PAGE


def test_every_append_names_a_kind_of_the_registry():
    """No module writes an entry whose kind nobody declared."""
    sources = [path.read_text("utf-8") for path in (ROOT / "aggregator").rglob("*.py")]
    kinds = {kind for text in sources for kind in re.findall(r"log\.append\(change, \"([a-z-]+)\"", text)}
    assert {"study", "decision", "opening", "release", "keys"} <= kinds <= set(KINDS)
