"""The Flower ClientApp of this agent: one app, whatever grid it runs on. It runs installed code on signed data only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client_agent.federation.answering import answer_question
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
from models.queries.answers import DeviceData
from models.wire.studies import Study, TrainQuery

from flwr.app import ConfigRecord, Context, Message, RecordDict  # isort: skip - mods.py has switched telemetry off
from flwr.clientapp import ClientApp  # isort: skip

Data = Callable[[str], DeviceData]
"""A participant's own data, by participant id."""
Answers = Callable[[VerifiedRound, str], NDArray[np.float64] | None]
"""A participant's plain answer to a round, float64[d]; None where there is none."""


class Asked(Protocol):
    """What is read of a round to answer it."""

    @property
    def study(self) -> Study:
        """The study."""
        ...

    @property
    def model(self) -> bytes:
        """The round's model."""
        ...


def build_client_app(federation: Federation, data: Data) -> ClientApp:
    """The app with its mods, computing in this process. ``train`` trains a net, ``query`` answers a question.

    Args:
        federation: admits rounds, charges, masks.
        data: where a participant's own data comes from.
    """

    def answer(found: VerifiedRound, who: str) -> NDArray[np.float64] | None:
        reservation = federation.reservation(found.key, who)
        return compute_answer(found, data(who), () if reservation is None else reservation.granted)

    return build_answering_app(federation, answer)


def build_answering_app(federation: Federation, answers: Answers) -> ClientApp:
    """The app with its mods around answers that are computed elsewhere.

    Args:
        federation: admits rounds, charges, masks.
        answers: where a participant's plain answer comes from.
    """
    app = ClientApp(mods=[consent_mod(federation), budget_mod(federation), masking_mod(federation)])

    def compute(message: Message, context: Context) -> Message:
        found, participant_id = addressed(federation, message, context)
        assert found is not None, "the mods let through admitted rounds only"
        vector = answers(found, participant_id)
        return empty(message) if vector is None else plain(message, vector)

    app.train()(compute)
    app.query()(compute)
    return app


def compute_answer(found: Asked, data: DeviceData, granted: Collection[str] = ()) -> NDArray[np.float64] | None:
    """One device's plain answer to a round, float64[d], in this process; None where it has nothing to say (device)."""
    return answer_question(found.study.query, found.model, data, granted)


def round_message(found: VerifiedRound, node_id: int) -> Message:
    """What asks the app for a round; it names the round, and everything else is taken from what was verified."""
    kind = "train" if isinstance(found.study.query, TrainQuery) else "query"
    asked = ConfigRecord({"study_hash": found.study_hash.hex(), "number": found.round})
    return Message(RecordDict({ROUND: asked}), dst_node_id=node_id, message_type=kind)


def participant_context(participant_id: str, node_id: int = 1) -> Context:
    """The Flower context of one participant."""
    config: dict[str, bool | float | int | str] = {PARTICIPANT: participant_id}
    return Context(run_id=1, node_id=node_id, node_config=config, state=RecordDict(), run_config={})
