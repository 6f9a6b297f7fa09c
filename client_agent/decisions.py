"""From a visitor's events to a decision, under consent. Everything here stays on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client_agent.gateway.ports import Visitor
from client_agent.retention import SIGNAL_OF_KIND
from client_agent.summaries import moment_of
from consent import PERSONALISATION, PURPOSES, ConsentState, Signals, decide
from models.personalisation import Decision, features_of
from models.personalisation import decide as decide_content


def collectable_kinds(state: ConsentState, signals: Signals, now_ms: int) -> frozenset[str]:
    """The kinds of event that may be stored now: those that some granted purpose declares to read."""
    declared = {
        signal
        for purpose in PURPOSES
        if decide("collect", purpose.id, state, signals, now_ms // 1_000).allowed
        for signal in purpose.signals
    }
    return frozenset(kind for kind, signal in SIGNAL_OF_KIND.items() if signal in declared)


def may_personalise(state: ConsentState, signals: Signals, now_ms: int) -> bool:
    """Whether what is stored may be read to choose content."""
    return decide("use", PERSONALISATION, state, signals, now_ms // 1_000).allowed


def decision_for(visitor: Visitor, signals: Signals, context: Mapping[str, Any] | None = None) -> Decision | None:
    """Decide what this visitor's page shows; None without consent or without a bundle.

    Args:
        visitor: the person on this site.
        signals: what accompanies this moment.
        context: ``category`` and ``path`` of the page.
    """
    now_ms = visitor.now_ms()
    prepared = visitor.bundle()
    if prepared is None or not may_personalise(visitor.consent(), signals, now_ms):
        return None
    facts = {**moment_of(now_ms), **(context or {})}
    return decide_content(prepared, features_of(visitor.events(), prepared.bundle, now_ms, facts))
