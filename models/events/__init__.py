"""The micro-interaction vocabulary, sessions, windows and profiles: raw on the device, features for studies."""

from models.events.features import FEATURE_VERSION, FeatureSpec
from models.events.intent import before_purchase, intent_rows, session_features
from models.events.limits import EVENT_VERSION, KINDS
from models.events.profiles import (
    PROFILE_DAYS,
    PROFILE_MS,
    Profile,
    build_profile,
    dwell_seconds,
    profile_of_sessions,
    profile_vector,
    transitions,
)
from models.events.schema import event_schema
from models.events.sessions import SESSION_GAP_SECONDS, Session, sessionise
from models.events.vocabulary import Event, EventKind, Rejected, RejectReason, parse_event
from models.events.windows import SlidingWindow

__all__ = [
    "EVENT_VERSION",
    "FEATURE_VERSION",
    "KINDS",
    "PROFILE_DAYS",
    "PROFILE_MS",
    "SESSION_GAP_SECONDS",
    "Event",
    "EventKind",
    "FeatureSpec",
    "Profile",
    "RejectReason",
    "Rejected",
    "Session",
    "SlidingWindow",
    "before_purchase",
    "build_profile",
    "dwell_seconds",
    "event_schema",
    "intent_rows",
    "parse_event",
    "profile_of_sessions",
    "profile_vector",
    "session_features",
    "sessionise",
    "transitions",
]
