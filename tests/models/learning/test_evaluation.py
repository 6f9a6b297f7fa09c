import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from models.learning.errors import NotFinite, OneClass
from models.learning.evaluation import auc


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=60))
def test_auc_equals_scikit_learns_ties_included(pairs):
    """The rank formula agrees with the oracle on scores with many ties."""
    scores = np.array([score for score, _ in pairs], dtype=float)
    labels = np.array([label for _, label in pairs], dtype=float)
    if labels.min() == labels.max():
        with pytest.raises(OneClass):
            auc(scores, labels)
        return
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_a_score_that_is_no_number_is_refused():
    """NaN has no rank."""
    with pytest.raises(NotFinite):
        auc(np.array([0.1, np.nan]), np.array([0.0, 1.0]))
