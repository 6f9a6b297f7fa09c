"""Many devices' training turns at once: the arithmetic of ``local_training`` under ``torch.func.vmap``.

Used by simulations with thousands of devices. It does not go through Opacus, whose optimiser handles one device at a
time; that the two agree to 1e-6 with noise off is tested, and with noise on both draw from ``noise_on_grid``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import grad, vmap

from models.learning.errors import NoRows, NotFinite, ParametersInvalid, PlanInvalid
from models.learning.local_training import noise_on_grid, sample_rows
from models.learning.modules import row_loss, tensors
from models.learning.nets import Net, Rows
from models.learning.plans import LocalPlan, local_grid, usable_rows
from privacy.mechanisms import RandomStream

OPACUS_NORM_SLACK = 1e-6
"""Opacus clips by ``C / (norm + 1e-6)``; the same here, or the two paths would differ."""

_row_gradients = vmap(grad(row_loss), in_dims=(None, 0, 0))
_device_gradients = vmap(_row_gradients, in_dims=(0, 0, 0))


def train_many(
    net: Net,
    plan: LocalPlan,
    parameters: NDArray[np.floating],
    rows: Rows,
    labels: NDArray[np.float64],
    present: NDArray[np.bool_] | None = None,
    *,
    streams: Sequence[RandomStream] = (),
    chunk: int = 512,
) -> NDArray[np.float64]:
    """The updates of n devices (simulations).

    Args:
        net: the net.
        plan: the study's constants.
        parameters: float32[net.size], the same for all devices.
        rows: float[n, r, features], each device's rows padded to r at most ``plan.maximum_rows``.
        labels: float[n, r], each 0 or 1.
        present: bool[n, r], False where a row is padding; None: all are rows.
        streams: one random stream a device; needed for local noise or a sampling rate below 1.
        chunk: devices per pass: bounds memory to about ``chunk r net.size`` numbers.

    Returns:
        float64[n, net.size].

    Raises:
        NothingToLearn: without local noise, a device without rows or with values that are not finite: such devices send
            nulls and must be left out by the caller. With it, they take their steps on noise alone, as one by one.
        ParametersInvalid, PlanInvalid: shapes, or streams missing.
    """
    mask = np.ones(labels.shape, dtype=np.bool_) if present is None else present
    _check(net, plan, rows, labels, mask)
    if (plan.local_noise_multiplier or plan.sampling_rate < 1.0) and len(streams) != len(rows):
        raise PlanInvalid(f"expected one random stream a device, got {len(streams)} for {len(rows)}")
    if labels.shape[1] == 0:  # nobody has a row; torch's vmap wants one all the same
        rows, labels = np.zeros((len(rows), 1, net.features)), np.zeros((len(rows), 1))
        mask = np.zeros(labels.shape, dtype=np.bool_)
    updates = np.empty((len(rows), net.size))
    for start in range(0, len(rows), chunk):
        part = slice(start, start + chunk)
        updates[part] = _train_chunk(net, plan, parameters, rows[part], labels[part], mask[part], streams[part])
    if not np.isfinite(updates).all():
        raise NotFinite("expected finite updates, got NaN or infinity")
    return updates


def _train_chunk(
    net: Net,
    plan: LocalPlan,
    parameters: NDArray[np.floating],
    rows: Rows,
    labels: NDArray[np.float64],
    present: NDArray[np.bool_],
    streams: Sequence[RandomStream],
) -> NDArray[np.float64]:
    usable = usable_rows(rows.astype(np.float64), labels.astype(np.float64))
    features, targets = torch.from_numpy(usable.rows), torch.from_numpy(usable.labels)
    start = np.asarray(parameters, dtype=np.float64)
    flat = np.tile(start, (len(rows), 1))
    for _ in range(plan.steps):
        taken = _taken(plan, present, streams) & usable.contributes
        sums = _clipped_sums(net, plan, flat, features, targets, torch.from_numpy(taken))
        if plan.local_noise_multiplier:
            grid = local_grid(plan, net)
            sums = np.stack([noise_on_grid(row, grid, stream) for row, stream in zip(sums, streams, strict=True)])
        flat -= plan.learning_rate * sums / plan.denominator
    return flat - start


def _taken(plan: LocalPlan, present: NDArray[np.bool_], streams: Sequence[RandomStream]) -> NDArray[np.bool_]:
    if plan.sampling_rate >= 1.0:
        return present
    taken = np.zeros_like(present)
    for device, stream in enumerate(streams):
        own = np.flatnonzero(present[device])
        taken[device, own] = sample_rows(own.size, plan.sampling_rate, stream)
    return taken


def _clipped_sums(
    net: Net,
    plan: LocalPlan,
    flat: NDArray[np.float64],
    features: torch.Tensor,
    targets: torch.Tensor,
    taken: torch.Tensor,
) -> NDArray[np.float64]:
    """Sum over a device's rows of gradients clipped to C: float64[n, net.size]."""
    shapes = {name: tensor.shape for name, tensor in tensors(net, flat[0]).items()}
    sizes = [shape.numel() for shape in shapes.values()]
    parts = torch.split(torch.from_numpy(flat), sizes, dim=1)
    named = {name: part.reshape(-1, *shapes[name]) for name, part in zip(shapes, parts, strict=True)}
    gradients = _device_gradients(named, features, targets)
    joined = torch.cat([gradients[name].flatten(start_dim=2) for name in shapes], dim=2)
    joined = torch.where(joined.isfinite().all(dim=2, keepdim=True), joined, 0.0)
    norms = joined.norm(dim=2)
    factors = (plan.max_grad_norm / (norms + OPACUS_NORM_SLACK)).clamp(max=1.0) * taken
    return np.asarray(torch.einsum("nr,nrd->nd", factors, joined).numpy())


def _check(net: Net, plan: LocalPlan, rows: Rows, labels: NDArray[np.float64], present: NDArray[np.bool_]) -> None:
    if rows.shape != (*labels.shape, net.features) or present.shape != labels.shape:
        raise ParametersInvalid(f"expected rows [n, r, {net.features}] with labels and mask [n, r], got {rows.shape}")
    if labels.shape[1] > plan.maximum_rows:
        raise ParametersInvalid(f"expected at most {plan.maximum_rows} rows a device, got {labels.shape[1]}")
    if plan.local_noise_multiplier:
        return  # nothing about the data raises: see ``plans.accept_rows``
    if not present.any(axis=1).all():
        raise NoRows("expected at least one row for every device")
    if not np.isfinite(rows).all() or not np.isfinite(labels).all():
        raise NotFinite("expected finite features and labels (padding included), got NaN or infinity")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise ParametersInvalid("expected labels 0 or 1")
