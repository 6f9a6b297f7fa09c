"""Binomial probabilities, summed term by term, and the Clopper-Pearson bounds that invert the sums.

A tail is a sum of at most n + 1 terms ``exp(ln C(n, k) + k ln p + (n - k) ln(1 - p))`` with the logarithms of the
factorials from ``math.lgamma``. Nothing is approximated but the last digits: for n up to 10^6 a term is off by less
than 10^-8 relatively. scipy has these functions, but the packages that privacy rests on do not need it otherwise, and
tests compare both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 60
"""Steps of every bisection here: an interval of length 1 shrinks below 10^-18."""


def probabilities(trials: int, rate: float) -> NDArray[np.float64]:
    """P(X = k) for k = 0..n, X binomial (float64[n + 1]).

    Args:
        trials: n, at least 0.
        rate: p in [0, 1].
    """
    if rate in {0.0, 1.0}:
        certain = np.zeros(trials + 1)
        certain[-1 if rate else 0] = 1.0
        return certain
    successes = np.arange(trials + 1)
    logarithms = _log_choices(trials) + successes * math.log(rate) + (trials - successes) * math.log1p(-rate)
    exactly: NDArray[np.float64] = np.exp(logarithms)
    return exactly


def upper_bound(successes: int, trials: int, significance: float) -> float:
    """The rate p at which ``P(X <= k) = significance``: Clopper and Pearson 1934, one-sided.

    The true rate lies above it with probability at most ``significance``. 1 where every trial was a success or there
    was none.

    Args:
        successes: k, 0 to n.
        trials: n, at least 0.
        significance: in (0, 1).
    """
    if successes == trials:
        return 1.0
    return _bisect(lambda rate: float(probabilities(trials, rate)[: successes + 1].sum()) > significance, 0.0, 1.0)[1]


def lower_bound(successes: int, trials: int, significance: float) -> float:
    """The rate p at which ``P(X >= k) = significance``: the true rate lies below it at most that often."""
    return 1.0 - upper_bound(trials - successes, trials, significance)


def last_true(holds: Callable[[float], bool], least: float, most: float) -> float:
    """The largest point of [least, most] at which a condition still holds that holds first and fails afterwards."""
    return _bisect(holds, least, most)[0]


def _bisect(holds: Callable[[float], bool], least: float, most: float) -> tuple[float, float]:
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        if holds(middle):
            least = middle
        else:
            most = middle
    return least, most


@lru_cache(maxsize=8)
def _log_choices(trials: int) -> NDArray[np.float64]:
    factorials = np.fromiter(map(math.lgamma, range(1, trials + 2)), np.float64, trials + 1)
    choices: NDArray[np.float64] = factorials[-1] - factorials - factorials[::-1]
    choices.setflags(write=False)
    return choices
