"""The non-private, centralised figure beside each study: what one would get by shipping everyone's raw data.

Simulations only: it reads every device's data at once. scikit-learn is the oracle.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from models.learning.evaluation import auc
from models.queries.personas import cost

Floats = NDArray[np.float64]


def central_auc(train: tuple[Floats, Floats], test: tuple[Floats, Floats], hidden: int, seed: int) -> float:
    """AUC on the test rows of a model of the same kind fitted to all training rows at once, without privacy.

    Args:
        train: rows float64[n, f] and labels float64[n] of everybody.
        test: likewise, of others.
        hidden: hidden units; 0 fits a logistic regression.
        seed: of the fit.
    """
    model = LogisticRegression(C=100.0, max_iter=2_000) if hidden == 0 else _net(hidden, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train[0], train[1].astype(int))
    return auc(model.predict_proba(test[0])[:, 1], test[1])


def _net(hidden: int, seed: int) -> MLPClassifier:
    return MLPClassifier((hidden,), max_iter=200, early_stopping=True, random_state=seed)


def central_cost(train: Floats, test: Floats, clusters: int, seed: int) -> float:
    """Mean squared distance of test profiles to k-means (best of five starts) on everybody's, without privacy."""
    centroids = KMeans(clusters, n_init=5, random_state=seed).fit(train).cluster_centers_
    return cost(test, centroids)
