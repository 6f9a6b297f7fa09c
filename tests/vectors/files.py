"""Where the vectors lie, and how they are read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@cache
def published(name: str) -> dict[str, Any]:
    """One file of published vectors; its ``source`` says where from."""
    return json.loads((FOLDER / "rfc" / f"{name}.json").read_text("utf-8"))


def cases(name: str) -> list[dict[str, str]]:
    """Its cases."""
    return published(name)["cases"]
