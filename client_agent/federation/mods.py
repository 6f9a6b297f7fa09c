"""Flower client mods: consent, budget and masking around the app that computes an answer.

Outermost first: consent (no consent: an empty reply, nothing to send), budget (charge and null; where the coin was
flipped already and said tails, the null is the reply and the app is not asked), masking (the app's plain vector becomes
a masked report, and a coin that was not flipped yet decides whether it or the null stands; an error, NaN or missing
data leaves the null). What comes out of the ClientApp is only ever a masked report, never a plain value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from client_agent.federation.contribution import Reservation, may_contribute
from client_agent.federation.federation import Federation
from client_agent.federation.trust import VerifiedRound
from models.learning.flower_identity import prepare_flower

prepare_flower()

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict  # noqa: E402 - telemetry is off by now

Next = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Next], Message]
ROUND, ANSWER, REPORT = "round", "answer", "report"
"""Names of the records: which round is asked for, the app's plain vector (inside the mods only), the masked report."""
PARTICIPANT = "participant_id"


def consent_mod(federation: Federation) -> Mod:
    """Let a message through only for a participant whose consent covers the study's purpose."""

    def mod(message: Message, context: Context, call_next: Next) -> Message:
        found, participant_id = addressed(federation, message, context)
        if found is None or participant_id not in federation.roster:
            return empty(message)
        federation.roster.refresh_consent()
        if not may_contribute(federation.roster[participant_id], found, federation.now_seconds()):
            return empty(message)
        return call_next(message, context)

    return mod


def budget_mod(federation: Federation) -> Mod:
    """Charge and store the null before the coin; ask the app unless the coin has said tails."""

    def mod(message: Message, context: Context, call_next: Next) -> Message:
        found, participant_id = addressed(federation, message, context)
        assert found is not None, "the consent mod stands before this one"
        reservation = federation.reservation(found.key, participant_id)
        if reservation is None:
            federation.flip_all(federation.reserve_all(found, [participant_id]))
            reservation = federation.reservation(found.key, participant_id)
        if reservation is None:  # withdrawn meanwhile, or answered before a restart: its bytes are on their way
            return empty(message)
        if not reservation.may_be_real:
            federation.finalise(found, [reservation])
            return masked(message, reservation)
        return call_next(message, context)

    return mod


def masking_mod(federation: Federation) -> Mod:
    """Turn the app's plain vector into the report that stands in for the null, and fix it."""

    def mod(message: Message, context: Context, call_next: Next) -> Message:
        found, participant_id = addressed(federation, message, context)
        assert found is not None, "the consent mod stands before this one"
        reservation = federation.reservation(found.key, participant_id)
        assert reservation is not None, "the budget mod stands before this one"
        try:
            vector = _vector(call_next(message, context))
        except Exception:  # noqa: BLE001 - whatever fails on a device, the network sees a null like any other
            # Not a line in a log: logs travel. The count stays on the device.
            federation.note_failure(found)
            vector = None
        federation.answer(reservation, federation.encode_answer(found, vector))
        federation.finalise(found, [reservation])
        return masked(message, reservation)

    return mod


def addressed(federation: Federation, message: Message, context: Context) -> tuple[VerifiedRound | None, str]:
    """The admitted round and the participant that a message is for; the message itself is believed in nothing else."""
    asked = message.content.get(ROUND)
    participant_id = str(context.node_config.get(PARTICIPANT, ""))
    try:
        key = (bytes.fromhex(str(asked["study_hash"])), int(asked["number"]))
    except (TypeError, KeyError, ValueError):
        return None, participant_id
    return federation.round(key), participant_id


def empty(message: Message) -> Message:
    """A reply without content: there is nothing to send."""
    return Message(RecordDict(), reply_to=message)


def masked(message: Message, reservation: Reservation) -> Message:
    """A reply with the report's bytes and its slot."""
    report = ConfigRecord({"frame": reservation.frame(), "slot_ms": reservation.slot_ms})
    return Message(RecordDict({REPORT: report}), reply_to=message)


def plain(message: Message, vector: NDArray[np.float64]) -> Message:
    """The app's reply to the mods around it."""
    return Message(RecordDict({ANSWER: ArrayRecord([vector])}), reply_to=message)


def _vector(reply: Message) -> NDArray[np.float64] | None:
    if not reply.has_content() or ANSWER not in reply.content:
        return None
    return np.asarray(reply.content[ANSWER].to_numpy_ndarrays()[0], dtype=np.float64)
