"""What a study asks, in plain words for an officer. Everything is read from the study; nothing is written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consent.purposes import PURPOSES
from models.wire.studies import CoverageQuery, PersonasQuery, Study, TrainQuery, TransitionsQuery

_NAMED: Final = 6
"""So many names are read out before the rest is counted."""


@dataclass(frozen=True)
class Words:
    """A study in sentences.

    Attributes:
        asked: what each device computes at home.
        known: what leader and public learn at the end.
        sent: what one report is.
        sampling: how many of the reports are real.
        noise: what hides one device in the sum.
        cohort: how many reports a round needs.
        purpose: the purpose as people read it when they consent.
    """

    asked: str
    known: str
    sent: str
    sampling: str
    noise: str
    cohort: str
    purpose: str


def words(study: Study) -> Words:
    """Say what a study asks, of whom, and what protects them."""
    plan = study.plan
    size_bytes = plan.parameters().packed_bytes
    return Words(
        asked=_asked(study),
        known=_known(study),
        sent=f"{plan.dimension:,} numbers, masked: {size_bytes:,} bytes that look random to leader and helper alike",
        sampling=_sampling(plan.sampling_rate),
        noise=(
            f"Leader and helper each add noise whose standard deviation is {plan.noise_multiplier:g} times the most "
            "that one device can contribute."
        ),
        cohort=(
            f"This helper refuses a round with fewer than {plan.minimum_cohort:,} reports; "
            f"at most {plan.maximum_cohort:,} are summed."
        ),
        purpose=_purpose(study.purpose),
    )


def _asked(study: Study) -> str:
    query = study.query
    if isinstance(query, TransitionsQuery):
        kinds = f"{len(query.categories)} kinds of page ({_listed(query.categories)})"
        moves = f"Each device counts how often its visits went from each of {kinds} to each other one"
        return moves + ("." if not query.dwell_edges_seconds else ", and how long pages stayed in view.")
    if isinstance(query, CoverageQuery):
        asked = ", ".join(_purpose(name) for name in query.purposes)
        return (
            f"Each device counts itself in one of {len(query.visit_edges) + 1} bands by its number of visits, and says "
            f"for each of these uses whether its owner granted it: {asked}."
        )
    if isinstance(query, PersonasQuery):
        return (
            f"Each device finds which of {query.clusters} group averages is nearest to its own summary of "
            f"{len(query.features.names)} figures, and reports how far it is from it."
        )
    return (
        "Each device improves a small shared model on its own visits: a model that estimates, on the device, whether "
        "a visit leads to a purchase. It reports the change, cut to a fixed length."
    )


def _known(study: Study) -> str:
    query = study.query
    if isinstance(query, TransitionsQuery):
        return "One noisy table for all participants together. No device's own moves."
    if isinstance(query, CoverageQuery):
        return (
            "Roughly, for each band, which share granted each use. Not who granted what, and nothing about people who "
            "refused measurement."
        )
    if isinstance(query, PersonasQuery):
        return "The group averages and roughly how many are near each. Not who is in which group."
    return f"The shared model of {study.plan.dimension:,} parameters. Not what any one device would have made of it."


def _sampling(rate: float) -> str:
    if rate >= 1:
        return "Every report is real."
    return (
        f"In each round every device flips a hidden coin: {rate:.4g} of the reports are real, the others empty. "
        "Both look the same to everyone."
    )


def _purpose(purpose_id: str) -> str:
    known = PURPOSES.find(purpose_id)
    return known.text("en").title if known is not None else purpose_id


def local_layer(study: Study) -> str:
    """What remains if leader and helper work together, apart from its epsilon."""
    query = study.query
    if not isinstance(query, TrainQuery):
        return "A question like this has no local layer: leader and helper together could read single reports."
    if not query.local.noise_multiplier:
        return "Training clips each row and adds no noise on the device: together they could read single updates."
    return (
        f"Each device trains with noise of its own (multiplier {query.local.noise_multiplier:g} on every step), which "
        "would still protect single training rows, model updates only."
    )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
