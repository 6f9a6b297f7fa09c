"""One device's training turn: DP-SGD through Opacus, with noise that is exact.

Opacus clips every row's gradient, sums and steps (``DPOptimizer``). Two things are ours. Per-row gradients come from
``torch.func``, which needs no hooks and no wrapper module. And ``add_noise`` is replaced: Opacus adds floating-point
noise, whose gaps leak (Mironov 2012), and its secure mode needs a package that is not available; here the clipped sum
goes to an integer grid and gets a discrete Gaussian from the device's own random stream (Canonne, Kamath and Steinke
2020).

Epsilon of this layer: per training row, zero-out, over all turns of the device; see ``plans.local_events``. Zero-out
of a row means that it contributes nothing to any step and keeps its place among the device's rows
(``plans.accept_rows``). It holds for every output of ``train``: with local noise, a device that has no row, or only
rows that cannot be used, takes all its steps on noise alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.optimizers import DPOptimizer
from torch.func import grad, vmap

from models.learning.errors import NotFinite, PlanInvalid
from models.learning.modules import row_loss, tensors
from models.learning.nets import Net, Rows
from models.learning.plans import LocalGrid, LocalPlan, accept_rows, local_grid
from privacy.mechanisms import RandomStream, discrete_gaussian

_row_gradients = vmap(grad(row_loss), in_dims=(None, 0, 0))


class ExactDPOptimizer(DPOptimizer):
    """Opacus' optimiser with exact noise: only ``add_noise`` differs from its parent.

    Args:
        optimizer: the plain optimiser that takes the step.
        max_grad_norm: L2 bound of one row's gradient.
        denominator: fixed divisor of the sum.
        grid: where the noise is drawn; None adds no noise.
        stream: the device's random stream; needed with a grid.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        max_grad_norm: float,
        denominator: float,
        grid: LocalGrid | None,
        stream: RandomStream | None,
    ) -> None:
        # The parent's own noise is off: add_noise below never asks for it.
        super().__init__(
            optimizer,
            noise_multiplier=0.0,
            max_grad_norm=max_grad_norm,
            expected_batch_size=denominator,
            loss_reduction="mean",
        )
        if grid is not None and stream is None:
            raise PlanInvalid("expected a random stream where the plan asks for local noise")
        self._grid = grid
        self._stream = stream

    def add_noise(self) -> None:
        """Set ``p.grad`` to the clipped sum, on the grid and with discrete Gaussian noise where there is a grid."""
        if self._grid is None or self._stream is None:
            for parameter in self.params:
                parameter.grad = parameter.summed_grad.view_as(parameter)
            return
        flat = torch.cat([parameter.summed_grad.reshape(-1) for parameter in self.params]).numpy()
        noisy = torch.from_numpy(noise_on_grid(flat, self._grid, self._stream))
        start = 0
        for parameter in self.params:
            stop = start + parameter.numel()
            parameter.grad = noisy[start:stop].view_as(parameter)
            start = stop


def noise_on_grid(clipped_sum: NDArray[np.float64], grid: LocalGrid, stream: RandomStream) -> NDArray[np.float64]:
    """``(round(s x) + discrete Gaussian(sigma)) / s``: float64[d], in units of gradient (device)."""
    integers = np.rint(clipped_sum * grid.scale).astype(np.int64)
    return (integers + discrete_gaussian(grid.sigma, integers.size, stream)) / grid.scale


def sample_rows(count: int, rate: float, stream: RandomStream | None) -> NDArray[np.bool_]:
    """Which of ``count`` rows take part in a step: every row by its own coin, integers below ``floor(rate 2^64)``."""
    if rate >= 1.0:
        return np.ones(count, dtype=np.bool_)
    if stream is None:
        raise PlanInvalid("expected a random stream where the plan samples rows")
    return np.asarray(stream.uint64(count) < np.uint64(int(rate * 2.0**64)))


def train(
    net: Net,
    plan: LocalPlan,
    parameters: NDArray[np.floating],
    rows: Rows,
    labels: NDArray[np.float64],
    stream: RandomStream | None = None,
) -> NDArray[np.float64]:
    """One training turn (device).

    ``plan.steps`` times: per-row gradients, clip each to C, sum, noise, divide by the fixed denominator, step. A row
    whose gradient is not finite contributes nothing to the step.

    Args:
        net: the net.
        plan: the study's constants.
        parameters: float32[net.size], the round's published parameters.
        rows: float[n, features], oldest first.
        labels: float[n], each 0 or 1.
        stream: the device's randomness; needed for local noise or a sampling rate below 1.

    Returns:
        float64[net.size]: new parameters minus published ones. The caller clips it into the sum.

    Raises:
        NothingToLearn: the device sends a null (no rows, not finite, one class). With local noise never because of the
            data: only where the noised steps themselves ran out of range, which tells no more than they do.
        ParametersInvalid, PlanInvalid: the study and this device's data do not fit together.
    """
    accepted = accept_rows(net, plan, rows, labels)
    named = {name: torch.nn.Parameter(value) for name, value in tensors(net, parameters).items()}
    optimizer = ExactDPOptimizer(
        torch.optim.SGD(named.values(), lr=plan.learning_rate, foreach=False),
        max_grad_norm=plan.max_grad_norm,
        denominator=plan.denominator,
        grid=local_grid(plan, net) if plan.local_noise_multiplier else None,
        stream=stream,
    )
    features, targets = torch.from_numpy(accepted.rows), torch.from_numpy(accepted.labels)
    for _ in range(plan.steps):
        coins = sample_rows(len(features), plan.sampling_rate, stream)
        taken = torch.from_numpy(coins & accepted.contributes)
        _step(optimizer, named, features[taken], targets[taken])
    update = torch.cat([value.detach().reshape(-1) for value in named.values()]).numpy() - parameters
    if not np.isfinite(update).all():
        raise NotFinite("expected a finite update, got NaN or infinity")
    return np.asarray(update, dtype=np.float64)


def _step(
    optimizer: ExactDPOptimizer, named: dict[str, torch.nn.Parameter], features: torch.Tensor, targets: torch.Tensor
) -> None:
    """One step; an empty sample still takes it, with noise, or its absence would show."""
    detached = {name: value.detach() for name, value in named.items()}
    if len(features):
        gradients = finite_rows(_row_gradients(detached, features, targets))
    else:
        gradients = {name: value.new_zeros((1, *value.shape)) for name, value in detached.items()}
    for name, value in named.items():
        value.grad_sample = gradients[name]  # type: ignore[attr-defined]  # the attribute by which Opacus gets them
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def finite_rows(gradients: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Per-row gradients, zero for every row that has a part which is not finite: no row may spoil the whole sum."""
    finite = torch.stack([value.flatten(start_dim=1).isfinite().all(dim=1) for value in gradients.values()]).all(dim=0)
    return {
        name: torch.where(finite.view(-1, *[1] * (value.dim() - 1)), value, 0.0) for name, value in gradients.items()
    }
