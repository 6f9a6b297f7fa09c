import numpy as np
import pytest

from models.queries.errors import ShapeMismatch
from models.queries.labels import label

FEATURES = ("category_sneakers", "sale", "returns")


def test_a_persona_is_named_after_what_sets_it_apart():
    """The feature with the largest lift over the other personas names it; unknown features name themselves."""
    centroids = np.array([[0.7, 0.5, 0.1], [0.1, 0.9, 0.1], [0.1, 0.5, 0.6]])
    assert label(centroids, FEATURES) == ("sneaker lover", "bargain hunter", "returns visitor")


def test_labels_are_distinct_even_when_personas_are_alike():
    """Two personas that stand out in the same feature get different labels."""
    centroids = np.array([[0.9, 0.1, 0.1], [0.8, 0.1, 0.1], [0.0, 0.1, 0.1], [0.0, 0.1, 0.1]])
    labels = label(centroids, FEATURES)
    assert labels[0] == "sneaker lover"
    assert len(set(labels)) == len(labels)


def test_only_features_with_the_prefix_name_personas():
    """A persona that mostly visits often is still named after the category it prefers."""
    centroids = np.array([[0.9, 0.5, 0.1], [0.1, 0.4, 0.3]])
    assert label(centroids, ("visits", "dwell:sneakers", "dwell:boots"), prefix="dwell:") == (
        "sneaker lover",
        "boots visitor",
    )
    with pytest.raises(ShapeMismatch):
        label(centroids, FEATURES, prefix="dwell:")


def test_names_must_fit_the_centroids():
    """A missing name is an error, not a shifted label."""
    with pytest.raises(ShapeMismatch):
        label(np.ones((2, 2)), FEATURES)
