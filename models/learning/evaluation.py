"""Quality figures. Computed on test data by whoever holds it; on people's own data each figure would be a release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.learning.errors import NotFinite, OneClass


def auc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Area under the ROC curve, ties counted half.

    ``(R - P (P + 1) / 2) / (P N)`` with R the sum of the positives' mid-ranks (Mann and Whitney 1947), P positives and
    N negatives.

    Args:
        scores: float[n], larger means more likely positive.
        labels: float[n], 0 or 1.

    Raises:
        OneClass: the labels are all equal.
        NotFinite: a score is NaN.
    """
    if np.isnan(scores).any():
        raise NotFinite("expected scores, got NaN")
    positive = labels > 0
    positives = int(positive.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise OneClass("expected labels of both classes, got one")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mid_ranks = (last - (counts - 1) / 2.0)[inverse]
    return float((mid_ranks[positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))
