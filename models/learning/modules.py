"""The nets of ``nets`` in torch: a module for Opacus' optimiser, and one row's loss as a function for torch.func."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from models.learning.nets import Net, unflatten

Named = Mapping[str, torch.Tensor]


def tensors(net: Net, flat: NDArray[np.floating]) -> dict[str, torch.Tensor]:
    """Named float64 tensors of a flat parameter vector, in the order of ``net.shapes``."""
    return {name: torch.from_numpy(array) for name, array in unflatten(net, flat).items()}


def row_loss(named: Named, row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of one row: ``softplus(logit) - label logit``, a scalar.

    Args:
        named: the parameters; without ``hidden.weight`` the net is a logistic regression.
        row: float64[features].
        label: scalar 0 or 1.
    """
    layer = row
    if "hidden.weight" in named:
        layer = torch.tanh(named["hidden.weight"] @ row + named["hidden.bias"])
    logit = (named["output.weight"] @ layer + named["output.bias"])[0]
    return torch.nn.functional.softplus(logit) - label * logit
