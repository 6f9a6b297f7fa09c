"""From a study's wire query to its question, and from a device's data to its answer. One place for both ends.

``DeviceData`` is what a study may ask of a device. The agent answers from its store, a simulation from arrays; a study
that asks for features the device does not know gets ``NothingToReport``, and so a null report.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.events.features import DWELL_PREFIX, FeatureSpec
from models.queries import coverage, measurement, personas
from models.queries.coverage import CoverageQuestion
from models.queries.errors import NothingToReport, QuestionInvalid, ShapeMismatch
from models.queries.measurement import MeasurementQuestion
from models.queries.personas import PersonaQuestion
from models.wire.studies import CoverageQuery, Features, PersonasQuery, TransitionsQuery

Vector = NDArray[np.float64]
Flat = NDArray[np.float32]
FLOAT_BYTES = 4
_EVENT_FEATURES: dict[str, Literal["profile", "session"]] = {"profile/1": "profile", "session/1": "session"}


class DeviceData(Protocol):
    """One person's data on one site, as questions read it. Raises ``NothingToReport`` where there is none."""

    def transitions(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """Moves between consecutive pages of a visit, int64[C, C], row = from."""
        ...

    def dwell_seconds(self) -> Sequence[float]:
        """Visible seconds of each page."""
        ...

    def visits(self) -> int:
        """Visits in the last 30 days; 0 is an answer too."""
        ...

    def profile(self, features: Features) -> Vector:
        """The profile vector with these features, float64[p]."""
        ...

    def rows(self, features: Features) -> tuple[Vector, Vector]:
        """Training rows float64[n, f] with these features and labels float64[n], oldest first."""
        ...


def event_features(features: Features) -> FeatureSpec:
    """The event features that a study names: ``profile/1`` or ``session/1`` over the categories in its names.

    Raises:
        NothingToReport: this agent does not know the version, or gives its positions other names.
    """
    kind = _EVENT_FEATURES.get(features.version)
    categories = tuple(name.removeprefix(DWELL_PREFIX) for name in features.names if name.startswith(DWELL_PREFIX))
    if kind is None or not categories:
        raise NothingToReport(f"expected features {sorted(_EVENT_FEATURES)}, got {features.version!r}")
    spec = FeatureSpec(kind, categories)
    if spec.names != features.names:
        raise NothingToReport(f"the positions of {features.version!r} have other names here")
    return spec


def named_features(spec: FeatureSpec) -> Features:
    """How a study names event features."""
    return Features(version=f"{spec.kind}/{spec.version}", names=spec.names)


def measurement_question(query: TransitionsQuery) -> MeasurementQuestion:
    """The question that a wire query asks."""
    return MeasurementQuestion(len(query.categories), query.dwell_edges_seconds, query.dwell_share)


def coverage_question(query: CoverageQuery) -> CoverageQuestion:
    """The question that a wire query asks."""
    return CoverageQuestion(query.visit_edges, len(query.purposes))


def persona_question(query: PersonasQuery) -> PersonaQuestion:
    """The question that a wire query asks."""
    return PersonaQuestion(query.clusters, len(query.features.names), query.radius)


def first_centroids(query: PersonasQuery) -> Vector:
    """The public start of a personas study, float64[k, p]."""
    question = persona_question(query)
    if query.start_weights:
        background = np.asarray(query.start_background, dtype=np.float64) if query.start_background else None
        if background is not None and background.shape != (question.profile_size,):
            raise ShapeMismatch(f"expected {question.profile_size} background values, got {background.size}")
        weights = np.asarray(query.start_weights, dtype=np.float64)
        return personas.anchored_start(question, weights, pull=query.start_pull, background=background)
    return personas.spread_start(question, query.start_seed)


def answer(
    query: TransitionsQuery | CoverageQuery | PersonasQuery,
    data: DeviceData,
    model: Flat,
    granted: Collection[str] = (),
) -> Vector:
    """A device's plain answer to a measuring query, norm at most the question's bound (device).

    Args:
        query: what is asked.
        data: the device's own data.
        model: the round's published model: centroids for personas, empty for the other questions.
        granted: the purposes that this person's choices allowed when the device took its place in the round.

    Raises:
        NothingToReport: the device has nothing to say; it sends a null.
        ShapeMismatch: the model does not fit the query.
    """
    if isinstance(query, TransitionsQuery):
        question = measurement_question(query)
        dwell = data.dwell_seconds() if question.dwell_bins else ()
        return measurement.encode_counts(question, data.transitions(query.categories), dwell)
    if isinstance(query, CoverageQuery):
        answers = [purpose in granted for purpose in query.purposes]
        return coverage.encode(coverage_question(query), data.visits(), answers)
    asked = persona_question(query)
    return personas.encode(asked, data.profile(query.features), centroids_of(asked, model))


def centroids_of(question: PersonaQuestion, model: Flat) -> Vector:
    """Read flat parameters as float64[k, p] centroids."""
    if model.shape != (question.clusters * question.profile_size,):
        raise ShapeMismatch(f"expected {question.clusters} x {question.profile_size} centroids, got {model.shape}")
    return model.astype(np.float64).reshape(question.clusters, question.profile_size)


def to_model_bytes(flat: NDArray[np.floating]) -> bytes:
    """Parameters as they travel: flat little-endian float32."""
    return np.ascontiguousarray(flat, dtype="<f4").tobytes()


def from_model_bytes(data: bytes) -> Flat:
    """Read travelling parameters.

    Raises:
        QuestionInvalid: not a whole number of finite float32 values.
    """
    if len(data) % FLOAT_BYTES:
        raise QuestionInvalid(f"expected a whole number of float32 values, got {len(data)} bytes")
    flat = np.frombuffer(data, dtype="<f4")
    if not np.isfinite(flat).all():
        raise QuestionInvalid("expected finite parameters, got NaN or infinity")
    return flat.astype(np.float32)
