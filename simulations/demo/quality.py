"""How good the demo's releases are, beside the centralised non-private figure on the same data.

Only a simulation can compute this: it reads every device's data at once. Test figures are on further simulated
visitors who took no part.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.events.features import FeatureSpec
from models.events.intent import intent_rows
from models.events.profiles import profile_of_sessions, profile_vector
from models.learning.evaluation import auc
from models.learning.nets import Net, scores
from models.queries import coverage, measurement, personas
from models.queries.answers import coverage_question, measurement_question
from models.queries.noisy_mean import bounded
from models.wire.studies import CoverageQuery, PersonasQuery, Study, TrainQuery, TransitionsQuery
from simulations.demo.central import central_auc, central_cost
from simulations.demo.outcome import Quality
from simulations.populations import CATEGORIES, ShopPopulation

Floats = NDArray[np.float64]
Flat = NDArray[np.float32]
HELD_OUT_SHARE = 4
"""One further visitor for every so many participants."""
_HELD_OUT_SEED = 100_003


@dataclass(frozen=True)
class _Everything:
    """What a server that collects everybody's raw data would have."""

    visits: list[list[int]]
    profiles: Floats
    rows: Floats
    labels: Floats


class Central:
    """The non-private figures, computed in the background while the studies run."""

    def __init__(self, devices: int, seed: int) -> None:
        self._seed = seed
        self._pool = ThreadPoolExecutor(1)
        self._train: Future[_Everything] = self._pool.submit(_collect, devices, seed)
        self._test: Future[_Everything] = self._pool.submit(
            _collect, max(devices // HELD_OUT_SHARE, 50), seed + _HELD_OUT_SEED
        )

    def quality(self, study: Study, model: Flat) -> Quality:
        """A study's figure beside the central one.

        Args:
            study: the finished study.
            model: its published model, flat.
        """
        train, test = self._train.result(), self._test.result()
        query = study.query
        if isinstance(query, TransitionsQuery):
            return _next_page(query, model, train, test)
        if isinstance(query, CoverageQuery):
            return _half_width(study, query, model)
        if isinstance(query, PersonasQuery):
            return _cost(query, model, train, test, self._seed)
        return _intent(query, model, train, test, self._seed)

    def close(self) -> None:
        """Stop the background work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _collect(devices: int, seed: int) -> _Everything:
    population = ShopPopulation(devices, seed)
    profile, session = FeatureSpec("profile", CATEGORIES), FeatureSpec("session", CATEGORIES)
    profiles, rows, labels = [], [], []
    for device in population:
        sessions = device.sessions()
        profiles.append(bounded(profile_vector(profile_of_sessions(sessions), profile)))
        features, bought = intent_rows(sessions, session)
        rows.append(features)
        labels.append(bought)
    records = population.records
    pages, offsets = records.pages.category.tolist(), records.page_offsets.tolist()
    visits = [pages[first:last] for first, last in pairwise(offsets)]
    return _Everything(visits, np.array(profiles), np.concatenate(rows), np.concatenate(labels))


def _next_page(query: TransitionsQuery, model: Flat, train: _Everything, test: _Everything) -> Quality:
    question = measurement_question(query)
    released = measurement.decode(question, model.astype(np.float64))
    pooled = measurement.central(question, train.visits)
    return Quality(
        "top_1", measurement.top_1(released.transitions, test.visits), measurement.top_1(pooled, test.visits)
    )


def _half_width(study: Study, query: CoverageQuery, model: Flat) -> Quality:
    """Mean half width of the intervals, over bands and purposes; without privacy a count would be exact."""
    parameters, rate = study.plan.parameters(), study.plan.sampling_rate
    total = np.rint(model.astype(np.float64) * parameters.scale).astype(np.int64)
    tally = coverage.decode(coverage_question(query), total, parameters, sampling_rate=rate, rounds=study.rounds)
    found = [coverage.coverage_of(tally, index) for index in range(len(query.purposes))]
    return Quality("half_width", float(np.mean([b.interval.half_width for one in found for b in one.bands])), 0.0)


def _cost(query: PersonasQuery, model: Flat, train: _Everything, test: _Everything, seed: int) -> Quality:
    centroids = model.astype(np.float64).reshape(query.clusters, -1)
    best = central_cost(train.profiles, test.profiles, query.clusters, seed)
    return Quality("cost_ratio", personas.cost_ratio(test.profiles, centroids, best), 1.0)


def _intent(query: TrainQuery, model: Flat, train: _Everything, test: _Everything, seed: int) -> Quality:
    figure = auc(scores(Net(len(query.features.names), query.hidden), model, test.rows), test.labels)
    central = central_auc((train.rows, train.labels), (test.rows, test.labels), query.hidden, seed)
    return Quality("auc", figure, central)
