"""A simulated device's data, as studies read it: from planted events, from one row, or from one page sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.events import Session
from models.events.intent import intent_rows
from models.events.profiles import dwell_seconds, profile_of_sessions, profile_vector, transitions
from models.queries.answers import event_features
from models.queries.errors import NothingToReport
from models.queries.measurement import transition_counts
from models.wire.studies import Features
from simulations.populations import ShopDevice

Floats = NDArray[np.float64]


@dataclass
class ShopData:
    """Answers from a planted device's events; they are made when first asked for."""

    device: ShopDevice
    _rows: dict[Features, tuple[Floats, Floats]] = field(default_factory=dict, repr=False)

    @cached_property
    def _sessions(self) -> list[Session]:
        return self.device.sessions()

    def transitions(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """Moves between consecutive pages of a visit."""
        return transitions(self._sessions, categories)

    def dwell_seconds(self) -> Sequence[float]:
        """Visible (simulated) seconds of each page."""
        return dwell_seconds(self._sessions)

    def visits(self) -> int:
        """Visits of the population's 30 days."""
        return len(self._sessions)

    def profile(self, features: Features) -> Floats:
        """The 30-day profile."""
        return profile_vector(profile_of_sessions(self._sessions), event_features(features))

    def rows(self, features: Features) -> tuple[Floats, Floats]:
        """One training row a visit; computed once, since these events no longer change."""
        if features not in self._rows:
            self._rows[features] = intent_rows(self._sessions, event_features(features))
        return self._rows[features]


@dataclass(frozen=True)
class RowData:
    """A device with one labelled row, such as one visit of a public data set, in one or more feature versions."""

    views: Mapping[str, tuple[Features, Floats]]
    """By feature version: what the row's positions mean, and the row."""
    label: float

    def transitions(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """None: the set has no page order."""
        raise NothingToReport(f"this data has no page order (asked for {len(categories)} categories)")

    def dwell_seconds(self) -> Sequence[float]:
        """None."""
        raise NothingToReport("this data has no dwell times per page")

    def visits(self) -> int:
        """One: the row's."""
        return 1

    def profile(self, features: Features) -> Floats:
        """The row itself, where the study asks for these features."""
        known, row = self.views.get(features.version, (None, None))
        if row is None or known != features:
            raise NothingToReport(f"expected features {sorted(self.views)}, got {features.version!r}")
        return row

    def rows(self, features: Features) -> tuple[Floats, Floats]:
        """The one row and its label."""
        return self.profile(features)[None, :], np.array([self.label])


@dataclass(frozen=True)
class SequenceData:
    """A device with one visit: page categories in order, as indices into ``categories``."""

    categories: tuple[str, ...]
    pages: NDArray[np.integer]
    features: Features = field(repr=False)

    def transitions(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """Moves between consecutive pages."""
        if tuple(categories) != self.categories:
            raise NothingToReport("the study names other categories")
        return transition_counts([int(page) for page in self.pages], len(categories)).astype(np.int64)

    def dwell_seconds(self) -> Sequence[float]:
        """None."""
        raise NothingToReport("this data has no dwell times")

    def visits(self) -> int:
        """One: the sequence's."""
        return 1

    def profile(self, features: Features) -> Floats:
        """Share of the pages in each category; they sum to 1, so the norm is at most 1."""
        if features != self.features:
            raise NothingToReport(f"expected features {self.features.version!r}, got {features.version!r}")
        counts = np.bincount(self.pages, minlength=len(self.categories)).astype(np.float64)
        return counts / max(float(counts.sum()), 1.0)

    def rows(self, features: Features) -> tuple[Floats, Floats]:
        """None: there are no labels."""
        raise NothingToReport(f"this data has no labels (asked for {features.version!r})")
