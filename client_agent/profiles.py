"""A participant's own data as studies ask for it, computed from the raw events in the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from client_agent.store import AgentStore
from models.events import (
    PROFILE_MS,
    Event,
    Rejected,
    Session,
    build_profile,
    dwell_seconds,
    intent_rows,
    parse_event,
    profile_vector,
    sessionise,
    transitions,
)
from models.queries.answers import event_features
from models.wire.studies import Features

Floats = NDArray[np.float64]


def stored_events(store: AgentStore, participant_id: str, now_ms: int) -> list[Event]:
    """The last 30 days' events of a participant, in order of arrival; a row of an unknown form is left out."""
    return read_events(event_texts(store, participant_id, now_ms))


def event_texts(store: AgentStore, participant_id: str, now_ms: int) -> list[str]:
    """The last 30 days' events of a participant as they were stored, JSON, in order of arrival."""
    since_ms = max(0, now_ms - PROFILE_MS)
    return [body for _, body in store.events_of(participant_id, since_ms)]


def read_events(texts: Iterable[str]) -> list[Event]:
    """Stored events parsed; one of an unknown form is left out."""
    parsed = (parse_event(json.loads(body)) for body in texts)
    return [event for event in parsed if not isinstance(event, Rejected)]


class EventData:
    """``models.queries.answers.DeviceData`` over one person's events.

    Args:
        events: in order of arrival.
        now_ms: the present; profiles look back 30 days from here.
    """

    def __init__(self, events: list[Event], now_ms: int) -> None:
        self._events = events
        self._now_ms = now_ms

    @cached_property
    def _sessions(self) -> list[Session]:
        return sessionise(self._events)

    def transitions(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """Moves between consecutive pages of a visit."""
        return transitions(self._sessions, categories)

    def dwell_seconds(self) -> Sequence[float]:
        """Visible seconds of each page."""
        return dwell_seconds(self._sessions)

    def visits(self) -> int:
        """Visits of the last 30 days."""
        return build_profile(self._events, self._now_ms).visits

    def profile(self, features: Features) -> Floats:
        """The 30-day profile."""
        return profile_vector(build_profile(self._events, self._now_ms), event_features(features))

    def rows(self, features: Features) -> tuple[Floats, Floats]:
        """One training row a visit."""
        return intent_rows(self._sessions, event_features(features))
