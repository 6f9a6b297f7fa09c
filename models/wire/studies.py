"""A study: the signed question or training plan. Everything that influences a release is a constant in here.

The study's canonical bytes are what the analyst proposes, the officer signs, the log records and each device checks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from consent.purposes import INTENT, MEASUREMENT, PERSONA
from models.wire.limits import LONGEST_WINDOW_SECONDS
from models.wire.message import Hex32, Message, Milliseconds, Slug, Text
from privacy.accounting import SumEvent
from privacy.accounting.events import MINIMUM_NOISE_MULTIPLIER, MINIMUM_SAMPLING_RATE
from privacy.crypto import digest
from privacy.secure_sum import SumParameters

APPROVAL_TYPE = "hearthside-approval+jwt"
"""JWS type of an officer's decision (``Decision``)."""


def _noise_or_none(multiplier: float) -> float:
    if 0 < multiplier < MINIMUM_NOISE_MULTIPLIER:
        raise ValueError(f"expected 0 or at least {MINIMUM_NOISE_MULTIPLIER:g}: below that no event prices it")
    return multiplier


Positive = Annotated[float, Field(gt=0, le=1e9)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.:/ -]{0,62}$")]


class SumPlan(Message):
    """The private sum that each round runs (DESIGN, the one primitive).

    ``clip_norm`` is the L2 bound of one device's vector; ``sensitivity`` the integer bound after encoding (zero-out,
    device level); ``noise_multiplier`` is the noise of *each* server in units of ``sensitivity``.
    """

    dimension: Annotated[int, Field(ge=1, le=1_000_000)]
    clip_norm: Positive
    sensitivity: Annotated[int, Field(ge=1, lt=2**40)]
    noise_multiplier: Annotated[float, Field(ge=0.1, le=1_000)]
    sampling_rate: Annotated[float, Field(ge=MINIMUM_SAMPLING_RATE, le=1)]
    minimum_cohort: Annotated[int, Field(ge=2)]
    maximum_cohort: Annotated[int, Field(ge=2, le=10_000_000)]

    def parameters(self) -> SumParameters:
        """The validated parameters of the sum; raises when the true sum could wrap."""
        return SumParameters(
            dimension=self.dimension,
            clip_norm=self.clip_norm,
            sensitivity=self.sensitivity,
            noise_multiplier=self.noise_multiplier,
            minimum_cohort=self.minimum_cohort,
            maximum_cohort=self.maximum_cohort,
        )

    def event(self) -> SumEvent:
        """What one round costs: device level, zero-out."""
        return SumEvent(noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate)


class Features(Message):
    """What a feature vector means: a version, such as ``profile/1``, and the name of each position."""

    version: Name
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=65_536)]


class TransitionsQuery(Message):
    """Page-category transition matrix and dwell histogram.

    A vector has ``C * C`` transition entries (row by row), then one entry for each dwell bin
    (``len(dwell_edges_seconds) + 1``, none when there are no edges). Its norm is at most 1.
    """

    question: Literal["transitions"] = "transitions"
    categories: Annotated[tuple[Name, ...], Field(min_length=2, max_length=512)]
    dwell_edges_seconds: Annotated[tuple[Positive, ...], Field(max_length=64)] = ()
    dwell_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the squared norm that the histogram gets; 0 without a histogram."""


MOST_COVERAGE_CELLS = 256
"""Bands times purposes and one, at most: a cell of few devices says nothing."""


class CoverageQuery(Message):
    """By how much a device is used, and which purposes it granted: the share that allowed the studies of each.

    A device that takes part in measurement counts itself once, in the band of its visits in the last 30 days. Each
    band has ``len(purposes) + 1`` entries. The norm is the same for every device: ``sqrt(P + sqrt(P))``.
    """

    question: Literal["coverage"] = "coverage"
    purposes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]
    """What is asked about. Measurement is not: whoever counts itself granted it."""
    visit_edges: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000)], ...], Field(max_length=31)] = (2, 4, 10)
    """Least visits of every band but the first, increasing."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> CoverageQuery:
        if MEASUREMENT in self.purposes or len(set(self.purposes)) != len(self.purposes):
            raise ValueError(f"expected purposes other than {MEASUREMENT}, each once, got {list(self.purposes)}")
        if any(b <= a for a, b in pairwise(self.visit_edges)):
            raise ValueError(f"expected visit edges in increasing order, got {list(self.visit_edges)}")
        cells = (len(self.visit_edges) + 1) * (len(self.purposes) + 1)
        if cells > MOST_COVERAGE_CELLS:
            raise ValueError(f"expected at most {MOST_COVERAGE_CELLS} bands times purposes and one, got {cells}")
        return self


class PersonasQuery(Message):
    """One k-means step a round: each cluster's sum of profile vectors and its count, ``k * (p + 1)`` entries."""

    question: Literal["personas"] = "personas"
    clusters: Annotated[int, Field(ge=2, le=64)]
    features: Features
    """The profile vector of length p; the model is ``k * p`` centroids."""
    radius: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Devices send the difference to their centroid, cut to this length: a small radius shrinks the noise."""
    start_weights: Annotated[tuple[float, ...], Field(max_length=4_096)] = ()
    """Weights of the features, public or released before: start on the heaviest. Empty: spread by the seed."""
    start_pull: Annotated[float, Field(gt=0, le=1)] = 0.8
    """How far each starting centroid stands out towards its feature."""
    start_background: Annotated[tuple[float, ...], Field(max_length=4_096)] = ()
    """What all starting centroids share, public; empty: 1/p everywhere."""
    start_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of a spread start."""
    least_count: Annotated[float, Field(ge=0, le=1e9)]
    """A cluster with a smaller noisy count is topped up to it with everybody's mean difference."""


class LocalStudyPlan(Message):
    """On-device DP-SGD (Opacus): its epsilon is per training row and holds even if leader and helper collude."""

    noise_multiplier: Annotated[float, Field(ge=0, le=1_000), AfterValidator(_noise_or_none)]
    """0 means that Opacus only clips; the local epsilon is then none."""
    clip_norm: Positive
    """L2 bound of one row's gradient."""
    steps: Annotated[int, Field(ge=1, le=100)]
    maximum_rows: Annotated[int, Field(ge=1, le=100_000)]
    denominator: Positive
    """Fixed divisor of the summed gradient, whatever the number of rows."""
    learning_rate: Positive
    epsilon_cap: Annotated[float, Field(gt=0, le=1_000)] | None = None
    """The device's own filter stops local training of this study beyond this figure (delta: the study's)."""


class ServerPlan(Message):
    """The server optimiser over the private mean update."""

    optimiser: Literal["fedavg", "fedadam"] = "fedavg"
    learning_rate: Positive = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    final_average: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Publish the mean of the last this many rounds' models: post-processing, free of charge."""


class TrainQuery(Message):
    """Federated training of a small net. The vector is the clipped update, one entry a parameter."""

    question: Literal["train"] = "train"
    task: Literal["intent"] = "intent"
    features: Features
    hidden: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Hidden units; 0 is a logistic regression."""
    initial_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the public initial weights."""
    initial_prior: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Guessed share of positives: public knowledge, never measured on the participants."""
    initial_gain: Positive = 1.0
    """Scale of the initial weights."""
    local: LocalStudyPlan
    server: ServerPlan = ServerPlan()


Query = Annotated[TransitionsQuery | CoverageQuery | PersonasQuery | TrainQuery, Field(discriminator="question")]


def purpose_of(query: Query) -> str:
    """The one purpose whose texts describe this question: consent to another does not cover it."""
    if isinstance(query, TransitionsQuery | CoverageQuery):
        return MEASUREMENT
    return PERSONA if isinstance(query, PersonasQuery) else INTENT


class Study(Message):
    """A study as proposed, approved and run. Frozen; its digest names it everywhere."""

    version: Literal[1] = 1
    needs: tuple[Name, ...] = ()
    """Features an agent must have; one that lacks any sends null reports and says so in its status."""
    study_id: Slug
    title: Text
    summary: Text
    """Plain language: what is asked, of whom, and what will be known."""
    site: Name
    kind: Literal["measure", "train"]
    purpose: Name
    query: Query
    plan: SumPlan
    rounds: Annotated[int, Field(ge=1, le=10_000)]
    window_seconds: Annotated[float, Field(ge=0.2, le=LONGEST_WINDOW_SECONDS)]
    """Length of a round's report window."""
    delta: Annotated[float, Field(gt=0, lt=1e-3)]
    epsilon_cap: Positive
    """Most that this study may cost a device (device level, zero-out, the filter's figure)."""
    policy_hash: Hex32
    leader_key: Hex32
    helper_key: Hex32
    created_at_ms: Milliseconds
    expires_at_ms: Milliseconds

    @model_validator(mode="after")
    def _kind_fits_query(self) -> Study:
        if (self.kind == "train") != isinstance(self.query, TrainQuery):
            raise ValueError(f"a study of kind {self.kind!r} cannot ask {self.query.question!r}")
        if self.expires_at_ms <= self.created_at_ms:
            raise ValueError("a study must expire after it was created")
        return self

    def study_hash(self) -> bytes:
        """SHA-256 of the canonical study, 32 bytes."""
        return digest("study", self.canonical())


class Decision(Message):
    """What an officer signs (JWS of type ``APPROVAL_TYPE``): yes or no to exactly these bytes."""

    version: Literal[1] = 1
    study_id: Slug
    study_hash: Hex32
    decision: Literal["approve", "refuse", "stop"]
    reason: Text
    decided_at_ms: Milliseconds
