"""The public data sets as settings of the main job: which devices, which studies, how a result is judged.

Plans were chosen by simulating noise on other splits of the same files; the figures quoted anywhere come from runs.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from models.learning.evaluation import auc
from models.learning.nets import scores
from models.learning.steps import net_of
from models.queries import measurement, personas
from models.queries.answers import measurement_question
from models.queries.measurement import MeasurementQuestion
from models.wire.studies import (
    Features,
    LocalStudyPlan,
    PersonasQuery,
    ServerPlan,
    Study,
    TrainQuery,
    TransitionsQuery,
)
from privacy.accounting import Contract
from simulations.datasets import PageSequences, Rows, data_folder, load_msnbc, load_online_shoppers
from simulations.demo.central import central_auc, central_cost
from simulations.demo.outcome import Outcome, Quality, render
from simulations.demo.plans import Draft
from simulations.engine import WINDOW_SECONDS, Model, Run, Setting, Task
from simulations.fleet.data import RowData, SequenceData

CONTRACT = Contract(epsilon=2.0, delta=1e-5, order=10)
"""Device level, zero-out, over all studies of one run together."""
MSNBC_HELD_OUT = 100_000
PERSONAS = 8
_LEAST_SHARE = 0.01
"""A persona with a smaller share of the expected contributors is topped up to it with everybody's mean difference."""


def run_real(name: str, devices: int, seed: int, console: Console, report: Path | None) -> Outcome:
    """Run the main job on a public data set, print the table and write the report.

    Raises:
        DatasetMissing: the files are not there; the message says how to get them.
    """
    folder = data_folder(os.environ, Path(__file__).resolve().parents[1])
    setting = (online_shoppers if name == "online_shoppers" else msnbc)(folder, devices, seed)
    with tempfile.TemporaryDirectory(prefix="hearthside-real-") as scratch:
        outcome = Run(setting, seed, console, Path(scratch)).run()
    render(outcome, {}, console)
    if report is not None:
        outcome.write(report)
    return outcome


def online_shoppers(folder: Path, devices: int, seed: int) -> Setting:
    """One visit a device: will it end in a purchase, with PageValues and without."""
    variants = {
        "online-shoppers/1": load_online_shoppers(folder, page_values=True),
        "online-shoppers-no-page-values/1": load_online_shoppers(folder, page_values=False),
    }
    splits = {version: _cut(*rows.split(seed), devices) for version, rows in variants.items()}
    features = {version: _named(version, train.names) for version, (train, _) in splits.items()}
    count = len(next(iter(splits.values()))[0])
    data = [
        RowData(
            {version: (features[version], train.features[index]) for version, (train, _) in splits.items()},
            float(next(iter(splits.values()))[0].labels[index]),
        )
        for index in range(count)
    ]
    names = {"online-shoppers/1": ("intent", "auc")}
    names["online-shoppers-no-page-values/1"] = ("no-page-values", "auc_no_page_values")
    tasks = tuple(
        Task(
            partial(_intent, names[version][0], features[version], count),
            partial(_judge_intent, names[version][1], splits[version], seed),
        )
        for version in splits
    )
    held_out = len(next(iter(splits.values()))[1])
    note = f"AUC on a held-out fifth ({held_out:,} visits that took no part); central: the same model without privacy"
    return Setting("online_shoppers (UCI 468): one visit a device", "shop.example", data, tasks, CONTRACT, (note,))


def msnbc(folder: Path, devices: int, seed: int) -> Setting:
    """One page sequence a device: page flow, next page, personas."""
    sequences = load_msnbc(folder, devices, seed, held_out=MSNBC_HELD_OUT)
    categories = tuple(sequences.categories)
    features = _named("page-shares/1", categories)
    data = [SequenceData(categories, pages, features) for pages in sequences.train]
    tasks = (
        Task(lambda _: _transitions(categories, devices), partial(_judge_next_page, sequences)),
        Task(
            lambda models: _personas(features, models[0], len(categories), devices) if models else _later(),
            partial(_judge_personas, sequences, features, seed),
        ),
    )
    note = f"top-1 and cost on {len(sequences.held_out):,} other users; a smaller test set moves top-1 by about .01"
    return Setting("msnbc (UCI 133): one page sequence a device", "news.example", data, tasks, CONTRACT, (note,))


def _later() -> Draft:
    raise ValueError("the personas start from the released page flow: run that first")


def _named(version: str, names: tuple[str, ...]) -> Features:
    return Features(version=version, names=tuple(name.lower() for name in names))


def _cut(train: Rows, held_out: Rows, devices: int) -> tuple[Rows, Rows]:
    kept = min(devices, len(train))
    return Rows(train.features[:kept], train.labels[:kept], train.names), held_out


def _intent(study_id: str, features: Features, devices: int, models: list[Model]) -> Draft:  # noqa: ARG001 - Task's signature
    return Draft(
        study_id=study_id,
        title="Purchase intent",
        summary="A small model that scores how likely a visit is to end in a purchase.",
        purpose="intent",
        query=TrainQuery(
            features=features,
            initial_prior=0.2,
            local=LocalStudyPlan(
                noise_multiplier=0.0, clip_norm=1.5, steps=1, maximum_rows=1, denominator=1.0, learning_rate=1.0
            ),
            server=ServerPlan(learning_rate=6.0, momentum=0.9, final_average=4),
        ),
        rounds=12,
        sampling_rate=0.5,
        noise_multiplier=5.81,
        window_seconds=WINDOW_SECONDS,
        epsilon_cap=2.0,
        clip_norm=1.5,
        maximum_cohort=max(devices, 1_000),
    )


def _transitions(categories: tuple[str, ...], devices: int) -> Draft:
    return Draft(
        study_id="page-flow",
        title="Page flow",
        summary="How visitors move between page categories, as one noisy total.",
        purpose="measurement",
        query=TransitionsQuery(categories=categories),
        rounds=1,
        sampling_rate=0.5,
        noise_multiplier=3.5,
        window_seconds=WINDOW_SECONDS,
        epsilon_cap=2.0,
        maximum_cohort=max(devices, 1_000),
    )


def _personas(features: Features, flow: Model, categories: int, devices: int) -> Draft:
    popular = measurement.popularity(MeasurementQuestion(categories), flow.astype(np.float64))
    rate = 0.5
    return Draft(
        study_id="personas",
        title="Personas",
        summary="Average page shares of eight large groups of visitors.",
        purpose="persona",
        query=PersonasQuery(
            clusters=PERSONAS,
            features=features,
            radius=0.7,
            start_weights=tuple(float(share) for share in popular),
            least_count=_LEAST_SHARE * devices * rate,
        ),
        rounds=6,
        sampling_rate=rate,
        noise_multiplier=5.5,
        window_seconds=WINDOW_SECONDS,
        epsilon_cap=2.0,
        maximum_cohort=max(devices, 1_000),
    )


def _judge_intent(metric: str, split: tuple[Rows, Rows], seed: int, study: Study, model: Model) -> Quality:
    train, held_out = split
    assert isinstance(study.query, TrainQuery), "an intent study trains"
    figure = auc(scores(net_of(study.query), model, held_out.features), held_out.labels)
    central = central_auc((train.features, train.labels), (held_out.features, held_out.labels), 0, seed)
    return Quality(metric, figure, central)


def _judge_next_page(sequences: PageSequences, study: Study, model: Model) -> Quality:
    assert isinstance(study.query, TransitionsQuery), "a page flow study asks for transitions"
    question = measurement_question(study.query)
    released = measurement.decode(question, model.astype(np.float64))
    pooled = measurement.central(question, sequences.train)
    return Quality(
        "top_1",
        measurement.top_1(released.transitions, sequences.held_out),
        measurement.top_1(pooled, sequences.held_out),
    )


def _judge_personas(sequences: PageSequences, features: Features, seed: int, study: Study, model: Model) -> Quality:
    assert isinstance(study.query, PersonasQuery), "a personas study clusters"
    categories = tuple(sequences.categories)
    train, held_out = (
        np.array([SequenceData(categories, pages, features).profile(features) for pages in part])
        for part in (sequences.train, sequences.held_out)
    )
    centroids = model.astype(np.float64).reshape(study.query.clusters, -1)
    best = central_cost(train, held_out, study.query.clusters, seed)
    return Quality("cost_ratio", personas.cost_ratio(held_out, centroids, best), 1.0)
