"""Names for personas, read off the released centroids.

A label is post-processing of a release: it costs nothing and says nothing about any one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.queries.errors import ShapeMismatch

PHRASES: Mapping[str, str] = {
    "sneaker": "sneaker lover",
    "sneakers": "sneaker lover",
    "sale": "bargain hunter",
    "discount": "bargain hunter",
    "bargain": "bargain hunter",
    "electronics": "gadget fan",
    "gifts": "gift buyer",
    "kitchen": "home cook",
    "dresses": "dress lover",
    "sport": "sports fan",
    "sports": "sports fan",
    "news": "news reader",
}
"""Phrases for well-known features; another feature f becomes "f visitor"."""


def label(
    centroids: NDArray[np.float64],
    features: Sequence[str],
    phrases: Mapping[str, str] = PHRASES,
    *,
    prefix: str = "",
) -> tuple[str, ...]:
    """One distinct label a centroid, after the feature in which it stands out most (server, simulations).

    Centroids are compared by lift, ``c_jf - mean_j c_jf``, and named greedily from the largest lift down, so that two
    personas do not share a label while another feature tells them apart. When all phrases of a persona are taken, its
    strongest one is numbered.

    Args:
        centroids: float64[k, p].
        features: p names, lower case; a name matches a phrase by itself or by one of its parts between ``_``, ``-``,
            ``:``, ``.`` or spaces.
        phrases: feature (part) to label.
        prefix: only features whose name starts with it name personas, such as ``dwell:`` for page categories.

    Raises:
        ShapeMismatch: the names do not fit the centroids, or none has the prefix.
    """
    if centroids.shape[1:] != (len(features),):
        raise ShapeMismatch(f"expected one name a feature, got {len(features)} for shape {centroids.shape}")
    naming = [j for j, feature in enumerate(features) if feature.startswith(prefix)]
    if not naming:
        raise ShapeMismatch(f"expected a feature whose name starts with {prefix!r}")
    names = [_phrase(features[j].removeprefix(prefix), phrases) for j in naming]
    lift = (centroids - centroids.mean(axis=0))[:, naming]
    labels: dict[int, str] = {}
    for flat in np.argsort(-lift, axis=None, kind="stable"):
        persona, feature = divmod(int(flat), len(naming))
        if persona not in labels and names[feature] not in labels.values() and lift[persona, feature] > 0:
            labels[persona] = names[feature]
    return tuple(labels.get(j) or _numbered(names[int(lift[j].argmax())], j) for j in range(len(centroids)))


def _phrase(feature: str, phrases: Mapping[str, str]) -> str:
    plain = feature.lower()
    for separator in "-:. ":
        plain = plain.replace(separator, "_")
    for part in (feature.lower(), *plain.split("_")):
        if part in phrases:
            return phrases[part]
    return f"{feature} visitor"


def _numbered(phrase: str, persona: int) -> str:
    return f"{phrase} {persona + 1}"
