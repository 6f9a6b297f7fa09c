"""What a decision reads: facts about one person on one site, computed on the device from that person's own events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.events import Event, Profile, Session, build_profile, profile_vector, session_features, sessionise
from models.events.features import DWELL_PREFIX
from models.queries.answers import event_features
from models.queries.errors import NothingToReport
from models.wire.bundle import Bundle


@dataclass(frozen=True)
class PersonFeatures:
    """Inputs of a decision. They stay on the device.

    Attributes:
        profile: readable facts for rules (see ``profile_facts``).
        profile_vector: float64[p] for personas; None when there is nothing yet or the features are unknown.
        session_vector: float64[f] for intent; None likewise.
        context: page and moment: ``category``, ``path``, ``hour``, ``weekend`` and what the caller adds.
    """

    profile: Mapping[str, Any]
    profile_vector: NDArray[np.float64] | None = None
    session_vector: NDArray[np.float64] | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


def categories_of(bundle: Bundle) -> tuple[str, ...]:
    """The site's categories as the bundle's models know them, in their order."""
    if bundle.personas is not None:
        return tuple(
            name.removeprefix(DWELL_PREFIX) for name in bundle.personas.features.names if name.startswith(DWELL_PREFIX)
        )
    return bundle.transitions.categories if bundle.transitions is not None else ()


def features_of(
    events: Sequence[Event], bundle: Bundle, now_ms: int, context: Mapping[str, Any] | None = None
) -> PersonFeatures:
    """Compute a person's features for this bundle. Run on the device.

    A vector is left out when the bundle's features are not the ones that this version computes: the person then has
    no persona or intent, and nothing is guessed.

    Args:
        events: of one person on one site, any order.
        bundle: the verified bundle.
        now_ms: the present, ms since 1970.
        context: facts about the page and the moment.
    """
    begun = [session for session in sessionise(events) if session.started_ms <= now_ms]
    return features_of_profile(build_profile(events, now_ms), begun[-1] if begun else None, bundle, context)


def features_of_profile(
    profile: Profile, running: Session | None, bundle: Bundle, context: Mapping[str, Any] | None = None
) -> PersonFeatures:
    """As ``features_of``, from a profile that was summed up elsewhere and the last visit that has begun, if any."""
    return PersonFeatures(
        profile=profile_facts(profile, categories_of(bundle)),
        profile_vector=_profile_vector(profile, bundle) if running is not None else None,
        session_vector=_session_vector(running, bundle) if running is not None else None,
        context=dict(context or {}),
    )


def profile_facts(profile: Profile, categories: Sequence[str]) -> dict[str, Any]:
    """A profile in words that rules can use; counts are plain counts over 30 days, shares are 0..1."""
    kinds = profile.kinds
    return {
        "visits": profile.visits,
        "active_days": profile.active_days,
        "page_views": kinds.get("page_view", 0),
        "searches": kinds.get("search", 0),
        "carts": kinds.get("add_to_cart", 0),
        "purchases": kinds.get("purchase", 0),
        "dwell_seconds": float(sum(profile.dwell_seconds.values())),
        "mean_price": profile.price_sum / profile.priced_pages if profile.priced_pages else 0.0,
        "dwell_share": {category: profile.dwell_share(category) for category in categories},
        "page_share": {category: profile.page_share(category) for category in categories},
    }


def _profile_vector(profile: Profile, bundle: Bundle) -> NDArray[np.float64] | None:
    if bundle.personas is None:
        return None
    try:
        return profile_vector(profile, event_features(bundle.personas.features))
    except (NothingToReport, ValueError):
        return None


def _session_vector(running: Session, bundle: Bundle) -> NDArray[np.float64] | None:
    if bundle.intent is None:
        return None
    try:
        return session_features(running, event_features(bundle.intent.features))
    except (NothingToReport, ValueError):
        return None
