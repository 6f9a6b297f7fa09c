"""Goodness of fit with one false-alarm probability for the whole run of this folder.

A run makes at most :data:`TESTS` seeded tests; each rejects at :data:`LEAST_P`, so samplers that are all right are
accused with probability at most 10^-6 a run, whatever seeds are chosen. (The seeds are fixed: a pass stays a pass.)
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

FALSE_ALARM = 1e-6
TESTS = 200
LEAST_P = FALSE_ALARM / TESTS
LEAST_EXPECTED = 5
"""Samples that a cell must expect for chi-square's distribution to be near enough."""


def gaussian_edges(sigma: float, cells: int) -> np.ndarray:
    """Right ends of about equally likely cells of the discrete Gaussian, the last cell's (infinity) left out."""
    return np.unique(np.round(stats.norm.ppf(np.arange(1, cells) / cells) * sigma).astype(np.int64))


def gaussian_cells(sigma: float, edges: np.ndarray) -> np.ndarray:
    """The exact probability of each cell.

    Up to sigma 20,000 a sum of the exact probabilities. Beyond, P(X <= x) is the normal distribution at x + 1/2, which
    differs by less than 1 / (24 sigma^2) (Euler and Maclaurin), far below what the tests resolve.
    """
    if sigma <= 20_000:
        grid = np.arange(-math.ceil(12 * sigma) - 1, math.ceil(12 * sigma) + 2)
        mass = np.exp(-(grid.astype(np.float64) ** 2) / (2 * sigma**2))
        cumulative = np.cumsum(mass / mass.sum())[edges - grid[0]]
    else:
        cumulative = stats.norm.cdf((edges + 0.5) / sigma)
    return np.diff(np.concatenate([[0.0], cumulative, [1.0]]))


def counts_in(samples: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many samples fall in each cell."""
    return np.bincount(np.searchsorted(edges, samples, side="left"), minlength=edges.size + 1)


def fit_counts(found: np.ndarray, chances: np.ndarray) -> float:
    """P-value of Pearson's chi-square of counts against exact probabilities."""
    expected = chances * found.sum()
    assert expected.min() >= LEAST_EXPECTED, "cells too small for chi-square"
    return float(stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue)


def fit_gaussian(samples: np.ndarray, sigma: float, cells: int = 60) -> float:
    """P-value of samples against the exact discrete Gaussian."""
    edges = gaussian_edges(sigma, cells)
    chances = gaussian_cells(sigma, edges)
    while chances[-1] * samples.size < LEAST_EXPECTED:  # of a small sigma the last step holds next to nothing
        edges = edges[:-1]
        chances = gaussian_cells(sigma, edges)
    return fit_counts(counts_in(samples, edges), chances)


def fit_alike(one: np.ndarray, other: np.ndarray, sigma: float, cells: int = 60) -> float:
    """P-value of the two-sample chi-square: both samplers have one distribution, whatever it is."""
    edges = gaussian_edges(sigma, cells)
    table = np.array([counts_in(one, edges), counts_in(other, edges)])
    return float(stats.chi2_contingency(table, correction=False).pvalue)
