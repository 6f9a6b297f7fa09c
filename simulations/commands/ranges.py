"""Ranges that options of several commands share: each returns its figure, or refuses it in one line."""

from __future__ import annotations

import math
from typing import TypeVar

import typer

Figure = TypeVar("Figure", float, float | None)
"""A number; None where the option was left out."""


def positive(value: Figure) -> Figure:
    """Above 0 and finite."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"expected a number above 0, got {value}")
    return value


def fraction(value: float) -> float:
    """A probability, or a share that is not nothing: in (0, 1]."""
    if not 0 < value <= 1:
        raise typer.BadParameter(f"expected a number above 0 and at most 1, got {value}")
    return value


def inside(value: Figure) -> Figure:
    """In (0, 1), as a delta is."""
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"expected a number between 0 and 1, got {value}")
    return value
