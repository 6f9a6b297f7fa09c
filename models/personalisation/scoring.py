"""Scores of the bundle's models on the device, in numpy: no torch in a resident agent.

The net is ``sigmoid(v . tanh(W x + b) + c)``, or ``sigmoid(v . x + c)`` without hidden units; its flat float32 vector
holds W (row by row), b, v, c in this order, as it is trained and published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.personalisation.errors import BundleInvalid
from models.queries.noisy_mean import bounded
from models.queries.personas import assign
from models.wire.bundle import NetModel, PersonaModel, TransitionModel
from models.wire.message import from_base64

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """A net ready to score: ``hidden`` is (float64[h, f], float64[h]) or None; ``output`` float64[h or f]."""

    hidden: tuple[Vector, Vector] | None
    output: Vector
    output_bias: float

    def score(self, row: Vector) -> float:
        """Probability of the positive class for one row, float64[f]; in [0, 1]."""
        layer = row if self.hidden is None else np.tanh(self.hidden[0] @ row + self.hidden[1])
        logit = float(self.output @ layer) + self.output_bias
        return float(0.5 * (1.0 + np.tanh(0.5 * logit)))


def scorer(model: NetModel) -> Scorer:
    """Unpack a published net.

    Raises:
        BundleInvalid: the parameters do not fit the declared shape, or are not finite.
    """
    features, hidden = len(model.features.names), model.hidden
    expected = hidden * (features + 2) + 1 if hidden else features + 1
    try:
        flat = np.frombuffer(from_base64(model.parameters), dtype="<f4").astype(np.float64)
    except ValueError:
        raise BundleInvalid(f"net {model.task!r}: expected base64 of float32 values") from None
    if features < 1 or hidden < 0 or flat.shape != (expected,) or not np.isfinite(flat).all():
        raise BundleInvalid(f"net {model.task!r}: expected {expected} finite parameters, got {flat.size}")
    if not hidden:
        return Scorer(None, flat[:features], float(flat[features]))
    cut = hidden * features
    layer = flat[:cut].reshape(hidden, features), flat[cut : cut + hidden]
    return Scorer(layer, flat[cut + hidden : -1], float(flat[-1]))


@dataclass(frozen=True)
class PersonaScorer:
    """Centroids ready for assignment: float64[k, p] and k labels."""

    centroids: Vector
    labels: tuple[str, ...]
    feature_names: tuple[str, ...]

    def assign(self, profile: Vector) -> int | None:
        """Index of the nearest centroid to the profile, scaled into the unit ball; None for an empty profile."""
        if profile.shape != (self.centroids.shape[1],) or not profile.any() or not np.isfinite(profile).all():
            return None
        return assign(bounded(profile), self.centroids)

    def traits(self, index: int, count: int = 3) -> tuple[str, ...]:
        """The features in which a persona stands out most from the mean of all personas."""
        lift = self.centroids[index] - self.centroids.mean(axis=0)
        return tuple(self.feature_names[i] for i in np.argsort(-lift, kind="stable")[:count] if lift[i] > 0)


def persona_scorer(model: PersonaModel) -> PersonaScorer:
    """Unpack published personas.

    Raises:
        BundleInvalid: ragged or empty centroids, or another number of labels.
    """
    widths = {len(centroid) for centroid in model.centroids}
    if widths != {len(model.features.names)} or len(model.labels) != len(model.centroids):
        raise BundleInvalid(f"expected one label a centroid and {len(model.features.names)} features each")
    return PersonaScorer(np.array(model.centroids, dtype=np.float64), model.labels, model.features.names)


def likely_next(model: TransitionModel, category: str) -> str:
    """The category that most often follows this one; empty for a category the model does not know."""
    if category not in model.categories:
        return ""
    row = model.rows[model.categories.index(category)]
    return model.categories[int(np.argmax(row))]
