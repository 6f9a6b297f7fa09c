"""What a study fixes about one device's training turn, and what such a turn costs. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.learning.errors import NoRows, NotFinite, OneClass, ParametersInvalid, PlanInvalid
from models.learning.nets import Net, Rows
from privacy.accounting.contract import Contract, largest_epsilon, suggest_order
from privacy.accounting.events import LocalEvent

LEAST_LOCAL_SIGMA = 1_000
"""Least standard deviation, in grid units, of local noise: the discrete and the continuous Gaussian then agree."""
LEAST_LOCAL_SENSITIVITY = 2_048
"""Least sensitivity in grid units."""
LOCAL_EPSILON_CAP = 40.0
"""Installed cap of the local layer for one study (per training row, zero-out); a study can only lower it."""
_NO_EXPIRY_SECONDS = 2**53 - 1


@dataclass(frozen=True)
class LocalPlan:
    """DP-SGD on the device: every constant is the study's, none depends on the device's data.

    Attributes:
        steps: gradient steps a turn, at least 1.
        learning_rate: step size, > 0.
        max_grad_norm: L2 bound C of one row's gradient, > 0.
        maximum_rows: at most this many rows are used, the latest ones; at least 1.
        denominator: what the clipped sum is divided by, whatever the number of rows; > 0.
        local_noise_multiplier: z of the local layer; 0: rows are clipped, no noise is added, there is no local epsilon.
        sampling_rate: each row takes part in each step with this probability, in (0, 1], by the device's own coin.
        both_classes: a device whose labels are all equal sends a null. Needs more than one row a device, and no local
            noise: whether a device trains at all would then hang on one row, and that null has no noise.
    """

    steps: int
    learning_rate: float
    max_grad_norm: float
    maximum_rows: int
    denominator: float
    local_noise_multiplier: float = 0.0
    sampling_rate: float = 1.0
    both_classes: bool = False

    def __post_init__(self) -> None:
        positive = (self.learning_rate, self.max_grad_norm, self.denominator)
        if self.steps < 1 or self.maximum_rows < 1 or not all(0 < value < math.inf for value in positive):
            raise PlanInvalid("expected steps, maximum_rows, learning_rate, max_grad_norm and denominator above 0")
        if not 0 <= self.local_noise_multiplier < math.inf or not 0 < self.sampling_rate <= 1:
            raise PlanInvalid("expected local_noise_multiplier >= 0 and 0 < sampling_rate <= 1")
        if self.both_classes and self.maximum_rows == 1:
            raise PlanInvalid("expected more than one row a device where both classes are asked for")
        if self.both_classes and self.local_noise_multiplier > 0:
            raise PlanInvalid("expected no local noise where both classes are asked for: one row would decide")

    @property
    def update_bound(self) -> float:
        """L2 bound of one update without local noise: ``steps learning_rate maximum_rows C / denominator``."""
        return self.steps * self.learning_rate * self.maximum_rows * self.max_grad_norm / self.denominator


@dataclass(frozen=True)
class LocalGrid:
    """The integer grid on which local noise is exact.

    A sum of rows clipped to C is scaled by s and rounded. Leaving one row out moves the scaled sum by at most ``s C``,
    and rounding both sums moves each coordinate by at most 1 more, so ``s = (Delta - sqrt(d) - 1) / C`` keeps the
    integer sensitivity under zero-out of one row within Delta; the last 1 covers float64 summation.

    Attributes:
        sensitivity: Delta, in grid units.
        sigma: standard deviation of the discrete Gaussian, ``max(1000, ceil(z Delta))``, in grid units.
        scale: s, grid units per unit of gradient.
    """

    sensitivity: int
    sigma: int
    scale: float


def local_grid(plan: LocalPlan, net: Net) -> LocalGrid:
    """The grid of a plan with local noise.

    Raises:
        PlanInvalid: the plan has no local noise.
    """
    if plan.local_noise_multiplier == 0:
        raise PlanInvalid("expected local_noise_multiplier > 0: without noise there is no grid")
    root = math.sqrt(net.size)
    sensitivity = max(LEAST_LOCAL_SENSITIVITY, math.ceil(64 * root))
    sigma = max(LEAST_LOCAL_SIGMA, math.ceil(plan.local_noise_multiplier * sensitivity))
    return LocalGrid(sensitivity, sigma, (sensitivity - root - 1) / plan.max_grad_norm)


def local_events(plan: LocalPlan) -> tuple[LocalEvent, ...]:
    """What one turn of this plan costs the device's local filter; empty where the plan adds no local noise.

    Privacy unit: one training row of this device, neighbours by zero-out, cumulative over turns, and valid even if
    leader and helper collude. The hidden participation of the device is never credited.
    """
    if plan.local_noise_multiplier == 0:
        return ()
    return (LocalEvent(plan.local_noise_multiplier, plan.sampling_rate, plan.steps),)


@lru_cache(maxsize=256)
def local_contract(epsilon_cap: float | None, delta: float) -> Contract:
    """The filter of one study's local layer on a device: per training row, zero-out; its charges never expire.

    Args:
        epsilon_cap: the study's own cap; None leaves the installed one. A study can only lower it.
        delta: the study's.

    Raises:
        ContractInvalid: no order enforces so small a cap at this delta.
    """
    # A figure beyond the largest protects nothing, and no filter enforces it.
    cap = min(LOCAL_EPSILON_CAP, epsilon_cap or LOCAL_EPSILON_CAP, 0.999 * largest_epsilon(delta))
    return Contract(cap, delta, suggest_order(cap, delta), _NO_EXPIRY_SECONDS)


@dataclass(frozen=True)
class TrainingRows:
    """A device's rows as a turn uses them.

    Attributes:
        rows: float64[n, features], oldest first, zeros where a row does not contribute.
        labels: float64[n], each 0 or 1.
        contributes: bool[n]; a row that does not keeps its place and its coin, and adds nothing to any step.
    """

    rows: Rows
    labels: NDArray[np.float64]
    contributes: NDArray[np.bool_]


def accept_rows(net: Net, plan: LocalPlan, rows: Rows, labels: NDArray[np.float64]) -> TrainingRows:
    """Check a device's data and keep the latest ``maximum_rows`` (device).

    With local noise nothing about the data raises, since a null in the place of a noised update has no noise at all
    and so an infinite epsilon: a device without rows takes all its steps on noise alone, and a row that is not finite
    contributes nothing. Only what holds for every device of this version, a shape that does not fit the net, raises.

    What zero-out of one row means here: among the latest ``maximum_rows`` the row is replaced by one that contributes
    nothing to any step and *keeps its place*. A row that is missing from the device instead lets the next older one
    in, where there are more rows than ``maximum_rows``: such neighbours differ in two rows, and a group of two has
    group privacy's figure, not ``epsilon_local``.

    Args:
        net: the net, for the number of features.
        plan: the plan.
        rows: float[n, features], oldest first.
        labels: float[n], each 0 or 1.

    Raises:
        ParametersInvalid: the shapes do not fit the net or each other; without local noise also labels but 0 and 1.
        NoRows, NotFinite, OneClass: the device sends a null; without local noise only.
    """
    if plan.local_noise_multiplier and len(rows) == 0:
        return TrainingRows(np.zeros((0, net.features)), np.zeros(0), np.zeros(0, dtype=np.bool_))
    if len(rows) == 0:
        raise NoRows("expected at least one training row, got none")
    if rows.shape[1:] != (net.features,) or labels.shape != (len(rows),):
        raise ParametersInvalid(f"expected rows of {net.features} features with one label each, got {rows.shape}")
    kept = np.asarray(rows[-plan.maximum_rows :], dtype=np.float64)
    wanted = np.asarray(labels[-plan.maximum_rows :], dtype=np.float64)
    if not plan.local_noise_multiplier:
        _insist(plan, kept, wanted)
    return usable_rows(kept, wanted)


def usable_rows(rows: Rows, labels: NDArray[np.float64]) -> TrainingRows:
    """Mark the rows that can contribute: finite, with a label 0 or 1. Any leading axes: float64[..., features]."""
    contributes = np.isfinite(rows).all(axis=-1) & np.isin(labels, (0.0, 1.0))
    return TrainingRows(np.where(contributes[..., None], rows, 0.0), np.where(contributes, labels, 0.0), contributes)


def _insist(plan: LocalPlan, rows: Rows, labels: NDArray[np.float64]) -> None:
    if not np.isfinite(rows).all() or not np.isfinite(labels).all():
        raise NotFinite("expected finite features and labels, got NaN or infinity")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise ParametersInvalid("expected labels 0 or 1")
    if plan.both_classes and labels.min() == labels.max():
        raise OneClass("expected rows of both classes, got one")
