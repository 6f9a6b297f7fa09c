"""The demo's studies: what the analyst proposes. Every constant that influences a release stands here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from consent import registry_hash
from models.events.features import DWELL_PREFIX, FeatureSpec
from models.learning.steps import server_step
from models.queries.answers import named_features
from models.wire.limits import WINDOW_SECONDS
from models.wire.studies import (
    CoverageQuery,
    LocalStudyPlan,
    PersonasQuery,
    Query,
    ServerPlan,
    Study,
    SumPlan,
    TrainQuery,
    TransitionsQuery,
)
from privacy.accounting import Contract
from simulations.populations import CATEGORIES, SITE
from simulations.populations.shop import HOME

CONTRACT = Contract(epsilon=3.0, delta=1e-5, order=9, window_seconds=WINDOW_SECONDS)
"""The demo's contract with a visitor: device level, zero-out, over everything released in any 30 days."""
SENSITIVITY = 2**14
"""Integer sensitivity of one report; the grid is then far finer than the noise."""
PERSONAS = 5
LEAST_COUNT = 100.0
"""About eight standard deviations of a persona's noisy count: with 300 devices all personas lean on one another, with
2,000 each has so many of its own. Of 50, 100 and 200 it was nearest to the non-private cost at 300 and 500 devices."""
DWELL_EDGES_SECONDS = (5.0, 10.0, 20.0, 40.0, 80.0)


@dataclass(frozen=True)
class Parties:
    """Whom a study binds: the raw public keys of leader and helper, and when it was written."""

    leader_key: str
    helper_key: str
    now_ms: int
    site: str = SITE


@dataclass(frozen=True)
class Draft:
    """A study without its derived constants: ``build`` adds dimension, norms and keys."""

    study_id: str
    title: str
    summary: str
    purpose: str
    query: Query
    rounds: int
    sampling_rate: float
    noise_multiplier: float
    window_seconds: float
    epsilon_cap: float
    clip_norm: float | None = None
    """L2 bound of a device's vector; None takes the bound that the encoding guarantees."""
    minimum_cohort: int = 100
    maximum_cohort: int = 4_000
    delta: float = CONTRACT.delta

    def build(self, parties: Parties) -> Study:
        """The full study, ready to propose."""
        step = server_step(self.query, self.sampling_rate)
        norm = self.clip_norm if self.clip_norm is not None else step.norm
        if norm is None:
            raise ValueError(f"study {self.study_id} needs a clipping norm: its encoding guarantees none")
        return Study(
            study_id=self.study_id,
            title=self.title,
            summary=self.summary,
            site=parties.site,
            kind="train" if isinstance(self.query, TrainQuery) else "measure",
            purpose=self.purpose,
            query=self.query,
            plan=SumPlan(
                dimension=step.dimension,
                clip_norm=math.nextafter(norm, math.inf),
                sensitivity=SENSITIVITY,
                noise_multiplier=self.noise_multiplier,
                sampling_rate=self.sampling_rate,
                minimum_cohort=self.minimum_cohort,
                maximum_cohort=self.maximum_cohort,
            ),
            rounds=self.rounds,
            window_seconds=self.window_seconds,
            delta=self.delta,
            epsilon_cap=self.epsilon_cap,
            policy_hash=registry_hash().hex(),
            leader_key=parties.leader_key,
            helper_key=parties.helper_key,
            created_at_ms=parties.now_ms,
            expires_at_ms=parties.now_ms + 86_400_000,
        )


def coverage() -> Draft:
    """Whom the studies could ask: by number of visits, which share granted their purposes."""
    return Draft(
        study_id="coverage",
        title="Who takes part",
        summary="How many visitors granted which uses, by how often they come, as one noisy total.",
        purpose="measurement",
        query=CoverageQuery(purposes=("persona", "intent"), visit_edges=(10, 15, 20)),
        rounds=1,
        sampling_rate=0.5,
        noise_multiplier=3.0,
        window_seconds=6.0,
        epsilon_cap=1.3,
    )


def measurement() -> Draft:
    """Which page category follows which, and how long people stay."""
    return Draft(
        study_id="measurement",
        title="Page flow and dwell",
        summary="How visitors move between page categories and how long they look, as one noisy total.",
        purpose="measurement",
        query=TransitionsQuery(categories=CATEGORIES, dwell_edges_seconds=DWELL_EDGES_SECONDS, dwell_share=0.2),
        rounds=1,
        sampling_rate=0.5,
        noise_multiplier=4.0,
        window_seconds=6.0,
        epsilon_cap=1.2,
    )


def personas(popularity: Sequence[float], rounds: int = 5) -> Draft:
    """Groups of visitors with alike profiles; they start at the most visited product categories.

    Args:
        popularity: share of page views by category, read from the measurement's release: post-processing, free.
        rounds: Lloyd steps.
    """
    spec = FeatureSpec("profile", CATEGORIES)
    dwells = [name.startswith(DWELL_PREFIX) for name in spec.names]
    weight = {DWELL_PREFIX + c: share for c, share in zip(CATEGORIES, popularity, strict=True) if c != HOME}
    return Draft(
        study_id="personas",
        title="Personas",
        summary="Average profiles of a few large groups of visitors; each device finds its own group at home.",
        purpose="persona",
        query=PersonasQuery(
            clusters=PERSONAS,
            features=named_features(spec),
            radius=0.2,
            start_weights=tuple(weight.get(name, 0.0) for name in spec.names),
            start_pull=0.4,
            start_background=tuple(0.1 if dwell else 0.3 for dwell in dwells),
            least_count=LEAST_COUNT,
        ),
        rounds=rounds,
        sampling_rate=0.5,
        noise_multiplier=4.0,
        window_seconds=3.0,
        epsilon_cap=1.5,
    )


def intent(rounds: int = 14) -> Draft:
    """Will this visit end in a purchase. Local noise is on, so that both layers are seen."""
    return Draft(
        study_id="intent",
        title="Purchase intent",
        summary="A small model that scores, on the device, how likely the visit is to end in a purchase.",
        purpose="intent",
        query=TrainQuery(
            features=named_features(FeatureSpec("session", CATEGORIES)),
            initial_prior=0.2,
            initial_gain=0.5,
            local=LocalStudyPlan(
                noise_multiplier=1.0, clip_norm=1.0, steps=1, maximum_rows=25, denominator=5.0, learning_rate=1.0
            ),
            server=ServerPlan(learning_rate=7.0, momentum=0.8, final_average=2),
        ),
        rounds=rounds,
        sampling_rate=0.2,
        noise_multiplier=3.0,
        window_seconds=3.0,
        epsilon_cap=2.0,
        clip_norm=1.0,
    )


def demo_rounds() -> dict[str, int]:
    """The studies in whose rounds people withdraw, in the order in which they run, with their rounds.

    Nobody leaves during the coverage study, so that who counted itself is known exactly.
    """
    nothing = [0.0] * len(CATEGORIES)
    return {draft.study_id: draft.rounds for draft in (measurement(), personas(nothing), intent())}
