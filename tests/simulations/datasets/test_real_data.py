from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulations.datasets import (
    CATALOGUE,
    DatasetMissing,
    count_transitions,
    data_folder,
    load_msnbc,
    load_online_shoppers,
    locate,
    next_page_top_k,
    popularity_top_1,
)

pytestmark = pytest.mark.realdata
FOLDER = data_folder(os.environ, Path(__file__).parents[3])


def require(name):
    try:
        locate(FOLDER, name)
    except DatasetMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(("page_values", "least", "features"), [(True, 0.91, 52), (False, 0.735, 50)])
def test_public_constants_cost_a_central_model_nothing(page_values, least, features):
    """A logistic regression on the fixed features reaches the known central AUC on a held-out fifth."""
    require("online_shoppers")
    linear_model, metrics = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.metrics")
    rows = load_online_shoppers(FOLDER, page_values=page_values)
    assert rows.features.shape == (12_330, features)
    assert rows.labels.sum() == 1_908
    assert (rows.features >= 0).all()
    assert (rows.features <= 1).all()
    train, held_out = rows.split(7)
    assert (len(train), len(held_out)) == (9_864, 2_466)
    model = linear_model.LogisticRegression(max_iter=2_000).fit(train.features, train.labels)
    assert metrics.roc_auc_score(held_out.labels, model.decision_function(held_out.features)) > least


def test_order_one_transitions_predict_msnbc():
    """20,000 devices' exact transitions reach the known central top-1 and top-3; popularity stays far below."""
    require("msnbc")
    drawn = load_msnbc(FOLDER, 20_000, 7)
    counts = count_transitions(drawn.train, len(drawn.categories))
    assert next_page_top_k(counts, drawn.held_out) > 0.64
    assert next_page_top_k(counts, drawn.held_out, k=3) > 0.79
    assert popularity_top_1(drawn.train, drawn.held_out, len(drawn.categories)) < 0.20


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogued_files_are_where_the_catalogue_says(name):
    """Every file of a set that is on this machine has the catalogue's name."""
    require(name)
    for file in CATALOGUE[name].files:
        assert locate(FOLDER, name, file).stat().st_size > 0
