"""The Flower ClientApp of this agent: one app, whatever grid it runs on. It runs installed code on signed data only."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from client_agent.federation.federation import Federation
from client_agent.federation.mods import (
    PARTICIPANT,
    ROUND,
    addressed,
    budget_mod,
    consent_mod,
    empty,
    masking_mod,
    plain,
)
from client_agent.federation.trust import VerifiedRound
from models.queries.answers import DeviceData, answer, from_model_bytes
from models.queries.errors import QueryError
from models.wire.studies import TrainQuery
from privacy.mechanisms import RandomStream

from flwr.app import ConfigRecord, Context, Message, RecordDict  # isort: skip - mods.py has switched telemetry off
from flwr.clientapp import ClientApp  # isort: skip

Data = Callable[[str], DeviceData]
"""A participant's own data, by participant id."""


def build_client_app(federation: Federation, data: Data) -> ClientApp:
    """The app with its mods. ``train`` trains a net on the device, ``query`` answers a question.

    Args:
        federation: admits rounds, charges, masks.
        data: where a participant's own data comes from.
    """
    app = ClientApp(mods=[consent_mod(federation), budget_mod(federation), masking_mod(federation)])

    def compute(message: Message, context: Context) -> Message:
        found, participant_id = addressed(federation, message, context)
        assert found is not None, "the mods let through admitted rounds only"
        vector = compute_answer(found, data(participant_id))
        return empty(message) if vector is None else plain(message, vector)

    app.train()(compute)
    app.query()(compute)
    return app


def compute_answer(found: VerifiedRound, data: DeviceData) -> NDArray[np.float64] | None:
    """One device's plain answer to a round, float64[d]; None where it has nothing to say (device)."""
    query = found.study.query
    try:
        model = from_model_bytes(found.model)
        return _train(query, model, data) if isinstance(query, TrainQuery) else answer(query, data, model)
    except QueryError:
        return None


def _train(query: TrainQuery, model: NDArray[np.float32], data: DeviceData) -> NDArray[np.float64] | None:
    from models.learning.errors import LearningError
    from models.learning.local_training import train
    from models.learning.steps import local_plan_of, net_of

    rows, labels = data.rows(query.features)
    try:
        return train(net_of(query), local_plan_of(query), model, rows, labels, RandomStream(os.urandom(32)))
    except LearningError:
        return None


def round_message(found: VerifiedRound, node_id: int) -> Message:
    """What asks the app for a round; it names the round, and everything else is taken from what was verified."""
    kind = "train" if isinstance(found.study.query, TrainQuery) else "query"
    asked = ConfigRecord({"study_hash": found.study_hash.hex(), "number": found.round})
    return Message(RecordDict({ROUND: asked}), dst_node_id=node_id, message_type=kind)


def participant_context(participant_id: str, node_id: int = 1) -> Context:
    """The Flower context of one participant."""
    config: dict[str, bool | float | int | str] = {PARTICIPANT: participant_id}
    return Context(run_id=1, node_id=node_id, node_config=config, state=RecordDict(), run_config={})
