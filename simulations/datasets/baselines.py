"""Central, non-private figures on page sequences: what the private ones are held against."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def count_transitions(
    sequences: Iterable[NDArray[np.int8]], categories: int, weight_cap: int | None = None
) -> NDArray[np.int64]:
    """Count consecutive pairs over all sequences, int64[categories, categories], rows are *from*.

    Args:
        sequences: int8 arrays of category indices.
        categories: how many there are.
        weight_cap: count only the first so many pairs of each sequence; None counts all.
    """
    here, there = _pairs(sequences, weight_cap)
    flat = np.bincount(here * categories + there, minlength=categories * categories)
    return flat.reshape(categories, categories).astype(np.int64)


def next_page_top_k(
    transitions: NDArray[np.int64] | NDArray[np.float64], sequences: Iterable[NDArray[np.int8]], k: int = 1
) -> float:
    """Return the share of next views that are among the ``k`` likeliest after the current one.

    Args:
        transitions: counts or noisy counts, [categories, categories]; only the order inside a row matters.
        sequences: held-out users'; every consecutive pair counts alike.
        k: 1 for top-1 accuracy.
    """
    here, there = _pairs(sequences, None)
    likeliest = np.argsort(-transitions, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(likeliest[here] == there[:, None], axis=1)))


def popularity_top_1(train: Iterable[NDArray[np.int8]], held_out: Iterable[NDArray[np.int8]], categories: int) -> float:
    """Return the share of next views that are the page most often viewed next in training, whatever came before."""
    arrivals = count_transitions(train, categories).sum(axis=0)
    _, there = _pairs(held_out, None)
    return float(np.mean(there == np.argmax(arrivals)))


def _pairs(
    sequences: Iterable[NDArray[np.int8]], weight_cap: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kept = [sequence[: None if weight_cap is None else weight_cap + 1].astype(np.int64) for sequence in sequences]
    none = np.zeros(0, np.int64)
    here = np.concatenate([none, *(sequence[:-1] for sequence in kept)])
    there = np.concatenate([none, *(sequence[1:] for sequence in kept)])
    return here, there
