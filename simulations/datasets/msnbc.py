"""UCI 133 as devices: one user's page categories in order, on one day. Transitions, personas, next page."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulations.datasets.catalogue import locate
from simulations.datasets.errors import DatasetMalformed

CATEGORIES: Final = (
    "frontpage", "news", "tech", "local", "opinion", "on-air", "misc", "weather", "msn-news", "health", "living",
    "business", "msn-sports", "sports", "summary", "bbs", "travel",
)  # fmt: skip
MAXIMUM_LENGTH: Final = 100  # the longest sequence has 14,795 views; 99.9 % have at most this many
_HEADER_END: Final = b"% Sequences:"

Sequences = list[NDArray[np.int8]]


@dataclass(frozen=True, slots=True, eq=False)
class PageSequences:
    """Users' page categories, each an int8 array of indices into ``categories``.

    Attributes:
        train: of the devices that take part.
        held_out: of other users, on whom next-page prediction is scored.
        categories: names of the categories.
    """

    train: Sequences
    held_out: Sequences
    categories: tuple[str, ...] = CATEGORIES


def load_msnbc(
    folder: Path,
    devices: int,
    seed: int,
    *,
    held_out: int | None = None,
    maximum_length: int = MAXIMUM_LENGTH,
) -> PageSequences:
    """Draw users at random, without replacement, as devices.

    Args:
        folder: the data folder (the one that holds ``msnbc/``).
        devices: how many take part.
        seed: fixes who does.
        held_out: how many others are held out; by default a fourth as many, a fifth of all that are drawn.
        maximum_length: sequences are cut after this many views, so that no one weighs more than that.

    Raises:
        DatasetMissing: the file is not there.
        DatasetMalformed: the file is no MSNBC sequence file, or has fewer users than asked for.
        ValueError: a count is not positive.
    """
    held_out = max(1, devices // 4) if held_out is None else held_out
    if devices < 1 or held_out < 0 or maximum_length < 1:
        raise ValueError("expected positive numbers of devices and views")
    lines = _read_lines(locate(folder, "msnbc"))
    if devices + held_out > len(lines):
        raise DatasetMalformed(f"msnbc: expected at least {devices + held_out} users, got {len(lines)}")
    order = np.random.default_rng(seed).permutation(len(lines))[: devices + held_out].tolist()
    drawn = _parse([lines[i] for i in order], maximum_length)
    return PageSequences(drawn[:devices], drawn[devices:])


def _read_lines(path: Path) -> list[bytes]:
    try:
        with gzip.open(path, "rb") as stream:
            data = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetMalformed("msnbc: expected a complete gzip file, got a damaged one") from error
    _, found, body = data.partition(_HEADER_END)
    if not found:
        raise DatasetMalformed("msnbc: expected the header to end at '% Sequences:', got no such line")
    return [line for line in body.split(b"\n") if line.strip()]


def _parse(lines: Sequence[bytes], maximum_length: int) -> Sequences:
    try:
        counts = [len(line.split()) for line in lines]
        views = np.array(b" ".join(lines).split(), dtype=np.int64) - 1
    except ValueError as error:
        raise DatasetMalformed("msnbc: expected whole numbers between blanks, got other text") from error
    if views.size and not 0 <= views.min() <= views.max() < len(CATEGORIES):
        raise DatasetMalformed(f"msnbc: expected categories 1 to {len(CATEGORIES)}, got one outside")
    ends = np.cumsum(counts).tolist()
    small = views.astype(np.int8)
    return [
        small[end - count : end - count + min(count, maximum_length)].copy()
        for count, end in zip(counts, ends, strict=True)
    ]
