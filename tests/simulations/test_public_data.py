"""The main job on public data: the same studies at a reduced size, and the batched path against the ClientApp's."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from client_agent.federation.app import compute_answer
from models.learning.steps import first_parameters
from models.queries.answers import to_model_bytes
from models.queries.errors import NothingToReport
from models.wire.studies import Features, Study, TrainQuery
from simulations.demo.plans import Parties
from simulations.engine import Run, Task, _batched
from simulations.fleet.data import SequenceData
from simulations.public_data import msnbc, online_shoppers

PARTIES = Parties("00" * 32, "11" * 32, 1_780_000_000_000)
QUIET = Console(file=io.StringIO())


@dataclasses.dataclass(frozen=True)
class Found:
    """What ``compute_answer`` reads of a verified round."""

    study: Study
    model: bytes


@pytest.mark.realdata
@pytest.mark.parametrize("page_values", [0, 1], ids=["with PageValues", "without"])
def test_batched_gradients_equal_the_client_apps(data_folder: Path, page_values: int) -> None:
    """For real rows, one pass over many devices gives each device's own update to 1e-6."""
    setting = online_shoppers(data_folder, 60, 7)
    study = setting.tasks[page_values].draft([]).build(PARTIES)
    assert isinstance(study.query, TrainQuery)
    start = first_parameters(study.query) + np.random.default_rng(3).normal(0, 0.3, study.plan.dimension)
    found = Found(study, to_model_bytes(start))
    together = _batched(found, setting.data)
    one_by_one = np.stack([compute_answer(found, item) for item in setting.data])
    assert together.shape == one_by_one.shape == (60, study.plan.dimension)
    assert np.abs(one_by_one).max() > 0.01
    assert np.abs(together - one_by_one).max() < 1e-6


@pytest.mark.realdata
@pytest.mark.timeout(240)
def test_a_small_run_on_shoppers_measures_what_it_reports(data_folder: Path, tmp_path: Path) -> None:
    """Two rounds with 400 real visits: both figures, nulls from hidden coins and spent budgets, a composed budget."""
    setting = online_shoppers(data_folder, 400, 7)
    task = setting.tasks[0]
    short = Task(lambda models: dataclasses.replace(task.draft(models), rounds=2), task.judge)
    outcome = Run(dataclasses.replace(setting, tasks=(short,)), 7, QUIET, tmp_path).run()
    (study,) = outcome.studies
    assert (study.rounds, study.kind, study.quality.metric) == (2, "train", "auc")
    assert 0 < study.epsilon_user <= outcome.budget.spent + 1e-9 <= outcome.budget.cap
    assert study.epsilon_local is None
    assert 0 < study.null_reports < study.reports <= 2 * outcome.consented
    assert outcome.spent_at_start >= 4
    assert 0 < study.quality.value < 1  # two rounds of 400 devices are mostly noise: quality is shown by the full run
    assert outcome.canary_hits is None
    assert sum(outcome.share_by_purpose().values()) == pytest.approx(1)


@pytest.mark.realdata
@pytest.mark.timeout(240)
def test_a_small_run_on_page_sequences_predicts_the_next_page(data_folder: Path, tmp_path: Path) -> None:
    """One round with 1,500 real users: top-1 far above popularity (.18), and personas start from that release."""
    setting = msnbc(data_folder, 1_500, 7)
    outcome = Run(dataclasses.replace(setting, tasks=setting.tasks[:1]), 7, QUIET, tmp_path).run()
    (study,) = outcome.studies
    assert study.quality.metric == "top_1"
    assert 0.4 < study.quality.value <= study.quality.central + 0.02  # 300 draws of noise gave .485 to .643
    personas = setting.tasks[1].draft([np.ones(289, dtype=np.float32)])
    assert personas.build(PARTIES).plan.dimension == 8 * 18


def test_a_sequence_answers_only_what_it_has() -> None:
    """Other categories, dwell or rows are nothing to report, and so a null."""
    named = Features(version="page-shares/1", names=("a", "b"))
    data = SequenceData(("a", "b"), np.array([0, 1, 1], dtype=np.int8), named)
    assert data.transitions(("a", "b")).tolist() == [[0, 1], [0, 1]]
    assert data.profile(named).tolist() == pytest.approx([1 / 3, 2 / 3])
    other = Features(version="page-shares/2", names=("a", "b"))
    for ask in (
        lambda: data.transitions(("a", "c")),
        data.dwell_seconds,
        lambda: data.rows(named),
        lambda: data.profile(other),
    ):
        with pytest.raises(NothingToReport):
            ask()
