"""What the server does with each released sum, for every kind of study: one pure step from model to model.

The Flower strategy on the leader and the simulation engine share it. numpy only: the leader never loads torch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from consent.purposes import PURPOSES
from models.learning.errors import LearningError, PlanInvalid
from models.learning.nets import Net, initial
from models.learning.plans import LocalPlan, local_contract, local_events
from models.learning.server_optimisers import FedAdam, FedAvg, KMeans, ServerOptimiser, mean_update
from models.queries.answers import coverage_question, first_centroids, measurement_question, persona_question
from models.queries.errors import QueryError, QuestionInvalid
from models.wire.problems import ProblemError
from models.wire.studies import CoverageQuery, PersonasQuery, Query, Study, TrainQuery, TransitionsQuery
from privacy.accounting.errors import AccountingError
from privacy.secure_sum.errors import SecureSumError

Vector = NDArray[np.float64]
Flat = NDArray[np.float32]


class Step(Protocol):
    """A study's server side. ``model`` is what devices get next; ``apply`` takes one released sum."""

    @property
    def dimension(self) -> int:
        """Length of a device's vector."""
        ...

    @property
    def norm(self) -> float | None:
        """L2 bound that the encoding itself guarantees; None where the study's clipping decides."""
        ...

    def model(self) -> Flat:
        """The model that the next round's devices get."""
        ...

    def apply(self, total: Vector, devices: int) -> None:
        """Take the released sum of a round with ``devices`` reports."""
        ...

    def final(self) -> Flat:
        """The model to publish."""
        ...


@dataclass
class MeasureStep:
    """A measurement has no model: the sums of its rounds add up, and are what is published."""

    query: TransitionsQuery | CoverageQuery

    def __post_init__(self) -> None:
        """Start from nothing."""
        query = self.query
        question = coverage_question(query) if isinstance(query, CoverageQuery) else measurement_question(query)
        self._total = np.zeros(question.dimension)
        self.dimension = question.dimension
        self.norm: float | None = question.clip_norm

    def model(self) -> Flat:
        """Empty."""
        return np.zeros(0, dtype=np.float32)

    def apply(self, total: Vector, devices: int) -> None:  # noqa: ARG002 - the protocol's signature
        """Add a round's sum."""
        self._total = self._total + total

    def final(self) -> Flat:
        """The summed sums."""
        return self._total.astype(np.float32)


class PersonasStep:
    """Lloyd's algorithm over private sums."""

    def __init__(self, query: PersonasQuery) -> None:
        question = persona_question(query)
        self._rule = KMeans(question, query.least_count)
        self._state = self._rule.init(first_centroids(query))
        self.dimension = question.dimension
        self.norm: float | None = question.clip_norm

    def model(self) -> Flat:
        """Centroids, flat."""
        return self._state.centroids.astype(np.float32).ravel()

    def apply(self, total: Vector, devices: int) -> None:  # noqa: ARG002 - the divisor is a released noisy count
        """One Lloyd step."""
        self._state = self._rule.apply(self._state, total)

    def final(self) -> Flat:
        """The last centroids."""
        return self.model()


class TrainStep:
    """FedAvg or FedAdam over the private mean update, with an average of the last models."""

    def __init__(self, query: TrainQuery, sampling_rate: float) -> None:
        net = net_of(query)
        self._rule = _optimiser(query)
        self._state = self._rule.init(first_parameters(query))
        self._sampling_rate = sampling_rate
        self._last: deque[Vector] = deque(maxlen=query.server.final_average)
        self.dimension = net.size
        self.norm: float | None = None

    def model(self) -> Flat:
        """Parameters, flat."""
        return self._state.parameters.astype(np.float32)

    def apply(self, total: Vector, devices: int) -> None:
        """One server step with the mean over the expected number of contributors."""
        update = [mean_update(total, devices, self._sampling_rate)]
        del total
        self._state = self._rule.apply(self._state, update.pop())  # popped, so that the rule may drop it
        self._last.append(self._state.parameters)

    def final(self) -> Flat:
        """The mean of the last models: post-processing of what was released."""
        return np.mean(self._last, axis=0).astype(np.float32) if self._last else self.model()


def server_step(query: Query, sampling_rate: float) -> Step:
    """The server side of a query, at its public start."""
    if isinstance(query, TransitionsQuery | CoverageQuery):
        return MeasureStep(query)
    if isinstance(query, PersonasQuery):
        return PersonasStep(query)
    return TrainStep(query, sampling_rate)


def net_of(query: TrainQuery) -> Net:
    """The net that a training query names."""
    return Net(len(query.features.names), query.hidden)


def first_parameters(query: TrainQuery) -> Flat:
    """The public starting parameters of a training query."""
    return initial(net_of(query), query.initial_seed, prior=query.initial_prior, gain=query.initial_gain)


def local_plan_of(query: TrainQuery) -> LocalPlan:
    """The on-device plan of a training query."""
    local = query.local
    return LocalPlan(
        steps=local.steps,
        learning_rate=local.learning_rate,
        max_grad_norm=local.clip_norm,
        maximum_rows=local.maximum_rows,
        denominator=local.denominator,
        local_noise_multiplier=local.noise_multiplier,
    )


def _optimiser(query: TrainQuery) -> ServerOptimiser:
    server = query.server
    if server.optimiser == "fedadam":
        return FedAdam(server.learning_rate)
    return FedAvg(server.learning_rate, server.momentum)


def check_study(study: Study) -> None:
    """Refuse a study whose parts do not fit together: dimension, bounds, the sum that must not wrap, what it costs.

    Everything that a device builds from the study's constants before it can charge a round is built here too, so that
    no study is approved that no device can price.

    Raises:
        ProblemError: ``invalid-study``, with what was expected and what was got, all of it.
    """
    faults = study_faults(study)
    if faults:
        raise ProblemError("invalid-study", "; ".join(fault for _, fault in faults))


def study_faults(study: Study) -> list[tuple[str, str]]:
    """Everything that keeps a study's parts from fitting together: (field, what was expected and got) each."""
    faults: list[tuple[str, str]] = []
    for field, check in (
        ("plan", study.plan.parameters),
        ("rounds", lambda: replace(study.plan.event(), count=study.rounds)),
        ("query", lambda: _check_query(study)),
    ):
        try:
            check()
        except (ValueError, LearningError, QueryError, SecureSumError, AccountingError) as error:
            faults.append((field, str(error)))
    return [*faults, *_misfits(study)]


def _check_query(study: Study) -> None:
    if isinstance(study.query, TrainQuery):
        _check_local(study.query, study)
    if isinstance(study.query, CoverageQuery):
        _check_purposes(study.query)


def _misfits(study: Study) -> list[tuple[str, str]]:
    """Where the plan of the sum does not fit what is asked."""
    plan = study.plan
    try:
        step = server_step(study.query, plan.sampling_rate)
    except (ValueError, LearningError, QueryError) as error:
        return [("query", str(error))]
    found = []
    if plan.dimension != step.dimension:
        found.append(("plan.dimension", f"expected dimension {step.dimension}, got {plan.dimension}"))
    if step.norm is not None and plan.clip_norm + 1e-9 < step.norm:
        expected = f"expected a clipping norm of at least {step.norm:.6g}, got {plan.clip_norm:.6g}"
        found.append(("plan.clip_norm", expected))
    return found


def _check_purposes(query: CoverageQuery) -> None:
    """Only what is declared, and leaves the device, has studies whose coverage means anything.

    Not in the message itself: a stored study stays readable when a later registry drops a purpose.
    """
    leaving = {purpose.id for purpose in PURPOSES if purpose.leaves != "nothing"}
    if not leaving.issuperset(query.purposes):
        raise QuestionInvalid(f"expected purposes of {sorted(leaving)}, got {list(query.purposes)}")


def _check_local(query: TrainQuery, study: Study) -> None:
    """The local layer's plan, events over all rounds, and the filter that every device opens for it."""
    for turn in local_events(local_plan_of(query)):
        replace(turn, count=turn.count * study.rounds)
        try:
            local_contract(query.local.epsilon_cap, study.delta)
        except AccountingError as error:
            raise PlanInvalid(f"the local layer's epsilon_cap cannot be enforced: {error}") from error
