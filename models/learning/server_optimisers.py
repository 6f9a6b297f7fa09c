"""Server steps: a frozen state and a noisy mean give the next frozen state. Pure, numpy only.

The Flower strategy on the leader and the simulation engine share them. All are post-processing of released sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.learning.errors import ParametersInvalid, PlanInvalid
from models.queries.personas import PersonaQuestion, decode

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ServerState:
    """Parameters and moments after ``step`` server steps, float64[d] each."""

    parameters: Vector
    first_moment: Vector
    second_moment: Vector
    step: int = 0


class ServerOptimiser(Protocol):
    """What a strategy needs of a server step."""

    def init(self, parameters: NDArray[np.floating]) -> ServerState:
        """The state before the first round."""
        ...

    def apply(self, state: ServerState, update: Vector) -> ServerState:
        """The state after a round whose mean update was ``update``."""
        ...


@dataclass(frozen=True)
class FedAvg:
    """``m <- momentum m + u``, ``w <- w + rate m`` (McMahan et al. 2017; momentum: Hsu, Qi and Brown 2019).

    Attributes:
        learning_rate: server rate, > 0.
        momentum: in [0, 1).
    """

    learning_rate: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise PlanInvalid("expected learning_rate > 0 and 0 <= momentum < 1")

    def init(self, parameters: NDArray[np.floating]) -> ServerState:
        """The state before the first round."""
        return _initial(parameters)

    def apply(self, state: ServerState, update: Vector) -> ServerState:
        """One step with the mean update float64[d]."""
        _check(state, update)
        # In place where a new array is ours: a large model's state is not held more often than it must be.
        velocity = self.momentum * state.first_moment
        velocity += update
        del update
        parameters = self.learning_rate * velocity
        parameters += state.parameters
        return replace(state, parameters=parameters, first_moment=velocity, step=state.step + 1)


@dataclass(frozen=True)
class FedAdam:
    """``w <- w + rate m' / (sqrt(v') + tau)`` with bias-corrected moments of the mean update.

    Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2; bias correction as in Kingma and Ba 2015,
    because private plans have few rounds.

    Attributes:
        learning_rate: server rate, > 0: about the length of one coordinate's step.
        beta_1, beta_2: decay of the moments, in [0, 1).
        tau: adaptivity, > 0. A tau well below the noise's standard deviation makes pure noise take full steps.
    """

    learning_rate: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.99
    tau: float = 1e-2

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not self.tau > 0 or not 0 <= self.beta_1 < 1 or not 0 <= self.beta_2 < 1:
            raise PlanInvalid("expected learning_rate > 0, tau > 0 and both betas in [0, 1)")

    def init(self, parameters: NDArray[np.floating]) -> ServerState:
        """The state before the first round."""
        return _initial(parameters)

    def apply(self, state: ServerState, update: Vector) -> ServerState:
        """One step with the mean update float64[d]."""
        _check(state, update)
        step = state.step + 1
        first = self.beta_1 * state.first_moment + (1 - self.beta_1) * update
        second = self.beta_2 * state.second_moment + (1 - self.beta_2) * update**2
        direction = (first / (1 - self.beta_1**step)) / (np.sqrt(second / (1 - self.beta_2**step)) + self.tau)
        return ServerState(state.parameters + self.learning_rate * direction, first, second, step)


@dataclass(frozen=True)
class KMeansState:
    """Centroids float64[k, p] after ``step`` Lloyd steps and the last step's noisy counts float64[k]."""

    centroids: Vector
    counts: Vector
    step: int = 0


@dataclass(frozen=True)
class KMeans:
    """The Lloyd step of ``models.queries.personas`` as a server step over the released *sum* (not a mean).

    Attributes:
        question: k and p.
        least_count: a cluster with a smaller noisy count is topped up to it with everybody's mean difference.
    """

    question: PersonaQuestion
    least_count: float

    def init(self, centroids: Vector) -> KMeansState:
        """The state before the first round."""
        return KMeansState(centroids.copy(), np.zeros(len(centroids)))

    def apply(self, state: KMeansState, total: Vector) -> KMeansState:
        """One Lloyd step with the released sum float64[k (p + 1)]."""
        moved = decode(self.question, total, state.centroids, least_count=self.least_count)
        return KMeansState(moved.centroids, moved.counts, state.step + 1)


def mean_update(total: Vector, devices: int, sampling_rate: float) -> Vector:
    """The released sum over the *expected* number of contributors ``q N``, a constant (leader).

    Args:
        total: float64[d], the released sum.
        devices: N, devices that were asked; public.
        sampling_rate: q of the hidden coin, in (0, 1].
    """
    if devices < 1 or not 0 < sampling_rate <= 1:
        raise PlanInvalid("expected at least one device and 0 < sampling_rate <= 1")
    return total / (devices * sampling_rate)


def _initial(parameters: NDArray[np.floating]) -> ServerState:
    start = np.array(parameters, dtype=np.float64)
    # Unlike zeros_like, zeros takes no memory before it is written to: FedAvg never writes to the second moment.
    return ServerState(start, np.zeros(start.shape), np.zeros(start.shape))


def _check(state: ServerState, update: Vector) -> None:
    if update.shape != state.parameters.shape or not np.isfinite(update).all():
        raise ParametersInvalid(f"expected a finite update of shape {state.parameters.shape}, got {update.shape}")
