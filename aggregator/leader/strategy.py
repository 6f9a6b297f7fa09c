"""The private sum as a Flower strategy: one reply a round, the noisy sum, whatever the cohort.

The server's arithmetic is ``models.learning.steps``, shared with the simulation engine; this class only speaks Flower.
Import this module in a worker thread: it loads Flower.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.learning.flower_identity import prepare_flower
from models.learning.steps import server_step
from models.wire.studies import Study

prepare_flower()

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict  # noqa: E402  # telemetry is off first
from flwr.serverapp import Grid  # noqa: E402 - telemetry is off first
from flwr.serverapp.strategy import Strategy  # noqa: E402 - telemetry is off first

logging.getLogger("flwr").setLevel(logging.ERROR)

MODEL, SUM, METRICS, CONFIG = "model", "sum", "metrics", "config"
ROUND, OPENED = "round", "opened"
COHORT_NODE_ID = 1
"""The one node that a strategy sees: the cohort as a whole."""


class PrivateSum(Strategy):
    """A study's server side behind Flower's interface.

    The grid's reply carries ``sum`` (one float64 array, the released noisy sum in the vector's own unit) and
    ``metrics`` with ``opened`` (the helper's signed count). A round without a reply was abandoned and leaves the model
    as it is.

    Args:
        study: the approved study.
    """

    def __init__(self, study: Study) -> None:
        self._step = server_step(study.query, study.plan.sampling_rate)
        self.released = 0

    def initial_arrays(self) -> ArrayRecord:
        """The study's public starting model."""
        return ArrayRecord([self._step.model()])

    def final_model(self) -> NDArray[np.float32]:
        """The model to publish."""
        return self._step.final()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message, to the cohort, with the model of this round."""
        del config
        content = RecordDict({MODEL: arrays, CONFIG: ConfigRecord({ROUND: server_round})})
        return [grid.create_message(content, "train", COHORT_NODE_ID, str(server_round))]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """One server step with the released sum."""
        del server_round
        reply = next(iter(replies), None)
        if reply is None:
            return None, None
        metrics = reply.content[METRICS]
        # The reply is used up: a large model's sum is not held twice.
        self._step.apply(_taken_sum(reply.content), int(metrics[OPENED]))
        self.released += 1
        return ArrayRecord([self._step.model()]), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: a metric of the devices would be a release of its own, and so a study of its own."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing."""
        del server_round, replies
        return None

    def summary(self) -> None:
        """Nothing to say: the log is structured and elsewhere."""


def _taken_sum(content: RecordDict) -> NDArray[np.float64]:
    """The reply's sum; the bytes that it is read from are dropped, for nobody else needs them."""
    record = content.array_records.pop(SUM)
    array: NDArray[np.float64] = record.to_numpy_ndarrays()[0]
    return array
