"""The one place that touches a Flower internal.

``flwr.app.Message`` reads the ids of the running task from ``flwr.supercore.task_identity.TaskIdentity``, which only
Flower's own processes set. Our grids create messages outside of those, so it is set here, and nowhere else. A test
fails loudly when Flower moves the name. Telemetry is switched off before Flower is imported for the first time.
"""

from __future__ import annotations

import os
import sys

from models.learning.errors import FlowerMoved

TELEMETRY = "FLWR_TELEMETRY_ENABLED"
"""Environment variable that Flower reads once, when it is imported."""


def prepare_flower(*, task_id: int = 1, run_id: int = 1, node_id: int = 1) -> None:
    """Switch Flower's telemetry off and let this process create Flower messages. Call before importing ``flwr``.

    Safe to call again. Ids that a Flower process has already set are left alone.

    Raises:
        FlowerMoved: Flower was imported with telemetry on, or no longer has the identity where it used to be.
    """
    if "flwr" in sys.modules and os.environ.get(TELEMETRY) != "0":
        raise FlowerMoved(f"expected {TELEMETRY}=0 before the first import of flwr; call prepare_flower() first")
    os.environ[TELEMETRY] = "0"
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError as error:
        raise FlowerMoved("expected flwr.supercore.task_identity.TaskIdentity; Flower has moved it") from error
    for name, value in (("task_id", task_id), ("run_id", run_id), ("node_id", node_id)):
        if not hasattr(type(TaskIdentity), name):
            raise FlowerMoved(f"expected TaskIdentity.{name}; Flower has changed it")
        if getattr(TaskIdentity, f"_{name}", None) is None:
            setattr(TaskIdentity, name, value)
