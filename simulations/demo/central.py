"""The non-private, centralised figure beside each study: what one would get by shipping everyone's raw data.

Simulations only: it reads every device's data at once. scikit-learn is the oracle.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from models.learning.evaluation import auc
from models.queries.personas import cost

Floats = NDArray[np.float64]


def central_auc(train: tuple[Floats, Floats], test: tuple[Floats, Floats], hidden: int, seed: int) -> float:
    """AUC on the test rows of a small net trained on all training rows at once, without privacy."""
    net = MLPClassifier((max(hidden, 4),), max_iter=200, early_stopping=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(train[0], train[1].astype(int))
    return auc(net.predict_proba(test[0])[:, 1], test[1])


def central_cost(profiles: Floats, clusters: int, seed: int) -> float:
    """Mean squared distance of k-means (best of five starts) on all profiles, without privacy."""
    centroids = KMeans(clusters, n_init=5, random_state=seed).fit(profiles).cluster_centers_
    return cost(profiles, centroids)
