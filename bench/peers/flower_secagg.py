"""Flower's real SecAgg+ (its workflow and its client mod) over a grid in this process: CPU seconds of each side.

Run in Flower's own environment: ``python flower_secagg.py CLIENTS ENTRIES``. Prints one JSON object. No network and no
serialisation are counted, which favours Flower.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import sys
import time
from collections.abc import Iterable

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, ServerConfig
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

TOLERANCE = 1e-2


class ProcessGrid(Grid):
    """Delivers messages to client apps in this process and counts their CPU time."""

    def __init__(self, apps: dict[int, tuple[ClientApp, Context]]) -> None:
        self._apps = apps
        self._run = Run.create_empty(1)
        self.client_seconds = dict.fromkeys(apps, 0.0)
        self.upload_bytes = 0

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._apps)

    def push_messages(self, messages):
        raise NotImplementedError("the workflow uses send_and_receive alone")

    def pull_messages(self, message_ids):
        raise NotImplementedError("the workflow uses send_and_receive alone")

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for sent in messages:
            message = copy.deepcopy(sent)  # as if it had travelled: the mod changes what it is given
            app, context = self._apps[message.metadata.dst_node_id]
            started = time.process_time()
            replies.append(app(message, context))
            self.client_seconds[message.metadata.dst_node_id] += time.process_time() - started
            self.upload_bytes = max(self.upload_bytes, _bytes_of(replies[-1]))
        return replies


def _bytes_of(message: Message) -> int:
    """Array and byte values of a reply: what must travel, whatever the encoding around it."""
    content = message.content
    arrays = sum(len(array.data) for record in content.array_records.values() for array in record.values())
    values = (value for record in content.config_records.values() for value in record.values())
    listed = (item for value in values for item in (value if isinstance(value, list) else [value]))
    return arrays + sum(len(item) for item in listed if isinstance(item, bytes))


def _update(node: int, entries: int) -> np.ndarray:
    return np.random.default_rng(node).standard_normal(entries).astype(np.float32)


def _client(entries: int) -> ClientApp:
    app = ClientApp(mods=[secaggplus_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        update = ndarrays_to_parameters([_update(context.node_id, entries)])
        result = FitRes(Status(Code.OK, ""), update, 1, {})
        return Message(compat.fitres_to_recorddict(result, keep_input=False), reply_to=message)

    return app


def main(clients: int, entries: int) -> None:
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    nodes = range(1, clients + 1)
    grid = ProcessGrid({n: (_client(entries), Context(1, n, {}, RecordDict(), {})) for n in nodes})
    strategy = FedAvg(fraction_fit=1.0, min_fit_clients=clients, min_available_clients=clients)
    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), ServerConfig(1), strategy)
    for node in nodes:
        context.client_manager.register(GridClientProxy(node_id=node, grid=grid, run_id=1))
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1, Key.START_TIME: 0.0})
    start = ndarrays_to_parameters([np.zeros(entries, dtype=np.float32)])
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(start, keep_input=True)
    started = time.process_time()
    SecAggPlusWorkflow(num_shares=min(33, clients), reconstruction_threshold=min(17, clients - 1))(grid, context)
    total = time.process_time() - started
    of_clients = sum(grid.client_seconds.values())
    summed = compat.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], keep_input=True)
    mean = np.mean([_update(node, entries) for node in nodes], axis=0)
    error = float(np.abs(parameters_to_ndarrays(summed)[0] - mean).max())
    if not error < TOLERANCE:
        raise SystemExit(f"the workflow did not sum: largest error {error:.3g}")
    figures = {
        "client_ms": of_clients / clients * 1e3,
        "server_ms": (total - of_clients) * 1e3,
        "upload_bytes": grid.upload_bytes,
        "clients": clients,
    }
    print(json.dumps(figures))


main(int(sys.argv[1]), int(sys.argv[2]))
