"""What a person's events come to, read one visit after the other, however many events there are."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from client_agent.store import AgentStore
from models.events import (
    PROFILE_MS,
    SESSION_GAP_SECONDS,
    Event,
    Profile,
    Session,
    parse_event,
    profile_of_sessions,
    sessionise,
)
from models.personalisation import Decision, PreparedBundle, decide, features_of_profile, profile_facts


@dataclass(frozen=True, slots=True)
class Summary:
    """What decisions are made from: the 30-day profile and the running visit.

    Attributes:
        profile: of the visits that are over by now.
        running: the last visit that has begun; None before the first.
    """

    profile: Profile
    running: Session | None

    def facts(self) -> Mapping[str, Any]:
        """The profile's figures by name, in the words that rules use."""
        categories = sorted(self.profile.pages.keys() | self.profile.dwell_seconds.keys())
        return profile_facts(self.profile, categories)

    def decide(self, prepared: PreparedBundle, now_ms: int) -> Decision:
        """What a bundle makes of it now, as on a page of no category."""
        return decide(prepared, features_of_profile(self.profile, self.running, prepared.bundle, moment_of(now_ms)))


def summarise(store: AgentStore, participant_id: str, now_ms: int) -> Summary:
    """Compute a participant's summary: the same as ``build_profile`` over all events, in the memory of one visit."""
    running: Session | None = None

    def over() -> Iterator[Session]:
        nonlocal running
        for session in stored_sessions(store, participant_id, now_ms):
            running = session if session.started_ms <= now_ms else running
            if now_ms - PROFILE_MS < session.started_ms and session.ended_ms <= now_ms:
                yield session

    return Summary(profile_of_sessions(over()), running)


def stored_sessions(store: AgentStore, participant_id: str, now_ms: int) -> Iterator[Session]:
    """The last 30 days' visits in the order of their times. A row of an unknown form is left out."""
    visit: list[Event] = []
    for _, body in store.events.stream_by_time(participant_id, max(0, now_ms - PROFILE_MS)):
        event = parse_event(json.loads(body))
        if not isinstance(event, Event):
            continue
        if visit and event.at_ms - visit[-1].at_ms > 1_000 * SESSION_GAP_SECONDS:
            yield from sessionise(visit)
            visit = []
        visit.append(event)
    yield from sessionise(visit)


def moment_of(now_ms: int) -> dict[str, Any]:
    """The facts about a moment that rules may use: its hour, and whether it is at a weekend (UTC)."""
    moment = dt.datetime.fromtimestamp(now_ms / 1_000, dt.UTC)
    return {"hour": moment.hour, "weekend": moment.isoweekday() > 5}  # noqa: PLR2004 - Saturday is 6
