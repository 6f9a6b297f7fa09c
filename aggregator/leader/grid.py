"""Flower's grid over the leader's own rounds: a message to the cohort becomes a round, its reply a released sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from aggregator.leader.strategy import COHORT_NODE_ID, CONFIG, METRICS, MODEL, OPENED, ROUND, SUM
from models.learning.flower_identity import prepare_flower

prepare_flower()

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict  # noqa: E402  # telemetry is off first
from flwr.serverapp import Grid  # noqa: E402 - telemetry is off first
from flwr.supercore.run import Run  # noqa: E402 - telemetry is off first

Exchange = Callable[[int, NDArray[np.float32]], tuple[NDArray[np.float64], int] | None]
"""(round, model) to (released sum, opened seals), or None for an abandoned round. Blocks until the round is over."""


class LeaderGrid(Grid):
    """A grid with one node, the cohort.

    Args:
        exchange: runs a round; for a round that was released before it returns the stored release, so that a strategy
            that starts anew after a restart arrives where it was.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._replies: dict[str, Message | None] = {}

    def set_run(self, run: Run) -> None:
        """Flower's run has no meaning here: the study is the run."""

    @property
    def run(self) -> Run:
        """There is none."""
        raise RuntimeError("a study is not a Flower run")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to the cohort."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The cohort."""
        return [COHORT_NODE_ID]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run a round for each message; returns names for ``pull_messages``."""
        names = []
        for message in messages:
            name = message.metadata.group_id
            self._replies[name] = self._run_round(message)
            names.append(name)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies of rounds that were released."""
        replies = (self._replies.pop(name, None) for name in message_ids)
        return [reply for reply in replies if reply is not None]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Run the rounds and return their replies. A round's own window is its time limit."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _run_round(self, message: Message) -> Message | None:
        # Handed over as it is made: a round takes long, and nobody else needs this copy of the model.
        outcome = self._exchange(int(message.content[CONFIG][ROUND]), message.content[MODEL].to_numpy_ndarrays()[0])
        if outcome is None:
            return None
        content = RecordDict({SUM: ArrayRecord([outcome[0]]), METRICS: MetricRecord({OPENED: outcome[1]})})
        return Message(content, reply_to=message)
