"""Flower's grid in this process: a strategy's messages go straight to its nodes, without a service or a socket.

Two kinds of node. ``app_node`` is one ClientApp: a plain strategy such as FedAvg sees every reply.
``simulations.cohort.PrivateCohort`` is many ClientApps behind one node: the strategy sees one noisy sum, as over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from models.learning.flower_identity import prepare_flower

prepare_flower()

from flwr.app import Context, Message, RecordDict  # noqa: E402 - telemetry is off first
from flwr.clientapp import ClientApp  # noqa: E402 - telemetry is off first
from flwr.serverapp import Grid  # noqa: E402 - telemetry is off first
from flwr.supercore.run import Run  # noqa: E402 - telemetry is off first

Node = Callable[[Message], Message]
"""Answers a message; what it raises is the caller's to see."""


class InProcessGrid(Grid):
    """A grid whose nodes are called directly, in the order of the messages.

    Args:
        nodes: by node id.
    """

    def __init__(self, nodes: Mapping[int, Node]) -> None:
        self._nodes = dict(nodes)
        self._replies: dict[str, Message] = {}
        self._pushed = 0

    def set_run(self, run: Run) -> None:
        """There is one run: this one."""

    @property
    def run(self) -> Run:
        """There is none."""
        raise RuntimeError("a strategy in process is not a Flower run")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Call the nodes; returns names for ``pull_messages``."""
        names = []
        for message in messages:
            self._pushed += 1
            names.append(str(self._pushed))
            self._replies[names[-1]] = self._nodes[message.metadata.dst_node_id](message)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies, each once."""
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Call the nodes and return their replies; nothing is waited for, so nothing times out."""
        del timeout
        return self.pull_messages(self.push_messages(messages))


def app_node(app: ClientApp, context: Context) -> Node:
    """A node that is one ClientApp with its context."""
    return lambda message: app(message, context)
